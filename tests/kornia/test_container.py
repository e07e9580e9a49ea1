"""LearnedAugmentationSequential: labels, replay, gradients, copies, and what it refuses."""

import copy
import pickle

import kornia.augmentation as K
import pytest
import torch
from kornia.geometry.boxes import Boxes
from kornia.geometry.keypoints import Keypoints
from torch import nn

import albu_learned as al
from albu_learned.kornia import GenerateTransform, WarpTransform, ZetaMixup
from tests.kornia.extra import (
    BOXES,
    IMAGES,
    LABELS,
    POINTS,
    moved,
    noise_of,
    ours,
    pair,
    shift,
)
from tests.toys import BoxPaint, ClassPicture, ClassShift, ImageShift

KEYS = ("input", "class", "mask", "bbox_xyxy", "keypoints")
ALL = (IMAGES, LABELS, torch.rand(4, 2, 16, 16), BOXES, POINTS)


def everything(p=0.5, **arguments):
    """All kinds of ours among Kornia's own."""
    return ours(
        K.RandomHorizontalFlip(),
        GenerateTransform(BoxPaint(), p=p),
        WarpTransform(moved(ClassShift(noise=0.1)), p=p),
        K.RandomAffine(10.0, p=p),
        WarpTransform(moved(ImageShift(noise=0.1)), p=p),
        ZetaMixup(num_classes=2),
        pair(),
        keys=KEYS,
        **arguments,
    )


def assert_all_equal(first, second):
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_labels_pass_kornias_operations_generators_and_mixes():
    torch.manual_seed(0)
    given = [value.clone() for value in ALL]
    images, labels, masks, boxes, points = everything()(*given)
    assert images.shape == IMAGES.shape
    assert masks.shape == (4, 2, 16, 16)
    assert boxes.shape == (4, 3, 4)
    assert points.shape == (4, 6, 2)
    assert labels.shape == (4, 2)
    torch.testing.assert_close(labels.sum(1), torch.ones(4))
    assert_all_equal(given, ALL)  # nothing is changed in place


def test_a_labels_share_equals_its_images_weight():
    images = torch.eye(4).view(4, 4, 1, 1).expand(4, 4, 16, 16)  # image i is channel i
    out, labels = ours(ZetaMixup(num_classes=4), pair(num_classes=4))(images, torch.arange(4))
    torch.testing.assert_close(out.mean(dim=(2, 3)), labels)


@pytest.mark.parametrize("images", [IMAGES, IMAGES.double(), IMAGES.half(), IMAGES.bfloat16()])
def test_the_same_noise_gives_the_same_as_the_core(images):
    for door, method in [
        (GenerateTransform(ClassPicture(size=16), p=1.0), None),
        (WarpTransform(moved(ClassShift(noise=0.1)), p=1.0), None),
        (ZetaMixup(num_classes=2, smoothing=0.1), al.ZetaMixup(num_classes=2, smoothing=0.1)),
    ]:
        augment = ours(door)
        out, labels = augment(images, LABELS)
        method = door.method if method is None else method
        batch = al.Batch(images=images, labels=LABELS)
        core = method.apply(batch, method.plan(batch, noise_of(augment._params[0].data)))
        assert torch.equal(out, core.images)
        assert torch.equal(labels, core.labels)


def test_dictionaries_in_any_order_keep_what_they_do_not_know():
    named = {"bbox_xyxy": BOXES, "label": LABELS, "path": ["a"], "mask": ALL[2], "image": IMAGES}
    torch.manual_seed(0)
    first = ours(WarpTransform(moved(ClassShift()), p=1.0), pair(), keys=None)(named)
    assert list(first) == [*["bbox_xyxy", "label", "mask", "image"], "path"]
    torch.manual_seed(0)
    second = ours(
        WarpTransform(moved(ClassShift()), p=1.0),
        pair(),
        keys=["input", "bbox_xyxy", "class", "mask"],
    )(IMAGES, BOXES, LABELS, ALL[2])
    assert_all_equal([first[k] for k in ("image", "bbox_xyxy", "label", "mask")], second)


def test_a_dictionary_keeps_what_is_no_tensor_or_not_of_the_images():
    extra = {
        "path": ["a", "b", "c", "d"],
        "ids": [1, 2, 3, 4],
        "weights": torch.ones(2),
        "step": torch.tensor(4),
    }
    out = ours(WarpTransform(shift(), p=1.0), pair(), keys=None)({"image": IMAGES, **extra})
    assert all(out[key] is value for key, value in extra.items())
    tensors = {"image": IMAGES, "labels": LABELS}
    for operation in (GenerateTransform(BoxPaint(), p=0.0), K.RandomHorizontalFlip()):
        assert ours(operation, keys=None)(tensors)["labels"] is LABELS


def test_one_image_takes_one_label_without_a_batch():
    for label in (torch.tensor(1), 1, [1]):
        mixed = ours(ZetaMixup(num_classes=2))(IMAGES[0], label)[1]
        assert mixed.tolist() == [[0, 1]]
        warp = WarpTransform(ClassShift(), p=1.0)
        assert ours(warp)(IMAGES[0], label)[0].shape == (1, 3, 16, 16)


def test_two_kinds_of_labels_are_both_mixed():
    out = ours(ZetaMixup(num_classes=2), keys=None)(
        {"image": IMAGES, "label_a": LABELS, "label_b": 1 - LABELS}
    )
    torch.testing.assert_close(out["label_a"], out["label_b"].flip(1))


def test_labels_that_nothing_reads_may_be_anything():
    assert ours(WarpTransform(shift()))(IMAGES, ["a", "b", "c", "d"])[1] == ["a", "b", "c", "d"]
    targets = torch.rand(4)
    assert torch.equal(ours(WarpTransform(shift()))(IMAGES, targets)[1], targets)


def test_replay_is_bit_equal_also_after_newer_draws():
    augment = everything()
    first, params, source = augment(*ALL), augment._params, augment.source
    augment(*ALL)
    assert_all_equal(augment(*ALL, params=params), first)
    assert augment.source.keys() == source.keys()
    with torch.no_grad():
        assert_all_equal(augment(*ALL, params=params), first)


def test_keypoints_alone_are_replayed_without_images_and_labels():
    augment = everything()
    first, params = augment(*ALL), augment._params
    augment(*ALL)
    assert torch.equal(augment(POINTS, params=params, data_keys=["keypoints"]), first[4])
    assert augment.valid == {}
    source = augment.source["keypoints"]
    again = augment(BOXES, params=params, data_keys=["bbox_xyxy"])
    assert torch.equal(again, first[3])
    assert source.shape == (4, 6, 2)


def test_targets_stay_in_step_when_replayed_with_other_weights():
    toy = ClassShift()
    augment = ours(WarpTransform(toy, p=1.0), keys=["input", "class", "mask"])
    augment(IMAGES, LABELS, IMAGES)
    params = augment._params
    moved(toy)
    for _ in range(2):
        images, _, masks = augment(IMAGES, LABELS, IMAGES, params=params)
        torch.testing.assert_close(images, masks)
        torch.testing.assert_close(images[..., 4:], IMAGES[..., :-4])


def test_gradients_reach_the_methods_through_forward_and_replay():
    picture, toy = ClassPicture(size=16), ClassShift()
    augment = ours(GenerateTransform(picture, p=1.0), WarpTransform(toy, p=1.0), pair())
    params = None
    for _ in range(3):
        images, labels = augment(IMAGES, LABELS, params=params)
        params = augment._params
        (images.square().sum() + labels.sum()).backward()
        for parameter in (picture.picture, toy.shift):
            assert parameter.grad.abs().sum() > 0
            parameter.grad = None
    assert {id(p) for p in augment.parameters()} == {id(picture.picture), id(toy.shift)}


def test_gradients_reach_the_images():
    images = IMAGES.clone().requires_grad_()
    out, _ = ours(WarpTransform(shift(), p=0.5), ZetaMixup(num_classes=2))(images, LABELS)
    out.sum().backward()
    assert (images.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_params_are_plain_tensors_without_gradients():
    augment = everything(p=1.0)
    augment(IMAGES.clone().requires_grad_(), *ALL[1:])
    for item in augment._params:
        for name, value in item.data.items():
            assert isinstance(value, torch.Tensor), name
            assert not value.requires_grad, name


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_after_a_forward_give_the_same(clone):
    augment = everything(p=1.0)
    first = augment(IMAGES.clone().requires_grad_(), *ALL[1:])
    other = clone(augment)
    assert_all_equal(other(*ALL, params=augment._params), first)
    assert_all_equal(other(*ALL, params=other._params), first)
    assert not {id(p) for p in other.parameters()} & {id(p) for p in augment.parameters()}
    average = torch.optim.swa_utils.AveragedModel(nn.Sequential(augment))
    average.update_parameters(nn.Sequential(augment))


def test_state_dict_round_trip():
    one, other = (ours(WarpTransform(moved(ClassShift(), by), p=1.0)) for by in (0.25, 0.5))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(IMAGES, LABELS)[0], other(IMAGES, LABELS)[0])


def test_torchs_seed_decides():
    augment = everything()
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(augment(*ALL)[0])
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_inverse_undoes_warps_also_where_p_left_images_alone():
    torch.manual_seed(1)
    augment = ours(
        K.RandomAffine(10.0, p=1.0),
        WarpTransform(moved(ClassShift(noise=0.05), 0.1), p=0.5),
        K.RandomHorizontalFlip(),
        keys=KEYS,
    )
    points = torch.rand(4, 5, 2) * 4 + 6
    boxes = torch.tensor([[[6.0, 6, 8, 8]]] * 4)
    out = augment(IMAGES, LABELS, torch.ones(4, 1, 16, 16).long(), boxes, points)
    assert not torch.allclose(out[4], points, atol=0.1)
    images, _, masks, back, points_back = augment.inverse(*out)
    assert images.shape == IMAGES.shape
    assert masks.dtype == torch.int64
    torch.testing.assert_close(points_back, points, atol=1e-4, rtol=0)
    assert (back[..., :2] <= boxes[..., :2] + 1e-3).all()
    assert (back[..., 2:] >= boxes[..., 2:] - 1e-3).all()


def test_inverse_gives_rows_that_p_left_alone_back_to_the_last_bit():
    torch.manual_seed(0)
    augment = ours(WarpTransform(shift(), p=0.5), keys=["input", "bbox", "keypoints"])
    points, boxes = torch.rand(8, 5, 2) * 2000, torch.rand(8, 5, 4, 2) * 2000
    images = torch.zeros(8, 1, 6, 7)
    augment(images, boxes, points)
    alone = augment._params[0].data["batch_prob"] < 0.5
    given = (images, Boxes(boxes), Keypoints(points))
    for way in (augment.inverse, lambda *a, **k: augment(*a, **k)):
        _, back, points_back = way(*given, params=augment._params)
        assert torch.equal(back.data[alone], boxes[alone])
        assert torch.equal(points_back.data[alone], points[alone])


def test_a_mix_has_no_inverse():
    mixed = ours(ZetaMixup(num_classes=2))
    out = mixed(IMAGES, LABELS)
    with pytest.raises(RuntimeError, match="Inverse for ZetaMixup is not supported"):
        mixed.inverse(*out)


def test_random_apply_draws_among_all_operations():
    augment = ours(
        WarpTransform(shift(), p=1.0), pair(), pair(), K.RandomVerticalFlip(), random_apply=2
    )
    drawn = set()
    for seed in range(12):
        torch.manual_seed(seed)
        _, labels = augment(IMAGES, LABELS)
        names = [item.name for item in augment._params]
        drawn |= set(names)
        assert len(names) == 2
        assert labels.shape == (4, 2)
        if not any("Mix" in name for name in names):
            assert torch.equal(labels, torch.eye(2)[LABELS])
    assert len(drawn) == 4


def test_labels_are_soft_whatever_random_apply_draws_and_whatever_is_replayed():
    mix = ZetaMixup(num_classes=2)
    augment = ours(K.RandomHorizontalFlip(), mix, keys=None, random_apply=1)
    named = {"image": IMAGES, "label": LABELS, "label_list": LABELS.tolist()}
    named["label_multi"] = torch.tensor([[1, 1], [0, 1], [0, 0], [1, 0]])
    drawn = set()
    for seed in range(12):
        torch.manual_seed(seed)
        out = augment(named)
        drawn.add(augment._params[0].name)
        again = augment(named, params=augment._params)
        for key in ("label", "label_list", "label_multi"):
            assert out[key].shape == (4, 2)
            assert out[key].dtype == torch.float32
            assert torch.equal(out[key], again[key])
    assert len(drawn) == 2


def test_the_whole_batch_may_share_its_noise_but_not_its_partners():
    augment = ours(
        WarpTransform(shift(noise=0.1), p=0.5), ZetaMixup(num_classes=2), same_on_batch=True
    )
    augment(IMAGES, LABELS)
    warp, mix = (noise_of(item.data) for item in augment._params)
    assert (warp["z"] == warp["z"][0]).all()
    assert len({tuple(order) for order in mix["order"].tolist()}) == 4


def test_an_empty_batch_stays_empty():
    out = everything(p=1.0)(*(value[:0] for value in ALL))
    assert [len(value) for value in out] == [0] * 5
    assert out[1].shape == (0, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_keep_their_dtype(dtype):
    images, labels, _, _, _ = everything(p=1.0)(IMAGES.to(dtype), *ALL[1:])
    assert images.dtype == dtype
    assert labels.dtype == torch.float32


def test_autocast_changes_nothing():
    warp, paint = moved(ClassShift(noise=0.1)), GenerateTransform(BoxPaint(), p=0.5)
    augment = ours(paint, WarpTransform(warp, p=0.5), ZetaMixup(num_classes=2), pair(), keys=KEYS)
    first, params = augment(*ALL), augment._params
    with torch.autocast("cpu", torch.bfloat16):
        assert_all_equal(augment(*ALL, params=params), first)


def test_eval_mode_augments_as_kornia_does():
    augment = ours(WarpTransform(shift(), p=1.0)).eval()
    assert not torch.equal(augment(IMAGES, LABELS)[0], IMAGES)
