"""Between Kornia's arguments and the parts of a `Batch`.

Kornia counts pixels: a point (0, 0) is the centre of the first pixel, and the stored vertices of a
box are its first and last pixel, so that a box over the whole of a 48 pixel row ends at 47.
"""

from __future__ import annotations

from typing import Any

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


def outlines(value: Any, count: int) -> Rows:
    """The objects of each image, of masks (B, N, H, W) with a channel for each; empty channels are
    left out."""
    if not isinstance(value, Tensor) or value.ndim != 4 or len(value) != count:
        got = tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ValueError(
            f"`mask` must be (B, N, H, W) with a channel for each object of {count} images to be "
            f"looked at, got {got}."
        )
    inside = value > 0.5
    image, channel = inside.flatten(2).any(dim=2).nonzero().unbind(dim=1)
    return Rows.at(inside[image, channel].to(torch.uint8), image, count)


_BITS = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


def boxes(value: Boxes, size: tuple[int, int], ragged: bool = False) -> Batch:
    """Kornia fills lists of boxes up to the longest; `ragged` leaves the filling out."""
    vertices = _accurate(_batched(value.data, 4))
    low, high = vertices.amin(dim=2), vertices.amax(dim=2) + 1
    unit = torch.cat([low, high], dim=2) / _side(size, vertices).repeat(2)
    rows = _rows(unit, value._valid.reshape(vertices.shape[:2]))
    if ragged and value._N is not None:
        filling = torch.tensor(value._N, device=unit.device)[:, None]
        place = torch.arange(unit.shape[1], device=unit.device)
        rows = rows.take((place < unit.shape[1] - filling).flatten().nonzero()[:, 0])
    return Batch(boxes=rows)


def boxes_back(changed: Rows, like: Boxes, size: tuple[int, int]) -> Boxes:
    """Kornia's boxes; what is not valid exports as zeros, which is how Kornia pads."""
    corners, valid = _padded(changed)
    corners = corners * _side(size, corners).repeat(2)
    x1, y1, x2, y2 = (corners - corners.new_tensor([0, 0, 1, 1])).unbind(-1)
    vertices = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], dim=-1).unflatten(-1, (4, 2))
    vertices = vertices.to(like.data.dtype)
    out = like.clone()
    grown = vertices.numel() != like.data.numel()
    out._data = vertices.reshape(like.data.shape) if not grown else vertices
    out._valid = valid.reshape(like._valid.shape) if not grown else valid
    out._is_batched = like._is_batched or grown
    return out


def mixed_boxes_back(changed: Rows, like: Boxes, size: tuple[int, int]) -> Boxes:
    """The same for boxes of a mix: rows that it has added come behind the image's own."""
    out = boxes_back(changed, like, size)
    if like._N is not None:  # a list comes back as a list
        lengths = torch.bincount(changed.image, minlength=changed.count)
        out._N = (out.data.shape[1] - lengths).tolist()
    return out


def checked_boxes(given: Any, key: DataKey) -> Any:
    """Boxes as a caller gave them, as Kornia takes them: it refuses padding of no width, and other
    mistakes without a word about where they are."""
    if key == DataKey.BBOX or torch.compiler.is_compiling():
        return given
    if isinstance(given, (list, tuple)) and all(isinstance(part, Tensor) for part in given):
        return [_checked(part, key, f"image {i}") for i, part in enumerate(given)]
    return _checked(torch.as_tensor(given), key, "image {}")


def _checked(given: Tensor, key: DataKey, where: str) -> Tensor:
    name = key.name.lower()
    if given.shape[-1:] != (4,):
        raise ValueError(
            f"`{name}` must be (B, N, 4) or a list of (N, 4), got {tuple(given.shape)}."
        )
    if key == DataKey.BBOX_XYWH:
        empty = (given == 0).all(dim=-1, keepdim=True)
        given = torch.where(empty & (torch.arange(4, device=given.device) > 1), 1, given)
        extent, rule = given[..., 2:], "w > 0 and h > 0. Give x, y, w, h."
    else:
        extent = given[..., 2:] - given[..., :2] + 1
        rule = "x2 >= x1 and y2 >= y1. Give x1, y1, x2, y2; (x2, y2) is the last pixel."
    wrong = (extent <= 0).any(dim=-1)
    if wrong.any():
        *image, row = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"`{name}` must have {rule} Box {row} of {where.format(*image or [0])} is "
            f"{given[wrong][0].tolist()}."
        )
    return given


def padding(value: Boxes) -> Tensor:
    """Which boxes are only there to fill up the tensor: all zeros, or without any extent."""
    vertices = value.data
    extent = vertices.amax(dim=-2) - vertices.amin(dim=-2) + 1
    return (vertices == 0).flatten(-2).all(dim=-1) | (extent <= 0).any(dim=-1)


def keypoints(value: Keypoints, size: tuple[int, int]) -> Batch:
    points = _accurate(_batched(value.data, 3))
    unit = (points + 0.5) / _side(size, points)
    return Batch(
        points=_rows(unit, torch.ones(unit.shape[:2], dtype=torch.bool, device=unit.device))
    )


def keypoints_back(changed: Rows, like: Keypoints, size: tuple[int, int]) -> Keypoints:
    points, _ = _padded(changed)
    points = (points * _side(size, points) - 0.5).to(like.data.dtype)
    out = like.clone()
    same = points.numel() == like.data.numel()
    out._data = points.reshape(like.data.shape) if same else points
    return out


def remaining(value: Boxes | Keypoints, size: tuple[int, int] | None) -> Tensor | None:
    """Which rows are left: valid, and not beyond the frame. None if points lack a frame."""
    if isinstance(value, Keypoints):
        return None if size is None else inside(value, size)
    if size is None:
        return value._valid
    low, high = value.data.amin(dim=-2), value.data.amax(dim=-2)
    return value._valid & ((high > -1) & (low < _side(size, low))).all(dim=-1)


def inside(value: Keypoints, size: tuple[int, int]) -> Tensor:
    """Which points lie within the frame."""
    points = value.data
    return ((points >= -0.5) & (points <= _side(size, points) - 0.5)).all(dim=-1)


def own_sources(rows: torch.Size, device: torch.device) -> Tensor:
    """(B, N, 2) or (N, 2): every row is its own source."""
    batched = rows if len(rows) == 2 else (1, *rows)
    return torch.ones(batched, device=device).nonzero().view(*rows, 2)


def _accurate(data: Tensor) -> Tensor:
    """Half precision cannot tell the pixels of a large image apart once they are fractions."""
    return data if data.dtype == torch.float64 else data.float()


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
