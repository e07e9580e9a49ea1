"""Boxes around masks, which are tighter after a motion than those around moved boxes.

A mask that did not fill its box before, as that of an object which another one hides, says less
than the box does; so the box stays in force there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from ultralytics.utils.ops import xywh2xyxy, xyxy2xywh

from albu_learned.batch import Batch
from albu_learned.rows import rank_in_group

__all__ = ["agree", "around", "tighten"]

# In pixels of the masks, which the host draws small and rounds.
SLACK = 2.0  # between a box and its mask, where they are of the same thing
ROUNDING = 1.0  # a side that is cut by no more stays where it is, exactly


def around(batch: Batch, image: Tensor) -> Tensor:
    """(M, 4): x1, y1, x2, y2, normalised, around the mask of each object; x1 > x2 where it is
    empty.

    Args:
        batch: with masks, as maps or one for each object.
        image: (M,), the row of the batch that each object lies on.
    """
    if batch.masks is not None:
        columns, rows = (_occupied(batch.masks, image, axis) for axis in (2, 1))
    else:
        assert batch.instances is not None
        inside = batch.instances.values > 0
        columns, rows = inside.any(dim=1), inside.any(dim=2)
    (x1, x2), (y1, y2) = _ends(columns), _ends(rows)
    return torch.stack([x1, y1, x2, y2], dim=1)


def agree(boxes: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """(M,): which boxes, x, y, w, h, are those around their masks of this height and width."""
    return (_apart(xywh2xyxy(boxes.float()), masks, size) <= SLACK).all(dim=1)


def tighten(boxes: Tensor, masks: Tensor, which: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes, x, y, w, h, of which some are cut to those around their masks, if there is a mask."""
    corners = xywh2xyxy(boxes)
    low = torch.maximum(corners[:, :2], masks[:, :2])
    high = torch.minimum(corners[:, 2:], masks[:, 2:])
    cut = torch.cat([low, high], dim=1)
    sides = _apart(corners, cut, size) > ROUNDING
    which = which & (high > low).all(dim=1) & sides.any(dim=1)
    cut = xyxy2xywh(torch.where(sides, cut, corners))
    return torch.where(which[:, None], cut, boxes)


def _apart(corners: Tensor, others: Tensor, size: tuple[int, int]) -> Tensor:
    """(M, 4): how far the sides of boxes lie apart, in pixels of masks of this height and width."""
    height, width = size
    return (corners - others).abs() * torch.tensor([width, height] * 2, device=corners.device)


def _occupied(maps: Tensor, image: Tensor, axis: int) -> Tensor:
    """(M, L): in which columns (axis 2) or rows (axis 1) of its map an object has a pixel."""
    number = rank_in_group(image) + 1
    count = 1 + max(int(maps.max()), int(number.max()) if len(number) else 0)
    length = maps.shape[axis]
    place = torch.arange(length, device=maps.device)
    place = place if axis == 2 else place[:, None]
    first = count * torch.arange(len(maps), device=maps.device)[:, None, None]
    # Counted, not scattered, which is not deterministic on CUDA.
    counts = (
        ((maps + first) * length + place).flatten().bincount(minlength=len(maps) * count * length)
    )
    return counts.view(len(maps), count, length)[image, number] > 0


def _ends(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """(M,) and (M,): where what is occupied begins and ends, as fractions."""
    length = occupied.shape[1]
    place = torch.arange(length, device=occupied.device)
    first = torch.where(occupied, place, length).amin(dim=1)
    last = torch.where(occupied, place + 1, 0).amax(dim=1)
    return first / length, last / length
