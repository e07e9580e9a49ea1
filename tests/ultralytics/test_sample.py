"""Learned methods on one sample of Ultralytics: labels stay where the pixels are."""

import copy
import sys

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from ultralytics.data.augment import Format, RandomPerspective
from ultralytics.data.dataset import YOLODataset
from ultralytics.utils.instance import Instances
from ultralytics.utils.ops import xywhr2xyxyxyxy

from albu_learned import ZetaMixup
from albu_learned.ultralytics.sample import change_labels, change_picture
from tests.toys import ClassPicture, ClassShift, ImageShift
from tests.ultralytics import scenes

SIZES = [(96, 96), (80, 128), (128, 80)]
WARPS = {
    "rotate": scenes.rotate(20),
    "bend": scenes.bend(0.06),
    "shift": scenes.shift(0.07, -0.03),
}


def at_work(method, p=1.0, **given):
    return scenes.at_work(method, p, "sample", **given)


def boxes_in(size):
    """Rectangles, scaled to a size."""
    scale = np.array(size[::-1]) / 96
    given = [(30, 28, 50, 44), (54, 50, 74, 70), (26, 56, 40, 72)]
    return [scenes.rectangle(*box) * scale.astype(np.float32) for box in given]


def triangles_in(size):
    scale = (np.array(size[::-1]) / 96).astype(np.float32)
    one = np.array([[30, 28], [56, 34], [36, 50]], np.float32)
    other = np.array([[54, 60], [76, 56], [60, 78]], np.float32)
    return [one * scale, other * scale]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("warp", WARPS)
def test_boxes_enclose_the_pixels_of_their_objects(warp, size):
    labels = scenes.labels_of(boxes_in(size), size)
    before = labels["img"].copy()
    assert change_labels(at_work(WARPS[warp]), labels)
    assert (labels["img"] != before).any()
    moved = scenes.in_pixels(labels)
    assert labels["cls"][:, 0].tolist() == [0, 1, 2]
    for box, colour in zip(moved.bboxes, scenes.COLOURS, strict=False):
        assert np.abs(box - scenes.extent(scenes.seen(labels["img"], colour))).max() < 1.5


@pytest.mark.parametrize("size", [(288, 288), (240, 384)])
@pytest.mark.parametrize("warp", WARPS)
def test_polygons_cover_the_pixels_of_their_objects(warp, size):
    labels = scenes.labels_of(triangles_in(size), size, polygonal=True)
    change_labels(at_work(WARPS[warp]), labels)
    image = labels["img"]
    made = Format(return_mask=True, mask_ratio=1, mask_overlap=False)(labels)
    for number, mask, box in zip(made["cls"], made["masks"], made["bboxes"], strict=True):
        pixels = scenes.seen(image, scenes.COLOURS[int(number)])
        mask = mask.numpy().astype(bool)
        assert (pixels & mask).sum() / (pixels | mask).sum() > 0.9  # the host paints wide edges
        scale = np.array([*size[::-1]] * 2)
        x, y, w, h = box.numpy() * scale
        found = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        assert np.abs(found - scenes.extent(pixels)).max() < 1.5


@pytest.mark.parametrize("warp", WARPS)
def test_polygons_move_exactly(warp):
    """Apart from how the host paints them: a polygon's own area against its pixels."""
    size = (256, 320)
    labels = scenes.labels_of([p * 2.6 for p in triangles_in((96, 96))], size, polygonal=True)
    change_labels(at_work(WARPS[warp]), labels)
    for colour, segment in zip(scenes.COLOURS, scenes.in_pixels(labels).segments, strict=False):
        fine = np.zeros((size[0] * 4, size[1] * 4), np.uint8)
        cv2.fillPoly(fine, [np.rint(segment * 4).astype(np.int32)], 1)
        mask = fine.reshape(size[0], 4, size[1], 4).mean(axis=(1, 3)) > 0.5
        pixels = scenes.seen(labels["img"], colour)
        assert (pixels & mask).sum() / (pixels | mask).sum() > 0.95


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("warp", WARPS)
def test_keypoints_lie_on_their_markers(warp, size):
    places = np.array([[40.5, 36.5], [60.5, 56.5], [34.5, 62.5]]) * np.array(size[::-1]) / 96
    places = np.floor(places) + 0.5
    keypoints = np.concatenate([places, [[2], [1], [0]]], axis=1)[None].astype(np.float32)
    labels = scenes.labels_of(boxes_in(size)[:1], size, keypoints=keypoints)
    labels["img"] = scenes.paint([scenes.rectangle(*(p - 2.5), *(p + 2.5)) for p in places], size)
    change_labels(at_work(WARPS[warp]), labels)
    moved = scenes.in_pixels(labels).keypoints[0]
    assert moved[:, 2].tolist() == [2, 1, 0]
    for colour, place in zip(scenes.COLOURS, moved, strict=False):
        y, x = scenes.seen(labels["img"], colour).nonzero()
        assert abs(x.mean() + 0.5 - place[0]) < 0.6
        assert abs(y.mean() + 0.5 - place[1]) < 0.6


def test_a_keypoint_that_leaves_is_not_visible_and_one_on_the_border_stays():
    size = (96, 96)
    keypoints = np.array([[[40, 36, 2], [70, 36, 2], [96, 96, 2]]], np.float32)
    labels = scenes.labels_of(boxes_in(size)[:1], size, keypoints=keypoints)
    stays = copy.deepcopy(labels)
    change_labels(at_work(scenes.shift(0.4, 0)), labels)
    assert scenes.in_pixels(labels).keypoints[0, :, 2].tolist() == [2, 0, 0]
    change_labels(at_work(scenes.rotate(0)), stays)
    assert scenes.in_pixels(stays).keypoints[0, :, 2].tolist() == [2, 2, 2]


@pytest.mark.parametrize("size", [(128, 128), (112, 144)])
@pytest.mark.parametrize("warp", ["rotate", "shift"])
def test_oriented_boxes_cover_a_bar(warp, size):
    labels = scenes.labels_of([scenes.bar(62, 60, 40, 12, 30)], size, polygonal=True, points=100)
    change_labels(at_work(WARPS[warp]), labels, oriented=True)
    image = labels["img"]
    made = Format(return_obb=True)(labels)
    _covered(made["bboxes"], image, size)


def _covered(boxes, image, size, slack=1.25):
    scale = torch.tensor([*size[::-1]] * 2)
    box = torch.cat([boxes[0, :4] * scale, boxes[0, 4:]])
    pixels = scenes.seen(image, scenes.COLOURS[0])
    wide = torch.cat([box[:2], box[2:4] + 1.5, box[4:]])
    assert not (pixels & ~scenes.inside(xywhr2xyxyxyxy(wide).numpy(), size)).any()
    assert box[2] * box[3] < slack * pixels.sum()


def test_an_oriented_box_keeps_its_angle_at_the_frame():
    size = (128, 128)
    labels = scenes.labels_of([scenes.bar(62, 60, 60, 12, 40)], size, polygonal=True, points=100)
    change_labels(at_work(scenes.shift(0.45, 0)), labels, oriented=True)
    assert scenes.seen(labels["img"], scenes.COLOURS[0])[:, -1].any()
    made = Format(return_obb=True)(labels)
    assert abs(made["bboxes"][0, 4] - np.radians(40)) < 0.02


FORMS = [("xywh", True), ("xyxy", True), ("xywh", False), ("xyxy", False), ("ltwh", False)]


@pytest.mark.parametrize(("form", "normalized"), FORMS)
@pytest.mark.parametrize("polygonal", [False, True])
def test_what_leaves_the_frame_is_dropped_and_the_form_of_the_rest_stays(
    form, normalized, polygonal
):
    size = (80, 128)
    given = scenes.labels_of(boxes_in(size), size, polygonal=polygonal)
    given["instances"].convert_bbox(form)
    if not normalized:
        given["instances"].denormalize(128, 80)
    labels = copy.deepcopy(given)
    change_labels(at_work(scenes.shift(-0.53, 0)), labels)  # the first and third leave
    assert labels["cls"].tolist() == [[1]]
    moved = labels["instances"]
    assert (moved._bboxes.format, moved.normalized) == (form, normalized)
    assert len(moved.segments) == polygonal
    box = scenes.in_pixels(labels).bboxes[0]
    assert np.abs(box - scenes.extent(scenes.seen(labels["img"], scenes.COLOURS[1]))).max() < 1.5
    assert len(given["instances"]) == 3  # the given instances are as they were


def test_a_polygon_that_crosses_the_frame_has_the_box_of_what_is_left():
    size = (96, 96)
    wedge = np.array([[20, 10], [60, 40], [20, 80]], np.float32)  # its wide end leaves
    labels = scenes.labels_of([wedge], size, polygonal=True)
    change_labels(at_work(scenes.shift(-0.4, 0)), labels)
    moved = scenes.in_pixels(labels)
    found = scenes.extent(scenes.seen(labels["img"], scenes.COLOURS[0]))
    assert np.abs(moved.bboxes[0] - found).max() < 1.5
    assert moved.segments[0, :, 1].min() > found[1] - 1.5  # nothing is smeared along the border


def test_objects_follow_the_hosts_own_rule():
    """What the host's own geometry keeps of objects at the border, a warp keeps."""
    size, rng = (128, 128), np.random.default_rng(0)
    corner = rng.uniform(0, 100, (60, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 28, (60, 2))], axis=1)
    left = [[64 - width, 8, 124 - width, 20] for width in (1, 3, 5, 7, 9)]  # of 60 wide ones
    labels = scenes.labels_of([scenes.rectangle(*box) for box in [*boxes, *left]], size)
    twin = copy.deepcopy(labels)
    change_labels(at_work(scenes.shift(0.5, 0.25)), labels)
    host = RandomPerspective(size=size)
    matrix = np.array([[1, 0, 64], [0, 1, 32], [0, 0, 1]], np.float32)
    params = {"M": matrix, "scale": 1.0, "orig_shape": size, "size": size}
    twin = host.apply_instances(twin, params)
    assert 5 < len(labels["cls"]) < 60
    assert labels["cls"].tolist() == twin["cls"].tolist()
    assert labels["cls"][-2:].tolist() == [[63], [64]]  # a tenth of 60 is 6
    assert np.allclose(scenes.in_pixels(labels).bboxes, twin["instances"].bboxes, atol=1e-3)


def test_boxes_enclose_bulging_sides():
    labels = scenes.labels_of([scenes.rectangle(40, 4, 60, 44)], (96, 96))
    change_labels(at_work(scenes.bend(0.2)), labels)
    found = scenes.extent(scenes.seen(labels["img"], scenes.COLOURS[0]))
    assert np.abs(scenes.in_pixels(labels).bboxes[0] - found).max() < 1.5


def test_shrinking_loses_nothing():
    class Shrink(scenes.RotateField):
        def __init__(self, rows):
            super().__init__(0.0, rows)

        def points(self, points):
            return (points - 0.5) * 0.25 + 0.5

        def points_back(self, points):
            return (points - 0.5) * 4 + 0.5

    labels = scenes.labels_of(boxes_in((96, 96)), (96, 96))
    change_labels(at_work(scenes.Fixed(Shrink)), labels)
    assert len(labels["cls"]) == 3


def test_an_identity_leaves_every_label_as_it_was():
    for polygonal in (False, True):
        labels = scenes.labels_of(boxes_in((80, 128)), (80, 128), polygonal=polygonal)
        before = scenes.in_pixels(copy.deepcopy(labels))
        change_labels(at_work(scenes.rotate(0)), labels)
        after = scenes.in_pixels(labels)
        assert np.abs(after.bboxes - before.bboxes).max() < 1e-4
        assert np.abs(after.segments - before.segments).max(initial=0) < 1e-4


def test_pictures_without_objects_are_moved():
    for polygonal in (False, True):
        labels = scenes.labels_of([], (96, 96), polygonal=polygonal)
        labels["img"] = scenes.paint(boxes_in((96, 96)), (96, 96))
        before = labels["img"].copy()
        assert change_labels(at_work(scenes.rotate(20)), labels)
        assert (labels["img"] != before).any()
        assert labels["cls"].shape == (0, 1)
        assert labels["instances"].bboxes.shape == (0, 4)
        assert labels["instances"].segments.shape == (0, 1000, 2)


@pytest.mark.parametrize("method", [scenes.rotate(20), scenes.RedBoxes()])
def test_the_cached_picture_is_not_written(method):
    labels = scenes.labels_of(boxes_in((96, 96)), (96, 96))
    cached = labels["img"]
    cached.setflags(write=False)  # as a memory map is
    before = cached.copy()
    assert change_labels(at_work(method), labels)
    assert (cached == before).all()
    assert labels["img"].flags.writeable
    assert not np.shares_memory(labels["img"], cached)


def test_p_decides_for_each_picture():
    torch.manual_seed(0)
    step, changed = at_work(scenes.shift(0.1, 0), p=0.5), []
    for _ in range(200):
        labels = scenes.labels_of(boxes_in((96, 96)), (96, 96))
        before = dict(labels)
        changed.append(change_labels(step, labels))
        assert all((labels[k] is before[k]) != changed[-1] for k in ("img", "cls", "instances"))
    assert 70 < sum(changed) < 130


def test_a_method_sees_red_green_blue():
    labels = scenes.labels_of(boxes_in((96, 96)), (96, 96))
    labels["img"][:] = [255, 0, 0]  # all blue: so red is 1 - 1
    change_labels(at_work(scenes.RedBoxes()), labels)
    assert labels["img"][30, 40].tolist() == [0, 0, 0]
    labels["img"][:] = [51, 0, 0]
    change_labels(at_work(scenes.RedBoxes()), labels)
    assert labels["img"][5, 5].tolist() == [51, 0, 0]
    assert labels["img"][36, 40].tolist() == [0, 0, 204]
    assert len(labels["cls"]) == 3


def test_a_generators_boxes_are_those_of_the_picture():
    size = (80, 128)
    labels = scenes.labels_of(boxes_in(size), size)
    boxes = scenes.in_pixels(copy.deepcopy(labels)).bboxes
    labels["img"][:] = 0
    change_labels(at_work(scenes.RedBoxes()), labels)
    for x1, y1, x2, y2 in boxes.round().astype(int):
        assert (labels["img"][y1:y2, x1:x2] == [0, 0, 255]).all()
        labels["img"][y1:y2, x1:x2] = 0
    assert (labels["img"] == 0).all()


def test_a_warp_that_reads_the_picture_reads_all_of_it():
    warp = ImageShift()
    warp.shift.data[:] = 0.5
    labels = scenes.labels_of([scenes.rectangle(20, 20, 40, 40)], (80, 100))
    labels["img"][:] = 51  # brightness 0.2
    change_labels(at_work(warp), labels)
    assert np.abs(scenes.in_pixels(labels).bboxes - [30, 28, 50, 48]).max() < 0.01


def test_grey_pictures():
    for image in (np.full((96, 96, 1), 9, np.uint8), np.full((96, 96), 9, np.uint8)):
        labels = {**scenes.labels_of(boxes_in((96, 96)), (96, 96)), "img": image}
        change_labels(at_work(scenes.shift(0.5, 0)), labels)
        assert labels["img"].shape == image.shape
        assert labels["img"][5, :48].max() == 0


class _Invert(scenes.RedBoxes):
    needs = frozenset()

    def plan(self, batch, noise):
        return noise

    def pixels(self, images, plan):
        return 1 - images


def test_grey_pictures_are_made_anew():
    labels = scenes.labels_of(boxes_in((96, 96)), (96, 96))
    labels["img"] = np.full((96, 96, 1), 9, np.uint8)
    change_labels(at_work(_Invert()), labels)
    assert labels["img"].shape == (96, 96, 1)
    assert (labels["img"] == 246).all()


@pytest.mark.parametrize("key", ["semantic_mask", "depth"])
def test_what_would_not_follow_the_picture_is_refused(key):
    labels = {**scenes.labels_of([], (96, 96)), key: np.zeros((96, 96))}
    with pytest.raises(ValueError, match=key):
        change_labels(at_work(scenes.rotate(20), p=0.0), labels)
    with pytest.raises(ValueError, match=r"toy.yaml:1: ZetaMixup .*batch"):
        change_labels(at_work(ZetaMixup()), scenes.labels_of([], (96, 96)))


def test_the_host_formats_and_collates_what_comes_out():
    size, made = (96, 96), []
    for degrees in (10, 25):
        labels = scenes.labels_of(triangles_in(size), size, polygonal=True)
        change_labels(at_work(scenes.rotate(degrees)), labels)
        made.append(Format(return_mask=True, mask_ratio=4)(labels))
    batch = YOLODataset.collate_fn(made)
    assert batch["batch_idx"].tolist() == [0, 0, 1, 1]
    assert batch["masks"].shape == (2, 24, 24)
    assert isinstance(made[0].get("instances", Instances(np.zeros((0, 4)))), Instances)


# Pictures of a classifier.

CLASSIFIER = {"parts": frozenset({"images", "labels"}), "num_classes": 2}


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_picture_is_moved_as_its_class_says(mode):
    warp = ClassShift()
    warp.shift.data[:] = torch.tensor([[0.0, 0.0], [0.25, 0.0]])
    image = Image.new(mode, (64, 48))
    image.paste(Image.new(mode, (8, 8), 255 if mode == "L" else (255, 9, 40)), (16, 16))
    step = at_work(warp, **CLASSIFIER)
    same, changed = change_picture(step, image, 0)
    assert changed
    assert np.array_equal(same, image)
    moved, _ = change_picture(step, image, 1)
    assert moved.mode == mode
    assert moved.size == image.size
    assert np.array_equal(np.asarray(moved)[16:24, 32:40], np.asarray(image)[16:24, 16:24])
    assert np.asarray(moved)[16:24, :32].max() == 0


def test_a_picture_is_made_in_the_colours_of_its_class():
    method = ClassPicture(size=8)
    method.draw = lambda rows, generator=None, device=None: {"z": torch.ones(rows)}
    image = Image.new("RGB", (8, 8))
    made, changed = change_picture(at_work(method, **CLASSIFIER), image, np.int64(1))
    assert changed
    expected = method.picture[1].detach().permute(1, 2, 0).numpy() * 255
    assert np.abs(np.asarray(made) - expected).max() <= 0.5
    assert np.asarray(image).max() == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="errors have no notes")
def test_an_error_in_a_field_names_its_entry():
    broken = at_work(scenes.Fixed(lambda rows: 1 / 0))
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    for change in (
        lambda: change_picture(broken, picture, 0),
        lambda: change_labels(broken, scenes.labels_of([], (8, 8))),
    ):
        with pytest.raises(ZeroDivisionError) as raised:
            change()
        assert raised.value.__notes__ == ["toy.yaml:1: Fixed on the sample"]


def test_pictures_p_and_refusals():
    image = Image.new("RGB", (8, 8))
    same, changed = change_picture(at_work(scenes.rotate(9), p=0.0, **CLASSIFIER), image, 0)
    assert same is image
    assert not changed
    with pytest.raises(ValueError, match="mode RGB or L, got CMYK"):
        change_picture(at_work(scenes.rotate(9), **CLASSIFIER), image.convert("CMYK"), 0)
