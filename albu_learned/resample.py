"""How pixels, boxes and points change: the arithmetic behind the kinds of `method`.

A method says which weights or which field; this module applies them to one target at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.batch import Rows

# Points on each side of a box whose enclosure becomes the new box: at 33 the error of a smooth warp
# at 640 px is 0.05 px.
SIDE = 33


class Motion(Protocol):
    """The part of `kinds.Field` that is needed here."""

    def points(self, points: Tensor) -> Tensor: ...
    def grid(self, size: Sequence[int], like: Tensor) -> Tensor: ...
    def lattice(self, size: Sequence[int]) -> Tensor | None: ...


def to_dtype(values: Tensor, dtype: torch.dtype, scaled: bool = True) -> Tensor:
    """Float values as another dtype; to uint8 by rounding, from [0, 1] where `scaled`."""
    if dtype == torch.uint8:
        values = values * 255 if scaled else values
        return values.round().clamp(0, 255).to(dtype)
    return values.to(dtype)


def pixel_centres(size: Sequence[int], like: Tensor) -> Tensor:
    """(*size, D): the centre of every pixel as fractions of the image, x before y."""
    kind = torch.float64 if like.dtype == torch.float64 else torch.float32
    axes = [(torch.arange(n, device=like.device, dtype=kind) + 0.5) / n for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)


def between(lattice: Tensor, size: Sequence[int]) -> Tensor:
    """(B, *size, D): the values at the centres of pixels of a lattice from border to border. Not as
    products with matrices, which GPUs and some CPUs may be told to round to three digits."""
    planes = lattice.movedim(-1, 1).contiguous()
    for axis in reversed(range(len(size))):
        planes = _fill(planes, 2 + axis, size[axis])
    return planes.movedim(1, -1)


def _fill(nodes: Tensor, axis: int, pixels: int) -> Tensor:
    """Interpolates along an axis."""
    count = nodes.shape[axis] - 1
    place = (torch.arange(pixels, dtype=nodes.dtype, device=nodes.device) + 0.5) * (count / pixels)
    after = [1] * (nodes.ndim - 1 - axis)
    if pixels % count == 0:  # the same between all nodes: then nothing needs to be copied
        first, second = (nodes.narrow(axis, i, count).unsqueeze(axis + 1) for i in (0, 1))
        weight = place[: pixels // count].view(-1, *after)
        return torch.lerp(first, second, weight).flatten(axis, axis + 1)
    left = place.floor().clamp(max=count - 1)
    first, second = (nodes.index_select(axis, left.long() + i) for i in (0, 1))
    return torch.lerp(first, second, (place - left).view(-1, *after))


def reading(field: Motion, size: Sequence[int], like: Tensor) -> Tensor:
    """The field's grid as `grid_sample` counts, from -1 to 1. A lattice is rescaled before it is
    filled in: that spares a pass over every pixel."""
    lattice = field.lattice(size)
    return 2 * field.grid(size, like) - 1 if lattice is None else between(2 * lattice - 1, size)


def images(given: Tensor | None, field: Motion, padding: str) -> Tensor | None:
    """Images (B, C, H, W) or series (B, C, T), resampled bilinearly."""
    if given is None:
        return None
    moved = _bilinear(given, reading(field, given.shape[2:], given), padding)
    return to_dtype(moved, given.dtype, scaled=False)


def masks(given: Tensor | None, field: Motion, padding: str) -> Tensor | None:
    """Masks (B, H, W) or (B, M, H, W): integers to the nearest pixel, floats bilinearly."""
    if given is None:
        return None
    channels = given if given.ndim == 4 else given[:, None]
    grid = field.grid(given.shape[-2:], given)
    return _resample_mask(channels, grid, padding).view(given.shape)


def instances(given: Rows | None, field: Motion, padding: str) -> Rows | None:
    """One mask a row, each moved with its image; a row is valid while something is left of it."""
    if given is None:
        return None
    size = given.values.shape[-2:]
    grid = field.grid(size, given.values)[given.image]
    moved = _resample_mask(given.values[:, None], grid, padding)[:, 0]
    return replace(given, values=moved, valid=given.valid & (moved != 0).flatten(1).any(dim=1))


def points(given: Rows | None, field: Motion) -> Rows | None:
    """Points, moved exactly; a point is valid while it is inside the frame."""
    if given is None:
        return None
    padded, place = given.pad()
    moved = field.points(padded).reshape(-1, given.values.shape[-1])[place]
    inside = ((moved >= 0) & (moved <= 1)).all(dim=1)
    return replace(given, values=moved.to(given.values.dtype), valid=given.valid & inside)


def boxes(
    given: Rows | None, field: Motion, how: str = "outline", min_visible: float = 0.0
) -> Rows | None:
    """Boxes around their moved outlines, or ellipses, clipped; valid while some of them is inside
    the frame, and of their area not less than `min_visible`."""
    if given is None:
        return None
    padded, place = replace(given, values=outline(given.values, how)).pad()
    moved = field.points(padded.flatten(1, 2)).view(padded.shape).flatten(0, 1)[place]
    values, visible = enclosure(moved, min_visible)
    return replace(given, values=values.to(given.values.dtype), valid=given.valid & visible)


def enclosure(outlines: Tensor, min_visible: float) -> tuple[Tensor, Tensor]:
    """(N, 2 D), the boxes around moved outlines (N, P, D), clipped; and which are visible."""
    low, high = outlines.amin(dim=1), outlines.amax(dim=1)
    inner, outer = low.clamp(0, 1), high.clamp(0, 1)
    extent = outer - inner
    visible = (extent > 0).all(dim=1)
    visible = visible & (extent.prod(dim=1) >= min_visible * (high - low).prod(dim=1))
    return torch.cat([inner, outer], dim=1), visible


def boxes_around(given: Rows, moved: Rows | None) -> Rows:
    """Boxes around the moved masks of the instances in the same rows."""
    if not len(given):
        return given
    if moved is None or len(moved) != len(given) or not torch.equal(moved.image, given.image):
        raise ValueError(
            '`instances` must hold one mask for each box, in the same order, with box="mask"; got '
            f"{'none' if moved is None else len(moved)} for {len(given)} boxes. Give them, or "
            'choose box="outline".'
        )
    shown = moved.values != 0
    size = shown.shape[-2:]
    edges = []
    for dim, pixels in ((1, size[1]), (2, size[0])):  # x from the columns that show it, y from rows
        line = shown.any(dim=dim).to(given.values.dtype)
        edges.append((line.argmax(dim=1) / pixels, 1 - line.flip(1).argmax(dim=1) / pixels))
    (x1, x2), (y1, y2) = edges
    found = torch.stack([x1, y1, x2, y2], dim=1).to(given.values.dtype)
    values = torch.where(moved.valid[:, None], found, torch.zeros_like(found))
    return replace(given, values=values, valid=given.valid & moved.valid)


def outline(boxes: Tensor, how: str = "outline") -> Tensor:
    """(N, P, D): points along the border of each box, or of the ellipse that touches its sides; for
    series its two ends."""
    low, high = boxes.chunk(2, dim=1)
    if low.shape[1] == 1:
        return torch.stack([low, high], dim=1)
    unit = (_ellipse if how == "ellipse" else _square)(boxes)
    return low[:, None] + unit * (high - low)[:, None]


def _square(like: Tensor) -> Tensor:
    t = torch.linspace(0, 1, SIDE, dtype=like.dtype, device=like.device)
    zero, one = torch.zeros_like(t), torch.ones_like(t)
    sides = [(t, zero), (t, one), (zero, t), (one, t)]
    return torch.cat([torch.stack(side, dim=1) for side in sides])


def _ellipse(like: Tensor) -> Tensor:
    turn = torch.arange(2 * SIDE, dtype=like.dtype, device=like.device) * (torch.pi / SIDE)
    return 0.5 + 0.5 * torch.stack([turn.cos(), turn.sin()], dim=1)


def _resample_mask(given: Tensor, grid: Tensor, padding: str) -> Tensor:
    if given.is_floating_point():
        return _bilinear(given, 2 * grid - 1, padding).to(given.dtype)
    return _nearest(given, grid, padding)


def _bilinear(given: Tensor, reading: Tensor, padding: str) -> Tensor:
    with torch.autocast(given.device.type, enabled=False):
        accurate = given if given.dtype in (torch.float32, torch.float64) else given.float()
        series = accurate.ndim == 3
        if series:  # as images of one line
            accurate = accurate[:, :, None]
            reading = torch.cat([reading, torch.zeros_like(reading)], dim=-1)[:, None]
        moved = F.grid_sample(
            accurate,
            reading.to(accurate.dtype),
            mode="bilinear",
            padding_mode=padding,
            align_corners=False,
        )
    return moved[:, :, 0] if series else moved


def _nearest(given: Tensor, grid: Tensor, padding: str) -> Tensor:
    """Exact for every integer, where float arithmetic would round large class numbers."""
    height, width = given.shape[-2:]
    x, y = (grid[..., 0] * width).floor().long(), (grid[..., 1] * height).floor().long()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if padding == "reflection":
        x, y = _reflect(x, width), _reflect(y, height)
    flat = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).flatten(1)
    picked = given.flatten(2).gather(2, flat[:, None].expand(-1, given.shape[1], -1))
    picked = picked.view(*given.shape[:2], *grid.shape[1:3])
    if padding == "zeros":
        picked = torch.where(inside[:, None], picked, picked.new_zeros(()))
    return picked


def _reflect(place: Tensor, size: int) -> Tensor:
    place = place.remainder(2 * size)
    return torch.where(place < size, place, 2 * size - 1 - place)
