"""Between Kornia's arguments and the parts of a `Batch`.

Kornia counts pixels: a point (0, 0) is the centre of the first pixel, and the stored vertices of a
box are its first and last pixel, so that a box over the whole of a 48 pixel row ends at 47.
"""

from __future__ import annotations

import torch
from kornia.constants import DataKey
from kornia.geometry.boxes import Boxes
from kornia.geometry.keypoints import Keypoints
from torch import Tensor

from albu_learned.batch import Batch, Rows

BOXES = (DataKey.BBOX, DataKey.BBOX_XYXY, DataKey.BBOX_XYWH)


def images(value: Tensor) -> Batch:
    return Batch(images=value)


def masks(value: Tensor, nearest: bool) -> Batch:
    """(B, M, H, W). Kornia turns integer masks into floats; their bits, read as integers, are
    resampled to the nearest pixel, exactly."""
    return Batch(masks=value.view(_BITS[value.dtype]) if nearest else value)


def masks_back(changed: Batch, like: Tensor) -> Tensor:
    assert changed.masks is not None
    masks = changed.masks
    return masks if masks.is_floating_point() else masks.view(like.dtype)


_BITS = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


def boxes(value: Boxes, size: tuple[int, int]) -> Batch:
    vertices = _batched(value.data, 4)
    low, high = vertices.amin(dim=2), vertices.amax(dim=2) + 1
    unit = torch.cat([low, high], dim=2) / _side(size, vertices).repeat(2)
    return Batch(boxes=_rows(unit, value._valid.reshape(vertices.shape[:2])))


def boxes_back(changed: Rows, like: Boxes, size: tuple[int, int]) -> Boxes:
    """Kornia's boxes. Rows that a mix has added come behind the image's own; what is not valid
    exports as zeros, which is how Kornia pads."""
    corners, valid = _padded(changed)
    corners = corners * _side(size, corners).repeat(2)
    x1, y1, x2, y2 = (corners - corners.new_tensor([0, 0, 1, 1])).unbind(-1)
    vertices = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], dim=-1).unflatten(-1, (4, 2))
    out = like.clone()
    grown = vertices.shape[1] != like.data.shape[-3]
    out._data = vertices.reshape(like.data.shape) if not grown else vertices
    out._valid = valid.reshape(like._valid.shape) if not grown else valid
    out._N = None if grown else like._N
    out._is_batched = like._is_batched or grown
    return out


def padding(value: Boxes) -> Tensor:
    """Which boxes are only there to fill up the tensor: all zeros, or without any extent."""
    vertices = value.data
    extent = vertices.amax(dim=-2) - vertices.amin(dim=-2) + 1
    return (vertices == 0).flatten(-2).all(dim=-1) | (extent <= 0).any(dim=-1)


def keypoints(value: Keypoints, size: tuple[int, int]) -> Batch:
    points = _batched(value.data, 3)
    unit = (points + 0.5) / _side(size, points)
    return Batch(
        points=_rows(unit, torch.ones(unit.shape[:2], dtype=torch.bool, device=unit.device))
    )


def keypoints_back(changed: Rows, like: Keypoints, size: tuple[int, int]) -> Keypoints:
    points, _ = _padded(changed)
    points = points * _side(size, points) - 0.5
    out = like.clone()
    out._data = points.reshape(like.data.shape) if points.numel() == like.data.numel() else points
    return out


def inside(value: Keypoints, size: tuple[int, int]) -> Tensor:
    """Which points lie within the frame."""
    unit = (value.data + 0.5) / _side(size, value.data)
    return ((unit >= 0) & (unit <= 1)).all(dim=-1)


def _batched(data: Tensor, dims: int) -> Tensor:
    return data if data.ndim == dims else data[None]


def _side(size: tuple[int, int], like: Tensor) -> Tensor:
    return like.new_tensor([size[1], size[0]])


def _rows(unit: Tensor, valid: Tensor) -> Rows:
    count, each = unit.shape[:2]
    image = torch.arange(count, device=unit.device).repeat_interleave(each)
    return Rows.at(unit.flatten(0, 1), image, count, valid.flatten())


def _padded(rows: Rows) -> tuple[Tensor, Tensor]:
    values, place = rows.pad()
    flat = torch.zeros(values.shape[0] * values.shape[1], dtype=torch.bool, device=values.device)
    return values, flat.index_copy(0, place, rows.valid).view(values.shape[:2])


def sources(rows: Rows) -> Tensor:
    """(B, N, 2): the image and row that every padded row came from, -1 where there is none."""
    values, place = rows.pad()
    flat = rows.source.new_full((values.shape[0] * values.shape[1], 2), -1)
    return flat.index_copy(0, place, rows.source).view(*values.shape[:2], 2)
