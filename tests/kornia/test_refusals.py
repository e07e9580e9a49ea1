"""What our container refuses: an error that says what to do, and nothing left behind."""

import kornia.augmentation as K
import pytest
import torch
from torch import nn

from albu_learned.artifact import About
from albu_learned.kornia import GenerateTransform, MixTransform, WarpTransform, ZetaMixup
from tests.kornia.extra import BOXES, IMAGES, LABELS, KorniaPair, moved, ours, pair, shift
from tests.toys import BoxPaint, ClassPicture, ClassShift


def test_nothing_is_left_behind_by_an_error():
    warp = WarpTransform(moved(ClassShift()), p=1.0)
    augment = ours(warp, ZetaMixup(num_classes=2), keys=["input", "class", "bbox_xyxy"])
    augment(IMAGES, LABELS, BOXES)
    with pytest.raises(IndexError):
        augment(IMAGES, LABELS + 2, BOXES)
    assert warp.live is None
    assert augment.valid == {}
    assert augment(IMAGES, LABELS, BOXES)[1].shape == (4, 2)


CONDITIONAL = WarpTransform(ClassShift(), p=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ours(CONDITIONAL, keys=["input"])(IMAGES), "needs labels.*data_keys: 'class'"),
        (lambda: ours(GenerateTransform(BoxPaint(), p=1.0))(IMAGES, LABELS), "data_keys: 'bbox'"),
        (lambda: ours(pair(), GenerateTransform(ClassPicture(size=16), p=1.0))(IMAGES, LABELS),
         "soft labels. Put it before mixes"),
        (lambda: ours(pair(), CONDITIONAL)(IMAGES, LABELS), "soft labels"),
        (lambda: ours(pair())(IMAGES, 1), "`labels` must be as many.*, 4, got 1"),
        (lambda: ours(ZetaMixup(num_classes=2))(IMAGES, LABELS + 1), "0..1.*got 2"),
        (lambda: ours(ZetaMixup())(IMAGES, LABELS), "`num_classes` must be given"),
        (lambda: ours(ZetaMixup(num_classes=2))(IMAGES, LABELS[:3]), "`labels` must be as many.*3"),
        (lambda: ours(K.ImageSequential(CONDITIONAL)), "ClassShift must stand directly in"),
        (lambda: ours(ours(pair())), "must stand directly.*inside of LearnedAugmentationSequ"),
        (lambda: ours(nn.Sequential(pair())), "must stand directly.*inside of Sequential"),
    ],
)  # fmt: skip
def test_refusals_say_what_to_do(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("operation", [WarpTransform(shift()), pair(), K.ImageSequential(
    K.RandomHorizontalFlip(), WarpTransform(shift()))])  # fmt: skip
@pytest.mark.parametrize(
    ("key", "value"),
    [("labels", LABELS), ("y", LABELS), ("boxes", BOXES), ("target", list(BOXES))],
)
def test_a_dictionary_must_not_leave_tensors_behind(operation, key, value):
    augment = ours(operation, keys=None)
    message = f"keys that Kornia knows.* as '{key}'. Name it 'label' .*outside of the call"
    for call in (augment, augment.forward):
        with pytest.raises(ValueError, match=message):
            call({"image": IMAGES, key: value})
    with pytest.raises(ValueError, match=message):
        augment({"image": IMAGES[0], key: value})  # all belongs to one image
    if not isinstance(operation, type(pair())):
        augment({"image": IMAGES})
        with pytest.raises(ValueError, match=message):
            augment.inverse({"image": IMAGES, key: value})


@pytest.mark.parametrize("labels", [[0.0, 1.0, 2.7, 0.0], [True, False, True, True]])
def test_class_numbers_must_be_integers(labels):
    mix = ZetaMixup(num_classes=3)
    mix(IMAGES)
    calls = [
        mix.mix_labels,
        lambda value: ours(mix)(IMAGES, value),
        lambda value: ours(mix, K.RandomHorizontalFlip(), random_apply=1)(IMAGES, value),
        lambda value: ours(CONDITIONAL)(IMAGES, value),
    ]
    for call in calls:
        for value in (labels, torch.tensor(labels)):
            with pytest.raises(TypeError, match=r"`labels` .*integer class numbers.*Convert with"):
                call(value)


def test_mix_labels_takes_lists():
    mix = ZetaMixup(num_classes=3)
    mix(IMAGES)
    assert torch.equal(mix.mix_labels([0, 1, 2, 0]), mix.mix_labels(torch.tensor([0, 1, 2, 0])))
    with pytest.raises(ValueError, match=r"`labels` must be as many.*4, got 3"):
        mix.mix_labels([0, 1, 2])


@pytest.mark.parametrize("p", [2, -0.1, float("nan"), True, "0.5", None])
def test_p_must_be_a_probability(p):
    for make in (
        lambda: WarpTransform(shift(), p=p),
        lambda: GenerateTransform(BoxPaint(), p=p),
        lambda: pair(p=p),
        lambda: ZetaMixup(num_classes=2, p=p),
    ):
        with pytest.raises((TypeError, ValueError), match=r"`p` must be .*\[0, 1\], got|`p` .*nan"):
            make()


def test_class_numbers_must_be_of_the_artifacts_classes_also_without_names():
    paint, warp = ClassPicture(size=16), ClassShift()
    for toy, door in ((paint, GenerateTransform), (warp, WarpTransform)):
        toy.about = About(classes=["cat", "dog"])
        augment = ours(door(toy, p=1.0))
        augment(IMAGES, LABELS)
        for wrong in (-1, 2):
            message = f"0..1 for the 2 classes of this {type(toy).__name__}, got {wrong}"
            with pytest.raises(ValueError, match=message):
                augment(IMAGES, torch.tensor([0, 1, 1, wrong]))


def test_labels_must_be_numbers():
    with pytest.raises(TypeError, match=r"class numbers .* got \['a', 'b'"):
        ours(ZetaMixup(num_classes=2))(IMAGES, ["a", "b", "c", "d"])


def test_params_fit_the_batch_they_were_drawn_for_only():
    for operation in (WarpTransform(shift(), p=1.0), MixTransform(KorniaPair())):
        augment = ours(operation)
        augment(IMAGES, LABELS)
        with pytest.raises(ValueError, match=r"`images` must be as many.*drawn for, 4, got 2"):
            augment(IMAGES[:2], LABELS[:2], params=augment._params)
