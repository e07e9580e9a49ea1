"""What our container refuses: an error that says what to do, and nothing left behind."""

import kornia.augmentation as K
import pytest
from torch import nn

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
         "soft labels. Put generators before mixes"),
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


def test_labels_must_be_numbers():
    with pytest.raises(TypeError, match=r"class numbers .* got \['a', 'b'"):
        ours(ZetaMixup(num_classes=2))(IMAGES, ["a", "b", "c", "d"])


def test_params_fit_the_batch_they_were_drawn_for_only():
    for operation in (WarpTransform(shift(), p=1.0), MixTransform(KorniaPair())):
        augment = ours(operation)
        augment(IMAGES, LABELS)
        with pytest.raises(ValueError, match=r"`images` must be as many.*drawn for, 4, got 2"):
            augment(IMAGES[:2], LABELS[:2], params=augment._params)
