"""ClassVAE in Kornia: of the labels that our container has, gradients, replay, classes by name."""

import copy

import kornia.augmentation as K
import pytest
import torch
from sklearn.datasets import load_digits

import albu_learned as al
from albu_learned.kornia import ClassVAE, LearnedAugmentationSequential
from tests.kornia.extra import noise_of, ours
from tests.toys import ClassPicture

NAMES = [f"digit {number}" for number in range(10)]
LABELS = torch.tensor([3, 0, 3, 9])
IMAGES = torch.zeros(4, 1, 8, 8)  # so that all that is seen is made


@pytest.fixture(scope="module")
def fitted():
    digits = load_digits()
    images = torch.from_numpy(digits.images[:200]).float()[:, None] / 16
    labels = torch.from_numpy(digits.target[:200]).long()
    how = {"network": "dense", "steps": 50, "expect": False, "progress": False}
    return al.ClassVAE.fit(images, labels, classes=NAMES, **how)


@pytest.fixture
def vae(fitted):
    return copy.deepcopy(fitted)


def params_of(augment):
    return augment._params[0].data


def test_the_same_noise_gives_the_core_s_picture(vae):
    augment = ours(ClassVAE(vae, p=1.0))
    out, labels = augment(IMAGES, LABELS)
    assert torch.equal(labels, LABELS)
    plan = vae.plan(al.Batch(labels=LABELS), noise_of(params_of(augment)))
    expected = vae.apply(al.Batch(images=IMAGES), plan).images
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)
    assert not torch.equal(out[0], out[2])  # two of a class


def test_the_label_says_what_is_made(vae):
    augment = ours(ClassVAE(vae, temperature=0.0, p=1.0))  # the middle of each class
    out, _ = augment(IMAGES, LABELS)
    middle = vae.with_arguments(temperature=0.0).sample(LABELS)
    torch.testing.assert_close(out.detach(), middle, atol=1e-6, rtol=0)
    assert torch.equal(out[0], out[2])
    assert (out[0] - out[1]).abs().max() > 0.3
    with pytest.raises(ValueError, match="needs labels to plan its change"):
        ours(ClassVAE(vae, p=1.0), keys=["input"])(IMAGES)
    with pytest.raises(RuntimeError, match="LearnedAugmentationSequential instead"):
        K.AugmentationSequential(ClassVAE(vae, p=1.0), data_keys=["input"])(IMAGES)


def test_p_and_same_on_batch_are_respected(vae):
    torch.manual_seed(0)
    images, labels = torch.zeros(200, 1, 8, 8), torch.full((200,), 3)
    out, _ = ours(ClassVAE(vae))(images, labels)
    made = out.flatten(1).amax(dim=1) > 0
    assert 55 <= made.sum() <= 105  # of 0.4 * 200
    assert torch.equal(out[~made], images[~made])
    same, _ = ours(ClassVAE(vae, same_on_batch=True, p=1.0))(images[:5], labels[:5])
    assert torch.equal(same, same[:1].expand_as(same))
    assert ClassVAE(vae, keepdim=True).keepdim


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_a_loss_reaches_the_decoder_also_in_a_replay(vae, p):
    torch.manual_seed(1)
    augment = ours(ClassVAE(vae, p=p))
    first, _ = augment(IMAGES, LABELS)
    params = augment._params
    assert not any(value.requires_grad for value in params_of(augment).values())
    copy.deepcopy(augment)  # as averages of weights do
    last = next(p for n, p in vae.named_parameters() if "decoder" in n and n.endswith("bias"))
    for images in (first, augment(IMAGES, LABELS, params=params)[0]):
        learned = [p for n, p in vae.named_parameters() if "decoder" in n or n.endswith("base")]
        vae.zero_grad()
        images.square().sum().backward()
        assert learned
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learned)
    before = first.detach().clone()
    with torch.no_grad():
        last.add_(1.0)  # what is learned changes, and so does a replay
    again, _ = augment(IMAGES, LABELS, params=params)
    assert not torch.equal(again, before)


def test_what_is_learned_moves_the_samples(vae):
    """A few steps towards black, through the container, make darker samples."""
    augment = LearnedAugmentationSequential(ClassVAE(vae, p=1.0), data_keys=["input", "class"])
    optimizer = torch.optim.Adam(augment.parameters(), lr=0.05)
    before = vae.sample(LABELS, generator=torch.Generator().manual_seed(0)).mean()
    for _ in range(10):
        loss = augment(IMAGES, LABELS)[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = vae.sample(LABELS, generator=torch.Generator().manual_seed(0)).mean()
    assert after < 0.8 * before


def test_a_replay_is_exact_and_needs_no_labels(vae):
    augment = ours(ClassVAE(vae, p=0.5), K.RandomHorizontalFlip(p=0.5))
    torch.manual_seed(2)
    with torch.no_grad():
        out, _ = augment(IMAGES, LABELS)
        params = augment._params
        augment(IMAGES, LABELS)
        assert torch.equal(augment(IMAGES, LABELS, params=params)[0], out)
        assert torch.equal(augment(IMAGES, params=params, data_keys=["input"]), out)
    assert out.any()


def test_a_folder_with_classes_and_other_arguments(vae, tmp_path):
    vae.save_pretrained(tmp_path)
    here = ClassVAE(tmp_path, classes=NAMES[::-1], temperature=0.0, p=1.0)
    out, labels = ours(here)(IMAGES, 9 - LABELS)
    assert torch.equal(labels, 9 - LABELS)
    middle = vae.with_arguments(temperature=0.0).sample(LABELS)
    torch.testing.assert_close(out.detach(), middle, atol=1e-6, rtol=0)
    other = ClassVAE(tmp_path, sampler="convex", reject=0.05)
    assert (other.method.sampler, other.method.reject, other.p) == ("convex", 0.05, 0.4)
    assert ClassVAE(vae).method is vae
    with pytest.raises(ValueError, match="`sampler` must be one of"):
        ClassVAE(tmp_path, sampler="normal")
    with pytest.raises(ValueError, match="`classes` must name the classes"):
        ClassVAE(tmp_path, classes=["a", "b"])
    with pytest.raises(TypeError, match="`method` must be a ClassVAE"):
        ClassVAE(ClassPicture())
    with pytest.raises(ValueError, match=r"Labels must be in 0\.\.9"):
        ours(here)(IMAGES, LABELS + 9)


def test_another_size_needs_resize(vae):
    images = torch.zeros(4, 1, 20, 12)
    with pytest.raises(ValueError, match=r"must have the size \(8, 8\) .* set resize=True"):
        ours(ClassVAE(vae, p=1.0))(images, LABELS)
    out, _ = ours(ClassVAE(vae, resize=True, p=1.0))(images, LABELS)
    assert out.shape == images.shape
    assert out.flatten(1).amax(dim=1).min() > 0.3
    assert vae.resize is False


def test_a_class_that_was_not_seen_is_refused():
    method = al.ClassVAE((1, 8, 8), num_classes=3, members=[[0], [2]])
    augment = ours(ClassVAE(method, p=1.0))
    augment(IMAGES, torch.tensor([0, 2, 0, 2]))
    with pytest.raises(ValueError, match=r"has seen images of, which it has not of '?1"):
        augment(IMAGES, torch.tensor([0, 1, 0, 2]))


def test_masks_and_boxes_are_left_alone(vae):
    augment = ours(ClassVAE(vae, p=1.0), keys=["input", "class", "mask", "bbox_xyxy"])
    mask, boxes = torch.rand(4, 1, 8, 8), torch.tensor([[[1.0, 1, 4, 4]]] * 4)
    out, _, same, kept = augment(IMAGES, LABELS, mask, boxes)
    assert out.any()
    assert torch.equal(same, mask)
    assert torch.equal(kept, boxes)
