"""Pictures whose objects have each their own colour, so that a test can see where they are; and
methods at work as a spec would have them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ultralytics.utils.instance import Instances
from ultralytics.utils.ops import resample_segments

from albu_learned import Field, Generate, Warp
from albu_learned.spec import Entry, Given, Step
from tests.toys import ShiftField

COLOURS = np.array(  # blue, green, red; far from each other and from black
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]], np.uint8
)
PARTS = frozenset({"images", "boxes"})
RECTANGLES = [(40, 50, 110, 90), (130, 120, 200, 230)]
JOINTS = np.array([[[60, 70, 2], [100, 60, 2]], [[150, 200, 2], [180, 140, 2]]], np.float32)


@dataclass(frozen=True)
class Ready(Entry):
    """An entry whose method is built already."""

    method: Any = None

    def build(self, num_classes=None):
        return self.method.eval()


def at_work(method, p=1.0, stage="batch", parts=PARTS, num_classes=None):
    name = type(method).__name__
    given = (name, method.kind, None, {}, p, stage, 0, None, False, "", "toy.yaml:1")
    entry = Ready(*given, method=method)
    return Step(entry, Given("a toy", parts, num_classes=num_classes))


class RotateField(Field):
    """A rotation about the centre, of fractions."""

    def __init__(self, angle, rows):
        cos, sin = math.cos(angle), math.sin(angle)
        self.matrix = torch.tensor([[cos, sin], [-sin, cos]])
        self.rows = rows

    def __len__(self):
        return self.rows

    def points(self, points):
        return (points - 0.5) @ self.matrix.to(points) + 0.5

    def points_back(self, points):
        return (points - 0.5) @ self.matrix.T.to(points) + 0.5


class BendField(Field):
    """Lines are shifted sideways along a wave: straight sides become curves."""

    def __init__(self, depth, rows):
        self.depth = depth
        self.rows = rows

    def __len__(self):
        return self.rows

    def points(self, points, sign=1):
        x, y = points.unbind(-1)
        return torch.stack([x + sign * self.depth * (2 * math.pi * y).sin(), y], dim=-1)

    def points_back(self, points):
        return self.points(points, -1)


class Fixed(Warp):
    """A warp that does the same to every image."""

    citation = "@misc{fixed}"
    padding = "zeros"

    def __init__(self, make=None):
        super().__init__()
        self.make = make

    def draw(self, rows, generator=None, device=None):
        return {"none": torch.zeros(rows, device=device)}

    def plan(self, batch, noise):
        return noise

    def field(self, plan):
        return self.make(len(plan["none"]))

    def identity(self, rows, device=None):
        return {"none": torch.zeros(rows, device=device)}


def rotate(degrees):
    return Fixed(lambda rows: RotateField(math.radians(degrees), rows))


def bend(depth):
    return Fixed(lambda rows: BendField(depth, rows))


def shift(x, y):
    return Fixed(lambda rows: ShiftField(torch.tensor([[x, y]]).expand(rows, 2)))


class RedBoxes(Generate):
    """Paints boxes red, as dark as the rest of the picture is blue."""

    citation = "@misc{redboxes}"
    needs = frozenset({"images", "boxes"})

    def draw(self, rows, generator=None, device=None):
        return {"none": torch.zeros(rows, device=device)}

    def plan(self, batch, noise):
        boxes, _ = batch.boxes.pad()
        red = 1 - batch.images[:, 2].mean(dim=(1, 2))
        return {"boxes": boxes, "red": red}

    def pixels(self, images, plan):
        made = images.clone()
        height, width = images.shape[2:]
        scale = torch.tensor([width, height, width, height])
        for image, boxes, red in zip(made, plan["boxes"], plan["red"], strict=True):
            for x1, y1, x2, y2 in (boxes * scale).round().int().tolist():
                image[:, y1:y2, x1:x2] = torch.stack([red, red * 0, red * 0])[:, None, None]
        return made


def inside(polygon, size):
    """(H, W): the pixels whose centres lie in a convex polygon (P, 2), in pixels."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    sides = np.roll(polygon, -1, axis=0) - polygon
    turns = [
        dx * (y - py) - dy * (x - px)
        for (px, py), (dx, dy) in zip(polygon, sides, strict=True)
        if dx or dy
    ]
    return np.all(np.array(turns) >= 0, axis=0) | np.all(np.array(turns) <= 0, axis=0)


def rectangle(x1, y1, x2, y2):
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)


def bar(x, y, length, width, degrees):
    """A rectangle at an angle."""
    a = math.radians(degrees)
    along = np.array([math.cos(a), math.sin(a)]) * length / 2
    across = np.array([-math.sin(a), math.cos(a)]) * width / 2
    corners = [along + across, along - across, -along - across, -along + across]
    return (np.array([x, y]) + corners).astype(np.float32)


def paint(polygons, size, colours=COLOURS):
    image = np.zeros((*size, 3), np.uint8)
    for polygon, colour in zip(polygons, colours, strict=False):
        image[inside(polygon, size)] = colour
    return image


def seen(image, colour):
    """(H, W): the pixels of a colour, BGR, blended edges by half."""
    distance = np.abs(image.astype(int) - colour.astype(int)).max(axis=-1)
    return distance < 128


def labels_of(polygons, size, polygonal=False, keypoints=None, points=1000):
    """A label dict as the host's data set returns it: the class of an object is its colour."""
    scale = np.array(size[::-1], np.float32)
    unit = [polygon / scale for polygon in polygons]
    low = np.array([polygon.min(0) for polygon in unit], np.float32).reshape(-1, 2)
    high = np.array([polygon.max(0) for polygon in unit], np.float32).reshape(-1, 2)
    boxes = np.concatenate([(low + high) / 2, high - low], axis=1)
    segments = np.zeros((0, points, 2), np.float32)
    if polygonal and unit:
        segments = np.stack(resample_segments([u.copy() for u in unit], n=points))
    if keypoints is not None:
        keypoints = keypoints / np.array([*scale, 1], np.float32)
    return {
        "im_file": "toy.jpg",
        "ori_shape": size,
        "resized_shape": size,
        "img": paint(polygons, size),
        "cls": np.arange(len(polygons), dtype=np.float32)[:, None],
        "instances": Instances(boxes, segments, keypoints, bbox_format="xywh", normalized=True),
    }


def in_pixels(labels):
    """The instances of a label dict with boxes x1, y1, x2, y2 in pixels."""
    instances = labels["instances"]
    instances.convert_bbox("xyxy")
    instances.denormalize(*labels["img"].shape[1::-1])
    return instances


def extent(mask):
    """x1, y1, x2, y2 of the pixels of a mask."""
    y, x = mask.nonzero()
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


def marked(with_segments=False):
    """The label dict of a blue and a green rectangle, each with two red marks as its joints."""
    image = np.zeros((256, 256, 3), np.uint8)
    for n, (x1, y1, x2, y2) in enumerate(RECTANGLES):
        image[y1:y2, x1:x2] = 0
        image[y1:y2, x1:x2, n] = 255
    for x, y in JOINTS[..., :2].reshape(-1, 2).astype(int):
        image[y - 3 : y + 3, x - 3 : x + 3, 2] = 255
    segments = np.zeros((0, 1000, 2), np.float32)
    if with_segments:
        segments = np.stack([_dense(rectangle(*box)) for box in RECTANGLES])
    boxes = np.array(RECTANGLES, np.float32)
    made = Instances(boxes, segments, JOINTS.copy(), bbox_format="xyxy", normalized=False)
    return {"img": image, "instances": made, "cls": np.array([[0.0], [1.0]])}


def _dense(corners):
    steps = np.linspace(0, 1, 100, endpoint=False)[:, None]
    sides = np.roll(corners, -1, axis=0) - corners
    points = np.concatenate([a + steps * s for a, s in zip(corners, sides, strict=True)])
    return points.astype(np.float32)


def follow(labels):
    """Raises unless boxes and joints of `marked` lie where the pixels show them."""
    image, instances = labels["img"], labels["instances"]
    instances.convert_bbox("xyxy")
    assert len(instances) == 2
    for n, box in enumerate(instances.bboxes):
        assert np.abs(extent(image[..., n] > 127) - box).max() <= 1.5
    ys, xs = np.mgrid[:256, :256] + 0.5
    for x, y in instances.keypoints[..., :2].reshape(-1, 2):
        near = (image[..., 2] > 127) & (np.hypot(xs - x, ys - y) < 8)
        assert near.sum() > 15
        assert abs(xs[near].mean() - x) < 1
        assert abs(ys[near].mean() - y) < 1
