"""Boxes, masks and keypoints: in step with the images, row by row."""

import kornia.augmentation as K
import pytest
import torch
from kornia.constants import DataKey
from kornia.geometry.boxes import Boxes
from kornia.geometry.keypoints import Keypoints

from albu_learned.kornia import GenerateTransform, WarpTransform
from tests.kornia.extra import BOXES, IMAGES, LABELS, POINTS, KorniaMirror, moved, ours, pair, shift
from tests.toys import BoxPaint, ClassShift

CORNERS = torch.tensor([[[0.0, 0, 15, 15], [0, 0, 0, 3], [15, 12, 15, 15], [3, 2, 9, 11]]] * 4)


def vertices(xyxy):
    return Boxes.from_tensor(xyxy, mode="xyxy_plus").data


def xywh(xyxy):
    return torch.cat([xyxy[..., :2], xyxy[..., 2:] - xyxy[..., :2] + 1], dim=-1)


FORMATS = {"bbox": vertices, "bbox_xyxy": lambda b: b, "bbox_xywh": xywh}


@pytest.mark.parametrize("name", FORMATS)
def test_a_mirror_equals_kornias_flip_at_both_corners(name):
    keys = ["input", "mask", name, "keypoints"]
    given = (IMAGES, torch.arange(4 * 256).view(4, 1, 16, 16), FORMATS[name](CORNERS), POINTS)
    mirrored = ours(WarpTransform(KorniaMirror(), p=1.0), keys=keys)(*given)
    flipped = K.AugmentationSequential(K.RandomHorizontalFlip(p=1.0), data_keys=keys)(*given)
    for value, expected in zip(mirrored, flipped, strict=True):
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("shape", [(4, 16, 16), (4, 1, 16, 16), (4, 2, 16, 16)])
def test_masks_of_all_shapes_move(shape, keepdim):
    mask = torch.randint(0, 2**24, shape)
    keys = ["input", "mask"]
    out = ours(WarpTransform(shift(), p=1.0), keys=keys, keepdim=keepdim)(IMAGES, mask)[1]
    assert out.dtype == torch.int64
    assert out.shape == (shape if keepdim or len(shape) == 4 else (4, 1, 16, 16))
    assert torch.equal(out.view(shape)[..., 4:], mask[..., :-4])
    assert not out[..., :4].any()


def test_masks_go_to_the_nearest_pixel_and_bilinearly_if_asked():
    mask = torch.zeros(4, 1, 16, 16)
    mask[..., 8:] = 1
    warp = WarpTransform(shift(by=1 / 32), p=1.0)
    nearest = ours(warp, keys=["input", "mask"])(IMAGES, mask)[1]
    assert nearest.unique().tolist() == [0, 1]
    extra = {DataKey.MASK: {"resample": "bilinear"}}
    soft = ours(warp, keys=["input", "mask"], extra_args=extra)(IMAGES, mask)[1]
    assert soft.unique().tolist() == [0, 0.5, 1]


def test_a_list_of_masks_moves_as_its_images_do_and_back():
    torch.manual_seed(0)
    mask = torch.rand(4, 2, 16, 16).round()
    augment = ours(
        WarpTransform(moved(ClassShift(noise=0.2)), p=0.5), keys=["input", "class", "mask"]
    )
    together = augment(IMAGES, LABELS, mask)[2]
    params = augment._params
    listed = augment(IMAGES, LABELS, list(mask), params=params)[2]
    assert torch.equal(torch.cat(listed), together)
    back = augment.inverse(IMAGES, LABELS, listed, params=params)[2]
    assert torch.equal(torch.cat(back), augment.inverse(IMAGES, LABELS, together, params=params)[2])


def test_float_masks_are_mixed_like_images():
    for shape in [(4, 16, 16), (4, 3, 16, 16)]:
        mask = torch.rand(shape)
        _, mixed = ours(pair(), keys=["input", "mask"])(IMAGES, mask)
        torch.testing.assert_close(mixed.view(shape), (mask + mask.roll(-1, 0)) / 2)
    _, mixed = ours(pair(), keys=["input", "mask"], keepdim=True)(IMAGES[0], mask[0, 0])
    assert mixed.shape == (16, 16)


def test_boxes_keep_their_rows_and_valid_tells_which_are_left():
    boxes = torch.tensor([[[1.0, 1, 4, 4], [0, 0, 0, 0], [13, 0, 15, 9], [9, 3, 14, 4]]] * 4)
    augment = ours(WarpTransform(shift(), p=1.0), keys=["input", "bbox_xyxy"])
    _, out = augment(IMAGES, boxes)
    expected = torch.tensor([[5.0, 1, 8, 4], [0, 0, 0, 0], [0, 0, 0, 0], [13, 3, 15, 4]])
    torch.testing.assert_close(out, expected.expand(4, 4, 4))
    assert augment.valid["bbox_xyxy"].tolist() == [[True, False, False, True]] * 4


def test_padding_of_no_width_is_taken_too():
    augment = ours(WarpTransform(shift(), p=1.0), keys=["input", "bbox_xywh"])
    _, out = augment(IMAGES, torch.tensor([[[1, 1, 4, 4], [0, 0, 0, 0]]] * 4))
    assert out[0].tolist() == [[5, 1, 4, 4], [0, 0, 0, 0]]
    assert augment.valid["bbox_xywh"].tolist() == [[True, False]] * 4


def test_what_one_of_kornias_operations_moves_out_is_not_valid_either():
    augment = ours(
        K.RandomAffine(0, translate=None, scale=(4.0, 4.0), p=1.0),  # about the centre
        keys=["input", "bbox_xyxy", "keypoints"],
    )
    augment(IMAGES, CORNERS, torch.tensor([[[8.0, 8.0], [7.0, 3.0]]] * 4))
    assert augment.valid["bbox_xyxy"].tolist() == [[True, False, False, True]] * 4
    assert augment.valid["keypoints"].tolist() == [[True, False]] * 4


def test_kornias_own_boxes_and_keypoints_stay_so():
    augment = ours(WarpTransform(shift(), p=1.0), pair(), keys=["input", "bbox", "keypoints"])
    boxes, points = Boxes.from_tensor(BOXES, mode="xyxy_plus"), Keypoints(POINTS)
    before = boxes.data.clone()
    _, moved_boxes, moved_points = augment(IMAGES, boxes, points)
    assert isinstance(moved_boxes, Boxes)
    assert isinstance(moved_points, Keypoints)
    assert moved_boxes.data.shape == (4, 4, 4, 2)
    assert torch.equal(boxes.data, before)


def test_two_mixes_add_boxes_and_source_follows_them_through_a_flip():
    torch.manual_seed(0)
    boxes = torch.randint(1, 8, (4, 2, 4)).float()
    boxes[..., 2:] += boxes[..., :2]
    boxes[1, 1] = 0
    points = torch.rand(4, 3, 2) * 15
    keys = ["input", "bbox_xyxy", "keypoints"]
    augment = ours(pair(), K.RandomHorizontalFlip(p=1.0), pair(), keys=keys)
    _, out, moved_points = augment(IMAGES, boxes, points)
    image, row = augment.source["bbox_xyxy"].unbind(-1)
    assert out.shape == (4, 8, 4)
    assert image[0].tolist() == [0, 0, 1, -1, 1, 2, 2, -1]  # padding of others is not added
    valid = augment.valid["bbox_xyxy"]
    assert torch.equal(valid, (image >= 0) & ~((image == 1) & (row == 1)))
    expected = boxes[image, row][..., [2, 1, 0, 3]]
    expected[..., [0, 2]] = 15 - expected[..., [0, 2]]
    torch.testing.assert_close(out, expected * valid[..., None])
    image, row = augment.source["keypoints"].unbind(-1)
    expected = points[image, row]
    expected[..., 0] = 15 - expected[..., 0]
    torch.testing.assert_close(moved_points, expected)


def test_ragged_lists_come_back_as_lists():
    boxes = [
        BOXES[0, :1],
        torch.zeros(0, 4),
        torch.tensor([[2.0, 2, 5, 5], [3, 3, 6, 6]]),
        BOXES[0],
    ]
    mix = pair(weight=0.4)
    augment = ours(WarpTransform(shift(), p=1.0), mix, keys=["input", "bbox_xyxy"])
    _, out = augment(IMAGES, boxes)
    assert [len(part) for part in out] == [1, 2, 3, 3]
    assert out[1].tolist() == [[6, 2, 9, 5], [7, 3, 10, 6]]
    assert augment.source["bbox_xyxy"][1].tolist() == [[2, 0], [2, 1], [-1, -1]]
    assert augment.valid["bbox_xyxy"][3].tolist() == [True, False, True]


def test_images_may_get_different_numbers_of_rows():
    augment = ours(
        pair(alternate=True),
        K.RandomHorizontalFlip(p=1.0),
        keys=["input", "bbox_xyxy", "keypoints"],
    )
    augment(IMAGES, BOXES, POINTS)
    for name, rows, added in [("bbox_xyxy", 2, 1), ("keypoints", 3, 3)]:
        source = augment.source[name]
        assert source[0, rows:, 0].tolist() == [1] * added
        assert source[1, rows:].unique().tolist() == [-1]
        assert augment.valid[name][0, rows]
        assert not augment.valid[name][1, rows:].any()


def test_a_mix_that_did_not_happen_has_sources_too():
    augment = ours(pair(p=0.0), keys=["input", "bbox_xyxy"])
    _, out = augment(IMAGES, BOXES)
    assert torch.equal(out, BOXES)
    assert augment.source["bbox_xyxy"][3].tolist() == [[3, 0], [3, 1]]


def test_kornias_own_mix_leaves_no_source():
    augment = ours(pair(), K.RandomMosaic(p=1.0), keys=["input", "bbox_xyxy"])
    augment(IMAGES, CORNERS)
    assert augment.source == {}


def test_every_argument_has_its_own_rows():
    augment = ours(pair(), keys=["input", "bbox_xyxy", "keypoints", "bbox_xyxy"])
    augment(IMAGES, BOXES, POINTS, CORNERS)
    shapes = {name: tuple(valid.shape) for name, valid in augment.valid.items()}
    assert shapes == {"bbox_xyxy": (4, 3), "keypoints": (4, 6), "bbox_xyxy_2": (4, 8)}
    assert augment.source.keys() == augment.valid.keys()
    named = ours(pair(), keys=None)
    named({"bbox_xyxy_b": CORNERS, "note": "kept", "image": IMAGES, "bbox-a": vertices(BOXES)})
    assert {name: v.shape[1] for name, v in named.valid.items()} == {"bbox_xyxy_b": 8, "bbox-a": 3}


def test_no_rows_and_one_image():
    augment = ours(WarpTransform(shift(), p=0.5), pair(), keys=["input", "bbox", "keypoints"])
    out = augment(IMAGES, torch.zeros(4, 0, 4, 2), torch.zeros(4, 0, 2))
    assert [tuple(value.shape[1:]) for value in out[1:]] == [(0, 4, 2), (0, 2)]
    augment = ours(WarpTransform(shift(), p=1.0), keys=["input", "bbox_xyxy", "keypoints"])
    _, boxes, points = augment(IMAGES[0], BOXES[0], POINTS[0])
    assert boxes.tolist() == [[5, 1, 8, 4], [0, 0, 0, 0]]
    assert points.tolist() == [[4, 0], [11, 3], [19, 15]]
    assert augment.valid["bbox_xyxy"].tolist() == [True, False]
    assert augment.source["keypoints"].tolist() == [[0, 0], [0, 1], [0, 2]]


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.float32, torch.float64])
def test_rows_of_any_dtype(dtype):
    augment = ours(WarpTransform(shift(), p=1.0), pair(), keys=["input", "bbox_xyxy", "keypoints"])
    _, boxes, points = augment(IMAGES, BOXES.to(dtype), POINTS.to(dtype))
    assert boxes.dtype == points.dtype == (dtype if dtype.is_floating_point else torch.float32)
    assert boxes[0, 0].tolist() == [5, 1, 8, 4]
    assert points[0, 1].tolist() == [11, 3]


def test_half_precision_keeps_whole_pixels_of_a_large_image():
    points = torch.tensor([[[1501.0, 3.0], [1999.0, 5.0]]]).half()
    augment = ours(WarpTransform(shift(by=0.0), p=1.0), keys=["input", "keypoints"])
    assert torch.equal(augment(torch.zeros(1, 1, 8, 2000), points)[1], points)


def test_a_missing_keypoint_stays_missing():
    points = POINTS.clone()
    points[:, 0] = torch.nan
    augment = ours(WarpTransform(shift(), p=1.0), keys=["input", "keypoints"])
    assert augment(IMAGES, points)[1][:, 0].isnan().all()
    assert not augment.valid["keypoints"][:, 0].any()


def test_a_generator_never_sees_padding_boxes():
    augment = ours(
        K.RandomHorizontalFlip(p=1.0),
        GenerateTransform(BoxPaint(), p=1.0),
        keys=["input", "class", "bbox_xyxy"],
    )
    images, _, _ = augment(torch.zeros_like(IMAGES), LABELS, BOXES)
    painted = torch.zeros(16, 16, dtype=torch.bool)
    painted[1:5, 11:15] = True
    assert torch.equal(images[:, 0] > 0, painted.expand(4, 16, 16))


@pytest.mark.parametrize(
    ("name", "boxes", "message"),
    [
        (
            "bbox_xyxy",
            [[1.0, 1, 3, 3], [5, 1, 4, 4]],
            "`bbox_xyxy` must have x2 >= x1.*Box 1 of image 0",
        ),
        (
            "bbox_xywh",
            [[1.0, 1, 3, 3], [5, 1, 0, 4]],
            "`bbox_xywh` must have w > 0.*Box 1 of image 0",
        ),
        ("bbox_xyxy", [[[1.0, 1]]], r"`bbox_xyxy` must be \(B, N, 4\)"),
    ],
)
def test_boxes_that_cannot_be_meant(name, boxes, message):
    augment = ours(WarpTransform(shift(), p=1.0), keys=["input", name])
    with pytest.raises(ValueError, match=message):
        augment(IMAGES[:1], torch.tensor([boxes]))
    with pytest.raises(ValueError, match=message):
        augment(IMAGES[:1], [torch.tensor(boxes)])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(4, 1, 16, 16, dtype=torch.int64), "must be float.*Give one float channel"),
        (torch.zeros(4, 1, 16, 16, dtype=torch.bool), "must be float.*torch.bool"),
        ([torch.zeros(1, 16, 16)] * 4, "must be one tensor.*list of 4. Stack"),
    ],
)
def test_masks_that_cannot_be_mixed(mask, message):
    with pytest.raises(TypeError, match="`mask` " + message):
        ours(pair(), keys=["input", "mask"])(IMAGES, mask)
