"""Where objects are after a motion, and which of them the host would keep.

A motion bends straight lines. So boxes and oriented boxes are moved as points along their outlines,
polygons as the points that they are. What then happens at the frame, to boxes, polygons and
keypoints alike, is the host's own: its clipping, and its rule for what is too small to learn from.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor
from ultralytics.data.augment import RandomPerspective
from ultralytics.utils.instance import Instances
from ultralytics.utils.ops import segment2box

from albu_learned import resample
from albu_learned.kinds import Field

__all__ = ["box_corners", "box_outline", "clip", "enclosure", "in_pixels", "move", "outline"]

# What of an object must be left in the frame, as a share of its box: the host's own numbers. Less
# does where the outline is known, for then the box of what is left is tight.
_LEAST = 0.1
_LEAST_OUTLINED = 0.01


def box_corners(boxes: Tensor) -> Tensor:
    """(N, 4, 2): the corners, in a ring, of boxes x1, y1, x2, y2."""
    return boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(len(boxes), 4, 2)


def outline(corners: Tensor) -> Tensor:
    """(N, P, 2): points all along the sides of quadrilaterals (N, 4, 2), in a ring."""
    steps = resample.SIDE - 1  # the last point of a side is the first of the next
    t = torch.arange(steps, dtype=corners.dtype, device=corners.device)[:, None] / steps
    sides = corners.roll(-1, dims=1) - corners
    return (corners[:, :, None] + t * sides[:, :, None]).flatten(1, 2)


def box_outline(boxes: Tensor, box: str) -> Tensor:
    """(N, P, 2): points along what a warp takes boxes x1, y1, x2, y2 for. Without a mask that is
    their sides."""
    return resample.outline(boxes, box) if box == "ellipse" else outline(box_corners(boxes))


def enclosure(points: Tensor) -> Tensor:
    """(N, 4): x1, y1, x2, y2 of the boxes around points (N, P, 2)."""
    return torch.cat([points.amin(dim=1), points.amax(dim=1)], dim=1)


def clip(
    moved: Instances, width: int, height: int, oriented: bool = False, min_visible: float = 0.0
) -> np.ndarray:
    """Clips moved objects, boxes x1, y1, x2, y2 in pixels, to the frame, in place.

    Returns which of them (N,) the host would keep, if as much of the box is left as the warp asks
    for. It compares that with the whole moved one, so that a motion that shrinks everything does
    not lose everything.
    """
    whole = moved.bboxes.copy()
    outlined = len(moved.segments) > 0
    if outlined and not oriented:
        # Not merely clipped: what of a polygon lies outside would be smeared along the border.
        boxes = np.stack([segment2box(segment, width, height) for segment in moved.segments])
        segments = moved.segments.clip(boxes[:, None, :2], boxes[:, None, 2:])
        moved.update(boxes, segments)
    moved.clip(width, height, preserve_obb=oriented)
    least = _LEAST_OUTLINED if outlined else _LEAST
    kept: np.ndarray = RandomPerspective.box_candidates(whole.T, moved.bboxes.T, area_thr=least)
    # By the corners: what is left of an outline has a box of its own, which is smaller.
    inner = whole.clip(0, [width, height] * 2)
    return kept & (_areas(inner) >= min_visible * _areas(whole))


def _areas(boxes: np.ndarray) -> np.ndarray:
    areas: np.ndarray = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def in_pixels(instances: Instances, size: tuple[int, int]) -> Instances:
    """A copy with boxes x1, y1, x2, y2 in pixels."""
    own = copy.deepcopy(instances)
    own.convert_bbox("xyxy")
    own.denormalize(size[1], size[0])
    return own


def move(
    instances: Instances,
    field: Field,
    size: tuple[int, int],
    oriented: bool,
    box: str = "outline",
    min_visible: float = 0.0,
) -> tuple[Instances, np.ndarray]:
    """The objects that are left, as the host keeps them, and which of the given ones they are.

    Boxes follow their polygons where there are any, else what the warp takes a box for.
    """
    height, width = size
    own = in_pixels(instances, size)
    outlines = own.segments
    if len(outlines) == 0:
        outlines = box_outline(torch.from_numpy(own.bboxes), box).numpy()
    keypoints = own.keypoints
    joints = np.zeros((0, 2)) if keypoints is None else keypoints[..., :2]
    flat = np.concatenate([outlines.reshape(-1, 2), joints.reshape(-1, 2)])
    moved = _move_points(flat, field, (width, height))
    outlines = moved[: outlines.size // 2].reshape(outlines.shape).astype(outlines.dtype)
    if keypoints is not None:
        keypoints[..., :2] = moved[outlines.size // 2 :].reshape(joints.shape)
    boxes = enclosure(torch.from_numpy(outlines)).numpy() if len(outlines) else own.bboxes
    own.update(boxes.astype(own.bboxes.dtype), outlines if len(own.segments) else None, keypoints)
    kept = clip(own, width, height, oriented, min_visible)
    left = own[kept]
    left.convert_bbox(instances._bboxes.format)
    if instances.normalized:
        left.normalize(width, height)
    return left, kept


def _move_points(points: np.ndarray, field: Field, scale: tuple[int, int]) -> np.ndarray:
    """(N, 2) in pixels. A displacement is added to the given places, lest rounding push what lies
    on the border over it."""
    if len(points) == 0:
        return points
    before = (points / scale).astype(np.float32)
    after = field.points(torch.from_numpy(before)[None])[0].numpy()
    return points + (after.astype(np.float64) - before) * scale
