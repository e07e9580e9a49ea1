"""Warps through the real host: every target, both corners, every dtype and channel count."""

import warnings

import albumentations as A
import numpy as np
import pytest
import torch

from albu_learned import Batch
from albu_learned.albumentations import WarpTransform
from albu_learned.albumentations.record import from_record, generator_from
from tests.albumentations.cases import Mirror, X, boxes, picture, points, shift, smooth
from tests.toys import ClassShift, ImageShift


def moved(array, dx, dy):
    """The independent reference: a shift by whole pixels, zeros from outside."""
    result = np.zeros_like(array)
    height, width = array.shape[:2]
    result[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = array[
        max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)
    ]
    return result


def through(method, **data):
    return A.Compose([WarpTransform(method, p=1)])(**data)


@pytest.mark.parametrize("channels", [None, 1, 3, 5, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_image_keeps_shape_and_dtype_and_moves_by_whole_pixels(channels, dtype):
    image = picture(99, 101, channels, dtype)
    before = image.copy()
    out = through(shift(7, -4, (99, 101)), image=image)["image"]
    assert out.shape == image.shape
    assert out.dtype == dtype
    assert out.flags.c_contiguous
    assert np.array_equal(image, before)
    # float maps carry 1e-5 px of rounding, which floats show and uint8 rounds away
    assert np.allclose(out, moved(image, 7, -4), atol=0 if dtype == np.uint8 else 1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_hundreds_of_channels_move_like_one(dtype):
    image = picture(16, 17, 600, dtype)
    out = WarpTransform(shift(3, 2, (16, 17)), p=1)(image=image, mask=image)
    assert np.allclose(out["image"], moved(image, 3, 2), atol=1e-4)
    assert np.allclose(out["mask"], moved(image, 3, 2), atol=1e-4)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("step", [(6, -9), (2.3, 1.6)])
def test_pixels_are_the_core_s_pixels(padding, dtype, step):
    method = shift(*step, padding=padding)
    image = smooth(dtype=dtype)
    out = through(method, image=image)["image"]
    rows = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = method(Batch(images=rows)).images[0].permute(1, 2, 0).detach().numpy()
    difference = np.abs(out.astype(float) - expected)
    if padding == "zeros":  # there the edge of the frame is one step as high as the image
        difference = difference[5:-10, 5:-5] if step != (6, -9) else difference
    assert difference.max() <= tolerance(step, dtype)


def tolerance(step, dtype):
    """Older OpenCV rounds weights to 1/32 px, on steps of at most 1/20 a pixel, twice."""
    if all(float(s).is_integer() for s in step):
        return 0 if dtype == np.uint8 else 1e-5
    weights = 2 / 64 / 20
    return weights * 255 + 1 if dtype == np.uint8 else weights + 1e-5


def test_uint8_and_float32_agree():
    method = shift(2.3, 1.6)
    image = smooth()
    as_bytes = through(method, image=image)["image"]
    as_floats = through(method, image=(image / 255).astype(np.float32))["image"]
    assert np.abs(as_bytes / 255 - as_floats).max() < 1 / 255


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, bool])
def test_an_integer_mask_is_the_core_s_mask_and_has_no_new_values(padding, dtype):
    method = shift(2.3, -7.6, padding=padding)
    mask = (picture(channels=None).astype(np.int64) * 70_000).astype(dtype)
    out = through(method, image=picture(), mask=mask)["mask"]
    assert out.dtype == dtype
    assert out.shape == mask.shape
    assert np.isin(out, [0, *np.unique(mask)]).all()
    expected = method(Batch(masks=torch.from_numpy(mask)[None])).masks[0]
    assert np.array_equal(out, expected.numpy())


def test_a_float_mask_is_interpolated_and_other_float_types_come_back():
    mask = picture(channels=None, dtype=np.float32)
    half = through(shift(0.5, 0), image=picture(), mask=mask)["mask"]
    assert np.allclose(half[:, 1:], (mask[:, 1:] + mask[:, :-1]) / 2, atol=0.01)
    out = through(shift(3, 0), image=picture(), mask=mask.astype(np.float16))["mask"]
    assert out.dtype == np.float16


def test_masks_of_several_layers_move_like_one():
    method = shift(5, 2)
    stack = np.stack([picture(channels=None, seed=i) for i in range(6)])
    given = stack if X else list(stack)  # X refuses a list, for every transform
    out = through(method, image=picture(), mask=stack.transpose(1, 2, 0), masks=given)
    for i in range(6):
        assert np.array_equal(out["masks"][i], moved(stack[i], 5, 2))
        assert np.array_equal(out["mask"][..., i], moved(stack[i], 5, 2))


def test_an_empty_array_of_masks_is_left_alone():
    out = WarpTransform(shift(5, 2), p=1)(image=picture(), masks=np.zeros((0, 32, 40), np.uint8))
    assert out["masks"].shape == (0, 32, 40)


def test_images_and_volumes_get_one_draw():
    method = shift(5, 2, noise=0.1)
    image = picture()
    transform = A.Compose([WarpTransform(method, p=1)], seed=4)
    out = transform(image=image, images=np.stack([image] * 3))
    assert all(np.array_equal(frame, out["image"]) for frame in out["images"])
    grey = picture(channels=None)
    layers = np.stack([grey] * 4)
    out = transform(volume=layers, mask3d=layers)
    assert out["volume"].shape == layers.shape
    assert out["mask3d"].shape == layers.shape
    assert all(np.array_equal(layer, out["volume"][0]) for layer in out["volume"])
    assert all(np.array_equal(layer, out["mask3d"][0]) for layer in out["mask3d"])
    out = transform(volumes=np.stack([layers] * 2), masks3d=np.stack([layers] * 2))
    assert np.array_equal(out["volumes"][0], out["volumes"][1])
    assert out["masks3d"].shape == (2, 4, 32, 40)


def test_boxes_move_at_both_corners_with_their_labels_in_step():
    transform = A.Compose([WarpTransform(shift(8, 4), p=1)], bbox_params=boxes("names"))
    given = np.array(
        [[0, 0, 4, 4], [32, 28, 40, 32], [20, 20, 40, 32], [10, 10, 20, 20]], np.float32
    )
    out = transform(image=picture(), bboxes=given, names=["first", "gone", "cut", "inside"])
    assert out["names"] == ["first", "cut", "inside"]
    expected = [[8, 4, 12, 8], [28, 24, 40, 32], [18, 14, 28, 24]]
    assert np.allclose(out["bboxes"], expected, atol=1e-4)
    back = A.Compose([WarpTransform(shift(-8, -4), p=1)], bbox_params=boxes("names"))
    out = back(image=picture(), bboxes=given, names=["gone", "corner", "cut", "inside"])
    assert out["names"] == ["corner", "cut", "inside"]
    assert np.allclose(out["bboxes"][0], [24, 24, 32, 28], atol=1e-4)


def test_a_box_that_left_is_dropped_outside_of_compose_too():
    given = np.array([[0.9, 0.1, 1.0, 0.2, 7], [0.1, 0.1, 0.2, 0.2, 8]], np.float32)
    out = WarpTransform(shift(20, 0), p=1)(image=picture(), bboxes=given)["bboxes"]
    assert out[:, 4].tolist() == [8]
    assert np.allclose(out[0, :4], [0.6, 0.1, 0.7, 0.2])


def test_whole_numbers_outside_of_compose_move_by_fractions():
    given = np.array([[3, 4, 0, 0, 0], [30, 20, 0, 0, 1]])
    data = {"image": picture(), "keypoints": given, "bboxes": np.array([[0, 0, 1, 1]])}
    out = WarpTransform(shift(0.5, -0.25), p=1)(**data)
    assert np.allclose(out["keypoints"][:, :2], given[:, :2] + [0.5, -0.25], atol=1e-4)
    assert out["keypoints"][:, 4].tolist() == [0, 1]
    assert np.allclose(out["bboxes"], [[0.5 / 40, 0, 1, 1 - 0.25 / 32]])


def test_no_boxes_and_no_points_are_fine():
    transform = A.Compose(
        [WarpTransform(shift(8, 4), p=1)], bbox_params=boxes("names"), keypoint_params=points()
    )
    out = transform(image=picture(), bboxes=[], names=[], keypoints=[])
    assert len(out["bboxes"]) == len(out["keypoints"]) == len(out["names"]) == 0


@pytest.mark.parametrize("corner", [(0, 0), (39, 31)])
def test_a_point_at_a_corner_follows_its_pixel(corner):
    """Whole numbers are the centres of pixels, as the host's own flip shows."""
    flip = A.Compose([A.HorizontalFlip(p=1)], keypoint_params=points())
    flipped = flip(image=picture(), keypoints=np.array([corner], np.float32))["keypoints"]
    assert np.allclose(flipped, [[39 - corner[0], corner[1]]])
    dx, dy = (7, 5) if corner == (0, 0) else (-7, -5)
    image = np.zeros((32, 40, 3), np.uint8)
    image[corner[1], corner[0]] = 255
    transform = A.Compose([WarpTransform(shift(dx, dy), p=1)], keypoint_params=points())
    out = transform(image=image, keypoints=np.array([corner], np.float32))
    assert np.allclose(out["keypoints"], [[corner[0] + dx, corner[1] + dy]], atol=1e-4)
    (x, y) = np.rint(out["keypoints"][0]).astype(int)
    assert out["image"][y, x].tolist() == [255, 255, 255]


@pytest.mark.parametrize("size", [(32, 40), (31, 17)])
def test_a_mirror_is_the_host_s_own_flip(size):
    height, width = size
    given = {
        "image": picture(*size),
        "mask": picture(*size, None).astype(np.int32),
        "bboxes": np.array([[0, 0, 3, 2], [5, 6, width, height]], np.float32),
        "names": ["a", "b"],
        "keypoints": np.array([[0, 0], [width - 1, height - 1], [2.25, 3.5]], np.float32),
    }
    mirrored, flipped = (
        A.Compose([t], bbox_params=boxes("names"), keypoint_params=points())(**given)
        for t in (WarpTransform(Mirror(), p=1), A.HorizontalFlip(p=1))
    )
    assert np.array_equal(mirrored["image"], flipped["image"])
    assert np.array_equal(mirrored["mask"], flipped["mask"])
    assert np.allclose(mirrored["bboxes"], flipped["bboxes"], atol=1e-4)
    assert np.allclose(mirrored["keypoints"], flipped["keypoints"], atol=1e-4)
    assert mirrored["names"] == flipped["names"]


@pytest.mark.parametrize("size", [(49, 49), (32, 40), (17, 31), (3, 640)])
def test_points_that_stay_keep_every_digit_and_are_not_dropped(size):
    method = shift(0, 0)
    last = [size[1] - 1, size[0] - 1]
    given = np.array([[0, 0], last, [0.25, 1.75]], np.float64)
    transform = A.Compose([WarpTransform(method, p=1)], keypoint_params=points())
    out = transform(image=picture(*size), keypoints=given)["keypoints"]
    assert np.array_equal(out, given)


def test_thousands_of_points_keep_order_count_and_other_columns():
    given = np.random.default_rng(0).uniform(-100, 140, (5000, 2))
    given = np.column_stack([given, np.full(5000, 30.0), np.arange(5000.0)])
    params = points("xyas", remove_invisible=False)
    transform = A.Compose([WarpTransform(shift(11.3, -2.7), p=1)], keypoint_params=params)
    out = np.asarray(transform(image=picture(), keypoints=given)["keypoints"])
    assert out.shape == (5000, 4)
    assert np.allclose(out[:, :2], given[:, :2] + [11.3, -2.7], atol=1e-3)
    assert np.allclose(out[:, 2], 30)
    assert np.allclose(out[:, 3], np.arange(5000))


def test_the_host_drops_points_that_left_with_their_labels():
    params = points("xy", ["kinds"], remove_invisible=True)
    transform = A.Compose([WarpTransform(shift(8, 0), p=1)], keypoint_params=params)
    given = np.array([[35, 3], [0, 3]], np.float32)
    out = transform(image=picture(), keypoints=given, kinds=["gone", "stays"])
    assert list(out["kinds"]) == ["stays"]


def test_box_mask_and_point_land_together():
    mask = np.zeros((32, 40), np.uint8)
    mask[8:17, 10:21] = 3
    transform = A.Compose(
        [WarpTransform(shift(6.6, 3.3), p=1)], bbox_params=boxes(), keypoint_params=points()
    )
    out = transform(
        image=picture(), mask=mask, bboxes=np.array([[10, 8, 21, 17.0]]), keypoints=[(15, 12)]
    )
    rows, columns = np.nonzero(out["mask"])
    x1, y1, x2, y2 = out["bboxes"][0]
    assert max(abs(columns.min() - x1), abs(columns.max() + 1 - x2)) <= 0.5
    assert max(abs(rows.min() - y1), abs(rows.max() + 1 - y2)) <= 0.5
    assert np.allclose(out["keypoints"][0], [(x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2], atol=1e-3)


def test_the_host_s_noise_gives_the_core_s_plan_and_pixels():
    method = shift(5, 3, kind=ClassShift, noise=0.1)
    transform = WarpTransform(method, p=1)
    image = smooth()
    kept = transform.sample({"image": image, "label": 1}, np.random.default_rng(5))
    noise = method.draw(1, generator_from(np.random.default_rng(5)))
    plan = method.plan(Batch(labels=torch.tensor([1])), noise)
    assert torch.equal(from_record(kept["plan"])["shift"], plan["shift"])
    expected = method.apply(Batch(images=torch.from_numpy(image).permute(2, 0, 1)[None]), plan)
    out = transform.apply(image, **kept)
    difference = expected.images[0].permute(1, 2, 0).numpy().astype(float) - out
    assert np.abs(difference)[10:-10, 10:-10].max() <= tolerance((0.5, 0.5), np.uint8)


def test_a_class_and_an_image_steer_their_warps():
    by_class = A.Compose([WarpTransform(shift(5, 3, kind=ClassShift), p=1)])
    image = picture()
    assert np.array_equal(by_class(image=image, label=0)["image"], moved(image, 5, 3))
    assert np.array_equal(by_class(image=image, label=1)["image"], moved(image, -5, -3))
    assert by_class(image=image, label=1)["label"] == 1
    by_image = A.Compose([WarpTransform(shift(5, 3, kind=ImageShift), p=1)])
    white = np.full((32, 40, 3), 255, np.uint8)
    assert np.array_equal(by_image(image=white)["image"], moved(white, 5, 3))
    assert np.array_equal(by_image(images=np.stack([white]))["images"][0], moved(white, 5, 3))


def test_classes_go_by_name(tmp_path):
    from albu_learned import About

    method = shift(5, 3, kind=ClassShift)
    method.about = About(classes=["cat", "dog"])
    method.save_pretrained(tmp_path)
    image = picture()
    transform = WarpTransform(tmp_path, classes=["dog", "cat"], p=1)
    assert np.array_equal(transform(image=image, label=0)["image"], moved(image, -5, -3))
    with pytest.raises(ValueError, match=r"`label` must be in 0..1 for the classes"):
        transform(image=image, label=2)
    with pytest.raises(ValueError, match="`classes` must name the classes"):
        WarpTransform(tmp_path, classes=["dog", "cow"])


def test_a_read_only_or_strided_input_is_accepted_without_a_warning():
    image = picture()[:, ::-1]
    frozen = picture()
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method = shift(4, 2, kind=ImageShift)
        out = through(method, image=image)["image"]
        assert out.flags.c_contiguous
        assert np.array_equal(through(method, image=np.ascontiguousarray(image))["image"], out)
        assert np.array_equal(frozen, picture())
        through(method, image=frozen, mask=frozen)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ({}, ValueError, "must be given 'label', its class number"),
        ({"label": None}, ValueError, "name your key in `label_key`"),
        ({"label": np.array([0.2, 0.8])}, TypeError, "`label` must be one class number"),
        ({"label": "cat"}, TypeError, "`label` must be one class number"),
    ],
)
def test_a_missing_or_soft_label_is_named(data, error, words):
    with pytest.raises(error, match=words):
        through(ClassShift(), image=picture(), **data)
