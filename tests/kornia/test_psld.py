"""PSLDInpaint in Kornia, live: boxes are kept bit by bit, and the same noise gives what the core
does of it."""

import copy

import kornia.augmentation as K
import pytest
import torch

import albu_learned as al
from albu_learned.kornia import PSLDInpaint, ZetaMixup
from tests.kornia.extra import noise_of, ours
from tests.methods.psld import tiny
from tests.toys import ClassPicture

KEYS = ("input", "bbox_xyxy")
IMAGES = torch.rand(4, 3, 16, 24, generator=torch.Generator().manual_seed(0))
# x1, y1, x2, y2 of Kornia, whose last pixel is inside; all zeros is padding
BOXES = torch.tensor(
    [
        [[2.0, 3, 8, 9], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0]],  # no box
        [[12, 2, 20, 10], [1, 1, 5, 5]],
        [[0, 0, 23, 15], [0, 0, 0, 0]],  # one that fills the image
    ]
)


@pytest.fixture(scope="module")
def method():
    quick = {"steps": 2, "settings": {"guidance": 1, "polish": 1}, "decoys": 0.0, "grow": 0.0}
    return al.PSLDInpaint(tiny.model("tiny"), mask="outside", feather=0, **quick)


def inside(boxes, size=(16, 24)):
    """(B, H, W), which pixels lie in boxes."""
    found = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for row, own in zip(found, boxes.long().tolist(), strict=True):
        for x1, y1, x2, y2 in own:
            if x2 > 0:
                row[y1 : y2 + 1, x1 : x2 + 1] = True
    return found


def in_core(images=IMAGES, boxes=BOXES):
    unit = (boxes + torch.tensor([0, 0, 1, 1])) / torch.tensor([24, 16, 24, 16])
    return al.Batch(images=images, boxes=[own[own[:, 2] > 0.1] for own in unit])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_what_is_in_boxes_stays_bit_by_bit_and_nothing_else(method, dtype):
    images = IMAGES.to(dtype)
    out, boxes = ours(PSLDInpaint(method, p=1.0), keys=KEYS)(images, BOXES)
    assert torch.equal(boxes, BOXES)
    assert out.dtype == dtype
    stays = (out == images).all(dim=1)
    assert stays[inside(BOXES)].all()
    assert stays[~inside(BOXES)].float().mean() < 0.05
    assert not out.isnan().any()


def test_the_same_noise_gives_the_core_s_picture(method):
    augment = ours(PSLDInpaint(method, p=1.0), keys=KEYS)
    out, _ = augment(IMAGES, BOXES)
    batch = in_core()
    plan = method.plan(batch, noise_of(augment._params[0].data))
    assert torch.equal(out, method.apply(batch, plan).images)
    assert torch.equal(augment.valid["bbox_xyxy"], BOXES[..., 2] > 0)


def test_p_is_of_each_row_and_a_row_does_not_depend_on_the_others(method):
    torch.manual_seed(3)
    augment = ours(PSLDInpaint(method, p=0.5), keys=KEYS)
    images, boxes = IMAGES[:1].expand(8, -1, -1, -1), BOXES[:1].expand(8, -1, -1)
    out, same = augment(images, boxes)
    chosen = augment._params[0].data["batch_prob"] > 0.5
    assert 0 < chosen.sum() < 8
    assert torch.equal(out[~chosen], images[~chosen])
    assert (out[chosen] != images[chosen]).flatten(1).any(dim=1).all()
    assert torch.equal(same, boxes)
    made = out[chosen]
    assert not torch.equal(made[0], made[1])  # each of its own noise
    batch = in_core(images[chosen], boxes[chosen])
    noise = {k: v[chosen] for k, v in noise_of(augment._params[0].data).items()}
    torch.testing.assert_close(made, method.apply(batch, method.plan(batch, noise)).images)


def test_same_on_batch_shares_the_noise(method):
    images, boxes = IMAGES[:1].expand(3, -1, -1, -1), BOXES[:1].expand(3, -1, -1)
    out, _ = ours(PSLDInpaint(method, same_on_batch=True, p=1.0), keys=KEYS)(images, boxes)
    torch.testing.assert_close(out, out[:1].expand_as(out))
    assert not torch.equal(out, images)


def test_a_replay_is_exact_and_needs_no_boxes(method):
    augment = ours(PSLDInpaint(method, p=0.5), K.RandomHorizontalFlip(p=0.5), keys=KEYS)
    torch.manual_seed(2)
    out, boxes = augment(IMAGES, BOXES)
    params = copy.deepcopy(augment._params)
    augment(IMAGES, BOXES)
    again, moved = augment(IMAGES, BOXES, params=params)
    assert torch.equal(again, out)
    assert torch.equal(moved, boxes)
    assert torch.equal(augment(IMAGES, params=params, data_keys=["input"]), out)


def test_boxes_that_kornia_has_moved_are_those_that_stay(method):
    augment = ours(K.RandomHorizontalFlip(p=1.0), PSLDInpaint(method, p=1.0), keys=KEYS)
    out, boxes = augment(IMAGES, BOXES)
    stays = (out == IMAGES.flip(-1)).all(dim=1)
    assert stays[inside(boxes)].all()
    assert torch.equal(stays[[0, 2]], inside(boxes)[[0, 2]])


@pytest.mark.parametrize("form", ["list", "vertices", "xywh", "one image"])
def test_boxes_of_every_form(method, form):
    name, images, boxes = "bbox_xyxy", IMAGES, BOXES
    if form == "list":
        boxes = [own[own[:, 2] > 0] for own in BOXES]
        boxes, images, kept = boxes[::2], IMAGES[::2], inside(BOXES)[::2]
    elif form == "vertices":
        x1, y1, x2, y2 = BOXES.unbind(-1)
        corners = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], dim=-1).unflatten(-1, (4, 2))
        name, boxes, kept = "bbox", corners, inside(BOXES)
    elif form == "xywh":
        sides = BOXES[..., 2:] - BOXES[..., :2] + (BOXES[..., 2:] > 0)
        name, boxes, kept = "bbox_xywh", torch.cat([BOXES[..., :2], sides], dim=-1), inside(BOXES)
    else:
        images, boxes, kept = IMAGES[0], BOXES[0, :1], inside(BOXES)[:1]
    out = ours(PSLDInpaint(method, p=1.0), keys=("input", name))(images, boxes)[0]
    stays = (out == images).all(dim=-3).view(kept.shape)
    assert torch.equal(stays, kept)


def test_masks_may_say_what_an_object_is(method):
    masks = torch.zeros(4, 2, 16, 24)
    masks[0, 0, 4:8, 3:6] = 1
    masks[2, 1, 3:9, 13:18] = 1
    vary = PSLDInpaint(method, p=1.0, protect="instances")
    augment = ours(vary, keys=(*KEYS, "mask"))
    out, _, same = augment(IMAGES, BOXES, masks)
    assert torch.equal(same, masks)
    stays = (out == IMAGES).all(dim=1)
    assert torch.equal(stays[[0, 2]], masks[[0, 2]].sum(dim=1) > 0)
    assert not stays[[1, 3]].any()
    with pytest.raises(ValueError, match="Add to the call, and to data_keys: 'mask'"):
        ours(vary, keys=KEYS)(IMAGES, BOXES)
    with pytest.raises(ValueError, match=r"`mask` must be \(B, N, H, W\) .* got \(4, 16, 24\)"):
        augment(IMAGES, BOXES, masks[:, 0])


def test_grey_images_and_a_folder_with_other_arguments(method, tmp_path):
    method.save_pretrained(tmp_path)
    vary = PSLDInpaint(tmp_path, p=1.0, steps=3, batch=1)
    assert (vary.method.steps, vary.method.batch, vary.method.mask) == (3, 1, "outside")
    grey = IMAGES[:2, :1]
    out, _ = ours(vary, keys=KEYS)(grey, BOXES[:2])
    assert out.shape == grey.shape
    assert torch.equal((out == grey)[:, 0], inside(BOXES[:2]))
    assert PSLDInpaint(method).method is method


def test_what_it_cannot_do_is_said(method):
    vary = PSLDInpaint(method, p=1.0)
    with pytest.raises(ValueError, match=r"needs boxes to plan its change.*'bbox'"):
        ours(vary, keys=["input"])(IMAGES)
    with pytest.raises(RuntimeError, match="LearnedAugmentationSequential instead"):
        K.AugmentationSequential(vary, data_keys=list(KEYS))(IMAGES, BOXES)
    with pytest.raises(ValueError, match=r"values in \[0, 1\] for PSLDInpaint.*before K.Normalize"):
        ours(vary, keys=KEYS)(2 * IMAGES - 1, BOXES)
    with pytest.raises(TypeError, match="`method` must be a PSLDInpaint"):
        PSLDInpaint(ClassPicture())
    mixed = ours(ZetaMixup(num_classes=2, p=1.0), vary, keys=(*KEYS, "class"))
    with pytest.raises(ValueError, match="soft"):
        mixed(IMAGES, BOXES, torch.tensor([0, 1, 0, 1]))
    assert ours(vary, keys=KEYS)(IMAGES[:0], BOXES[:0])[0].shape == (0, 3, 16, 24)


def test_a_gradient_does_not_pass(method):
    images = IMAGES.clone().requires_grad_()
    augment = ours(PSLDInpaint(method, p=1.0), K.ColorJiggle(0.1, p=1.0), keys=KEYS)
    out, _ = augment(images, BOXES)
    assert not out.requires_grad
