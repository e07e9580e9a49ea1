"""Which pixels of an image are kept; all others are made anew.

What each kind does to labels:

    gaussian-blobs    objects are kept whole: labels stay true. Background is kept near them, less
                      and less with the distance. The default.
    gaussian-outside  the same, pixel by pixel, as the paper's code does it.
    outside           objects are kept whole, nothing else but decoys: labels stay true.
    inside-random     everything is kept but a part of each object, which is made anew: its label
                      stays, though nothing says that what is made belongs to the class.
    random            half of the image is kept, wherever objects are: labels may be of objects that
                      are gone.

The paper and its code disagree: by the text, pixels near to a box are erased, and those inside; the
code keeps boxes, grown by 16 pixels of 384, and of the others those with d / d_max < n, where d is
the distance from the nearest box, d_max its maximum in the image and n ~ N(0, 0.32) of each pixel.
That is what we do too. But a network sees cells of 8 x 8 pixels, and of these six in seven had a
kept pixel, so that images hardly changed: `gaussian-blobs` draws one n for each cell, smoothed over
neighbours and scaled to the same deviation, and keeps or erases it whole. The chance that a pixel
is kept is the same.

Where an image has no object, everything is as far as can be: nearly all of it is made anew. Where
objects fill it, nothing is. A network may invent objects, which then have no label: one that was
fitted with `background=True` has not learned to.

Decoys are patches of background as large as objects that are kept as well. Without them a detector
can tell objects by their being real.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.methods.psld import distance

__all__ = ["KINDS", "Objects", "blobs", "kept", "objects_of", "shares"]

KINDS = ("gaussian-blobs", "gaussian-outside", "outside", "inside-random", "random")
_SMOOTH = 1.0  # deviation in cells of the weights by which blobs are smoothed
_TRIES = 20  # places that are tried for a decoy
_ERASED = (0.2, 0.8)  # sides of what is erased inside of a box, as shares of its sides


@dataclass(frozen=True, eq=False)
class Objects:
    """What shall stay in one image.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels, grown.
        away: (H, W), the distance of each pixel from them in pixels; infinite if there is none.
    """

    boxes: Tensor
    away: Tensor

    @property
    def inside(self) -> Tensor:
        """(H, W), the pixels that belong to objects."""
        return self.away <= 0


def objects_of(
    boxes: Tensor, size: tuple[int, int], grow: float, outlines: Tensor | None = None
) -> Objects:
    """The objects of one image, grown.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 as fractions of the image.
        size: (H, W).
        grow: by how much, as a fraction of the image's sides.
        outlines: (N, H, W) masks, where objects shall be kept by these instead.
    """
    height, width = size
    scale = torch.tensor([width, height, width, height], device=boxes.device)
    margin = torch.tensor([-grow, -grow, grow, grow], device=boxes.device)
    pixels = (boxes.float() + margin).clamp(0, 1) * scale
    if outlines is None:
        return Objects(pixels, distance.from_boxes(pixels, size))
    whole = (outlines != 0).any(dim=0) if len(outlines) else torch.zeros(size, dtype=torch.bool)
    away = distance.from_mask(whole) - grow * max(size)
    return Objects(pixels, away.clamp(min=0))


def kept(
    kind: str,
    objects: Objects,
    generator: torch.Generator,
    sigma: float = 0.32,
    decoys: float = 1.0,
    cell: int = 8,
) -> Tensor:
    """(H, W), true where a pixel is kept.

    Args:
        kind: one of `KINDS`.
        objects: what shall stay.
        generator: of the CPU.
        sigma: the deviation of n.
        decoys: how many there are for each object.
        cell: side of a latent cell in pixels.
    """
    size = (objects.away.shape[0], objects.away.shape[1])
    if kind == "inside-random":
        return ~_parts(objects.boxes, size, generator)
    cells = (-(-size[0] // cell), -(-size[1] // cell))
    if kind == "random":
        return _spread(torch.randn(cells, generator=generator) > 0, size, cell)
    keep = objects.inside | _decoys(objects, decoys, generator)
    if kind == "gaussian-outside":
        keep = keep | (shares(objects.away) < sigma * torch.randn(size, generator=generator))
    if kind == "gaussian-blobs":
        far = _at_centres(shares(objects.away), cell)
        chosen = (far < sigma * blobs(cells, generator)) | _touched(keep, cell)
        keep = _spread(chosen, size, cell)
    return keep


def shares(away: Tensor) -> Tensor:
    """d / d_max of (..., H, W): 1 everywhere if there is no object, 0 if there is nothing else."""
    furthest = away.amax(dim=(-2, -1), keepdim=True)
    far = torch.where(furthest > 0, away / furthest, torch.zeros_like(away))
    return torch.where(furthest.isinf(), torch.ones_like(away), far)


def blobs(cells: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(h, w) standard normal numbers, of which neighbours are alike."""
    reach = int(3 * _SMOOTH)
    place = torch.arange(-reach, reach + 1).float()
    weights = torch.exp(-0.5 * (place / _SMOOTH).square())
    weights = weights / weights.square().sum().sqrt()  # so that variances stay 1
    noise = torch.randn(1, 1, *(side + 2 * reach for side in cells), generator=generator)
    rows = F.conv2d(noise, weights.view(1, 1, 1, -1))
    return F.conv2d(rows, weights.view(1, 1, -1, 1))[0, 0]


def _at_centres(values: Tensor, cell: int) -> Tensor:
    """(h, w), the values of (H, W) pixels in the middle of each cell."""
    rows, columns = (
        (torch.arange(-(-side // cell)) * cell + cell // 2).clamp(max=side - 1)
        for side in values.shape
    )
    return values[rows[:, None], columns]


def _touched(pixels: Tensor, cell: int) -> Tensor:
    """(h, w), the cells that have a true pixel."""
    return F.max_pool2d(pixels[None].float(), cell, ceil_mode=True)[0] > 0


def _spread(cells: Tensor, size: tuple[int, int], cell: int) -> Tensor:
    """(H, W), the pixels of true cells."""
    pixels = cells.repeat_interleave(cell, dim=0).repeat_interleave(cell, dim=1)
    return pixels[: size[0], : size[1]]


def _parts(boxes: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(H, W), a random part of each box."""
    low, high = _ERASED
    chosen = torch.rand(len(boxes), 4, generator=generator)
    sides = (boxes[:, 2:] - boxes[:, :2]) * (low + (high - low) * chosen[:, :2])
    corner = boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2] - sides) * chosen[:, 2:]
    return distance.from_boxes(torch.cat([corner, corner + sides], dim=1), size) <= 0


def _decoys(objects: Objects, share: float, generator: torch.Generator) -> Tensor:
    """(H, W), patches of background, each as large as one of the objects."""
    found = torch.zeros_like(objects.inside)
    number = round(share * len(objects.boxes))
    if number == 0:
        return found
    height, width = objects.away.shape
    which = torch.randint(len(objects.boxes), (number,), generator=generator)
    places = torch.rand(number, _TRIES, 2, generator=generator)
    sides = (objects.boxes[which, 2:] - objects.boxes[which, :2]).round().clamp(min=1).long()
    for (across, along), tries in zip(sides.tolist(), places, strict=True):
        for left, top in (tries * torch.tensor([width - across + 1, height - along + 1])).long():
            here = (slice(top, top + along), slice(left, left + across))
            if not objects.inside[here].any():
                found[here] = True
                break
    return found
