"""Images larger than a network knows, and smaller ones.

A network was trained at one size, in pixels as in its things. So a large image is not made smaller:
the network looks at overlapping tiles of its own size, and where these overlap what it says is
averaged, at every step (Bar-Tal et al., MultiDiffusion, 2023). The image has one set of latents, so
that it is one image and has no seams. A small image is mirrored at its right and lower edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from albu_learned.methods.psld.problem import Draw, Model

__all__ = ["Tiled", "padded"]

_AT_ONCE = 2**18  # pixels of small tiles that the model is shown together, as many as 512 x 512 has


class Tiled:
    """A model of large images, made of one of small ones.

    Args:
        model: of small images.
        cell: pixels of a side of a latent cell.
        tile: side of a tile in latent cells.
        overlap: of neighbouring tiles, in cells, at least.
    """

    def __init__(self, model: Model, cell: int, tile: int, overlap: int) -> None:
        self.model, self.cell, self.tile, self.overlap = model, cell, tile, overlap
        self.alphas = model.alphas

    def encode(self, images: Tensor, draw: Draw | None = None) -> Tensor:
        # Noise is drawn for the rows of images, so one tile of each at a time.
        most = 1 if draw is not None else None
        return self._joined(images, lambda part: self.model.encode(part, draw), self.cell, 1, most)

    def decode(self, latents: Tensor) -> Tensor:
        return self._joined(latents, self.model.decode, 1, self.cell)

    def noise(self, latents: Tensor, time: int) -> Tensor:
        return self._joined(latents, lambda part: self.model.noise(part, time), 1, 1)

    def _joined(
        self,
        whole: Tensor,
        make: Callable[[Tensor], Tensor],
        per_cell: int,
        made_per_cell: int,
        most: int | None = None,
    ) -> Tensor:
        """What is made of each tile, averaged; the sides of a cell before and after are given, and
        how many tiles of each image may be shown together."""
        cells = [side // per_cell for side in whole.shape[2:]]
        if max(cells) <= self.tile:
            return make(whole)
        tiles = [*self._tiles(cells)]
        pixels = len(whole) * math.prod(last - first for first, last in tiles[0]) * self.cell**2
        together = most or max(1, _AT_ONCE // pixels)
        parts: list[Tensor] = []
        for start in range(0, len(tiles), together):
            shown = [whole[_cut(spans, per_cell)] for spans in tiles[start : start + together]]
            parts += make(torch.cat(shown)).chunk(len(shown))
        sides = [side * made_per_cell for side in cells]
        like = parts[0]
        total, weights = like.new_zeros(*like.shape[:2], *sides), like.new_zeros(sides)
        for spans, part in zip(tiles, parts, strict=True):
            weight = _window(spans, self.overlap, made_per_cell, part)
            place = _cut(spans, made_per_cell)
            total[place] = total[place] + weight * part
            weights[place[2:]] += weight
        return total / weights

    def _tiles(self, cells: list[int]) -> Iterator[list[tuple[int, int]]]:
        """First and last cell of each tile, downwards and across."""
        down, across = (_spans(side, self.tile, self.overlap) for side in cells)
        for one in down:
            for other in across:
                yield [one, other]


def padded(images: Tensor, multiple: int, least: int) -> Tensor:
    """(B, C, H', W'), mirrored to the right and downwards up to multiples, and no fewer than so
    many pixels.

    Example:
        >>> import torch
        >>> padded(torch.arange(3.0).view(1, 1, 1, 3), multiple=2, least=1)
        tensor([[[[0., 1., 2., 2.],
                  [0., 1., 2., 2.]]]])
    """
    for axis in (2, 3):
        side = images.shape[axis]
        wanted = -(-max(side, least) // multiple) * multiple
        places = torch.arange(wanted, device=images.device) % (2 * side)
        images = images.index_select(axis, torch.minimum(places, 2 * side - 1 - places))
    return images


def _spans(side: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Tiles along a side, evenly spread."""
    if side <= tile:
        return [(0, side)]
    count = -(-(side - overlap) // (tile - overlap))
    starts = [round(i * (side - tile) / (count - 1)) for i in range(count)]
    return [(start, start + tile) for start in starts]


def _cut(spans: list[tuple[int, int]], scale: int) -> tuple[slice, ...]:
    return (slice(None), slice(None), *(slice(a * scale, b * scale) for a, b in spans))


def _window(spans: list[tuple[int, int]], overlap: int, scale: int, like: Tensor) -> Tensor:
    """(h, w) weights of a tile, that fall towards its edges."""
    ramps = []
    for first, last in spans:
        place = torch.arange((last - first) * scale, device=like.device, dtype=like.dtype) + 0.5
        edge = torch.minimum(place, place.flip(0))
        ramps.append((edge / max(overlap * scale, 1)).clamp(max=1))
    return ramps[0][:, None] * ramps[1]
