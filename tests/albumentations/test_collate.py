"""zeta-mixup of whole batches, behind any Compose."""

import pickle

import albumentations as A
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from albu_learned import Batch
from albu_learned import ZetaMixup as Core
from albu_learned.albumentations import MixCollate, ZetaCollate
from tests.albumentations.cases import Noisy, Seeing, picture, shift


def samples(count=5, dtype=np.uint8, **more):
    return [{"image": picture(8, 9, 3, dtype, i), "label": i % 3, **more} for i in range(count)]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_batch_is_the_core_s_mix_and_keeps_its_layout(dtype):
    given = samples(dtype=dtype, name="x")
    torch.manual_seed(3)
    batch = ZetaCollate(3, gamma=2.0, top_k=3, smoothing=0.1)(given)
    torch.manual_seed(3)
    torch.rand(())  # the draw of p comes first
    images = torch.from_numpy(np.stack([sample["image"] for sample in given]))
    labels = torch.tensor([sample["label"] for sample in given])
    expected = Core(2.0, 3, 3, 0.1)(Batch(images=images, labels=labels))
    assert batch["image"].shape == (5, 8, 9, 3)
    assert batch["image"].dtype == images.dtype
    assert torch.equal(batch["image"], expected.images)
    assert torch.equal(batch["label"], expected.labels)
    assert batch["name"] == ["x"] * 5


def test_pairs_and_channels_first_tensors():
    pairs = [(torch.rand(3, 8, 9), i % 2) for i in range(4)]
    images, labels = ZetaCollate(2)(pairs)
    assert images.shape == (4, 3, 8, 9)
    assert labels.shape == (4, 2)
    assert torch.equal(labels.argmax(1), torch.tensor([0, 1, 0, 1]))


def test_where_p_does_not_fire_labels_are_soft_all_the_same():
    given = samples()
    batch = ZetaCollate(3, p=0)(given)
    assert torch.equal(batch["image"], torch.from_numpy(np.stack([s["image"] for s in given])))
    assert torch.equal(batch["label"], torch.eye(3)[[0, 1, 2, 0, 1]])
    torch.manual_seed(0)
    collate = ZetaCollate(3, p=0.5)
    mixed = [bool((collate(given)["label"].amax(1) < 1).all()) for _ in range(60)]
    assert 15 < sum(mixed) < 45  # a binomial of 60 halves leaves this once in 10,000


def test_a_batch_of_one_and_soft_labels():
    batch = ZetaCollate(3)(samples(1))
    assert batch["label"].tolist() == [[1, 0, 0]]
    soft = [{"image": picture(), "label": np.array([0.25, 0.75])} for _ in range(3)]
    batch = ZetaCollate(None)(soft)
    assert batch["label"].dtype == torch.float32
    assert torch.allclose(batch["label"], torch.tensor([[0.25, 0.75]]))


def test_float_masks_mix_like_the_images():
    given = [
        {"image": i, "label": 0, "mask": i, "masks": np.stack([i[..., 0]] * 2)}
        for i in (picture(8, 8, 3, np.float32, seed) for seed in range(4))
    ]
    batch = ZetaCollate(2)(given)
    assert torch.allclose(batch["mask"], batch["image"], atol=1e-6)
    assert torch.allclose(batch["masks"][:, 1], batch["image"][..., 0], atol=1e-6)


def test_other_keys_and_pickling():
    collate = pickle.loads(pickle.dumps(ZetaCollate(2, image_key="x", label_key="y")))
    batch = collate([{"x": torch.rand(3, 4, 4), "y": 1, "id": i} for i in range(3)])
    assert batch["id"].tolist() == [0, 1, 2]
    assert batch["y"].shape == (3, 2)


def test_behind_a_compose_in_a_loader_torch_s_seed_decides():
    def epoch():
        torch.manual_seed(5)
        data = Noisy(A.Compose([A.HorizontalFlip(p=1)], seed=1))
        return list(DataLoader(data, batch_size=4, collate_fn=ZetaCollate(2, top_k=3)))

    first, again = epoch(), epoch()
    assert len(first) == 2
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, again, strict=True))


def test_a_folder_is_a_method(tmp_path):
    Core(num_classes=3).save_pretrained(tmp_path)
    assert MixCollate(tmp_path)(samples())["label"].shape == (5, 3)


IMAGE = picture(8, 9)


@pytest.mark.parametrize(
    ("sample", "error", "words"),
    [
        ({"image": IMAGE}, ValueError, r"must have the key 'label', got \['image'\]"),
        ({"label": 1}, ValueError, "must have the key 'image'"),
        ({"image": IMAGE, "label": 1, "bboxes": []}, ValueError, r"\['bboxes'\].*kornia.Learned"),
        ({"image": IMAGE, "label": 1, "boxes": []}, ValueError, r"must not have \['boxes'\]"),
        ({"image": IMAGE, "label": 1, "image2": IMAGE}, ValueError, "`image2` must not .* 'mask'"),
        ({"image": IMAGE, "label": 1, "seg": IMAGE[..., 0]}, ValueError, "`seg` must not have"),
        ({"image": IMAGE, "label": 1, "all": [IMAGE]}, ValueError, "`all` must not have"),
        (
            {"image": IMAGE, "label": 1, "first": torch.rand(3, 8, 9)},
            ValueError,
            r"`first` .* \(8, 9\), for it would stay unmixed, got \(2, 3, 8, 9\)",
        ),
        (
            {"image": torch.rand(3, 8, 9), "label": 1, "seg": IMAGE[..., 0]},
            ValueError,
            "`seg` must not have",
        ),
        ({"image": IMAGE, "label": 1, "keypoints": []}, ValueError, r"not have \['keypoints'\]"),
        ({"image": IMAGE, "label": 1, "mask": IMAGE[..., 0]}, TypeError, "`masks` must be float"),
        ({"image": IMAGE, "label": 1, "masks": [IMAGE]}, TypeError, "`masks` must be one array"),
        ({"image": IMAGE, "label": "cat"}, TypeError, "`label` must be a class number .* list"),
        ({"image": IMAGE, "label": 0.5}, TypeError, "must be integer class numbers"),
        ({"image": IMAGE, "label": 5}, ValueError, r"must be in 0..2"),
        ((IMAGE, 1, 2), TypeError, "must be dicts or .image, label. pairs, got tuple"),
        (IMAGE, TypeError, "must be dicts or .image, label. pairs, got ndarray"),
    ],
)
def test_errors_name_the_argument_and_the_remedy(sample, error, words):
    with pytest.raises(error, match=words):
        ZetaCollate(3)([sample, sample])


def test_keys_that_are_no_images_are_left_alone():
    more = {"vector": np.arange(9), "pose": np.eye(4), "crop": picture(4, 4), "size": (8, 9)}
    batch = ZetaCollate(3)(samples(**more))
    assert batch["pose"].shape == (5, 4, 4)
    assert batch["crop"].shape == (5, 4, 4, 3)
    assert torch.equal(batch["vector"][4], torch.arange(9))
    flat = [{"image": torch.rand(6), "label": 1, "other": torch.rand(6, 6)} for _ in range(2)]
    assert ZetaCollate(3)(flat)["other"].shape == (2, 6, 6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("form", ["array", "tensor", "grey", "pair"])
def test_a_method_that_reads_images_plans_from_channels_first_floats(form, dtype):
    image = picture(8, 9, None if form == "grey" else 3, dtype)
    first = np.atleast_3d(image).transpose(2, 0, 1)
    given = torch.from_numpy(first.copy()) if form == "tensor" else image
    sample = (given, 1) if form == "pair" else {"image": given, "label": 1}
    method = Seeing(num_classes=3)
    MixCollate(method)([sample, sample])
    assert np.allclose(method.seen[1], first / (255 if dtype == np.uint8 else 1))


def test_a_mix_whose_needs_cannot_be_supplied_is_refused():
    method = Seeing()
    method.needs = frozenset({"labels", "boxes"})
    with pytest.raises(ValueError, match=r"Seeing needs \['boxes'\]. .*kornia.Learned"):
        MixCollate(method)


@pytest.mark.parametrize("p", [0, 1])
def test_the_method_checks_every_batch(p, monkeypatch):
    seen = []
    monkeypatch.setattr(Seeing, "check", lambda self, batch: seen.append(batch))
    MixCollate(Seeing(num_classes=3), p=p)(samples())
    assert seen[0].images.shape == (5, 3, 8, 9)
    assert seen[0].labels is None


def test_an_empty_list_of_samples_is_named():
    with pytest.raises(ValueError, match="`samples` must hold at least one sample, got none"):
        ZetaCollate(3)([])


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match=r"`p` must be a number in \[0, 1\], got '0.5'"):
        ZetaCollate(3, p="0.5")
    with pytest.raises(ValueError, match=r"`p` must be in \[0, 1\], got 2"):
        ZetaCollate(3, p=2)
    with pytest.raises(TypeError, match="must be a Mix or the folder of one, got FreeShift"):
        MixCollate(shift(1, 1))
