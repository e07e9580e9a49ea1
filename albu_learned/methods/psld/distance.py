"""How far pixels are from objects: from boxes in closed form, from masks by an exact transform."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["from_boxes", "from_mask"]


def from_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W), the distance in pixels of each pixel's centre from the nearest box; 0 inside,
    infinite where there is no box.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        size: (H, W).

    Example:
        >>> import torch
        >>> from_boxes(torch.tensor([[1.0, 0.0, 2.0, 1.0]]), (1, 5))
        tensor([[0.5000, 0.0000, 0.5000, 1.5000, 2.5000]])
    """
    y, x = (torch.arange(side, device=boxes.device) + 0.5 for side in size)
    x1, y1, x2, y2 = boxes.float().T[..., None]
    across = torch.maximum(x1 - x, x - x2).clamp(min=0)
    along = torch.maximum(y1 - y, y - y2).clamp(min=0)
    nearest = torch.full(size, torch.inf, device=boxes.device)
    for one_x, one_y in zip(across, along, strict=True):
        nearest = torch.minimum(nearest, torch.hypot(one_y[:, None], one_x))
    return nearest


def from_mask(mask: Tensor, reach: int | None = None) -> Tensor:
    """(..., H, W), the distance in pixels of each pixel's centre from that of the nearest true
    pixel; infinite where there is none.

    Args:
        mask: (..., H, W), truth values.
        reach: distances above this need not be exact, which is faster; they are above it still.
    """
    width = mask.shape[-1]
    column = _along_columns(mask).square()
    nearest = column.clone()
    for shift in range(1, width if reach is None else min(width, reach + 1)):
        left, right = slice(None, -shift), slice(shift, None)
        for here, there in ((left, right), (right, left)):
            other = column[..., there] + shift**2
            nearest[..., here] = torch.minimum(nearest[..., here], other)
    return nearest.sqrt()


def _along_columns(mask: Tensor) -> Tensor:
    """The distance from the nearest true pixel of the same column."""
    height = mask.shape[-2]
    row = torch.arange(height, device=mask.device, dtype=torch.float32)[:, None]
    above = torch.where(mask, row, -torch.inf).cummax(dim=-2).values
    below = torch.where(mask, row, torch.inf).flip(-2).cummin(dim=-2).values.flip(-2)
    return torch.minimum(row - above, below - row)
