"""Which images are aligned with which: pairs within a class.

Neighbours differ little, so that what carries one onto the other can be found; any two of a class
may differ by more than a motion. Images of one group (the same patient or scene) differ by less
than the class does: partners come from other groups wherever there are any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["HOW", "Pairs", "choose"]

HOW = ("neighbours", "random", "all")
_SMALL = {2: 14, 1: 64}  # pixels along a side, or steps, in which images are compared
_FLAT = 1e-3  # of the range of all images: one with less shows nothing that could be aligned
_BLOCK = 512  # rows whose distances are in memory at a time


@dataclass(frozen=True, eq=False)
class Pairs:
    """Ordered pairs.

    Args:
        rows: (P, 2) int64, source and target, in a random order: so that every part of them
            speaks for all classes.
        flat: how many images show nothing.
        alone: the classes that have images but no pair.
    """

    rows: Tensor
    flat: int
    alone: list[int]


def choose(
    images: Tensor, labels: Tensor, groups: Tensor | None, how: str, partners: int, seed: int
) -> Pairs:
    """The pairs.

    Args:
        images: (N, C, H, W) or (N, C, T), floats.
        labels: (N,) int64.
        groups: (N,) int64, or None.
        how: one of `HOW`.
        partners: of every image, or as many as there are; "all" takes them all.
        seed: of the random choice and of the order.
    """
    generator = torch.Generator().manual_seed(seed)
    flat = _flat(images)
    small = _features(images) if how == "neighbours" else images.new_zeros(len(images), 1)
    same = _numbered(images)
    found, alone = [], []
    for label in sorted(set(labels.tolist())):
        rows = ((labels == label) & ~flat).nonzero()[:, 0]
        own = _of_class(rows, small, same, groups, how, partners, generator)
        found.append(own)
        if not len(own):
            alone.append(label)
    every = torch.cat(found)
    order = torch.randperm(len(every), generator=generator)
    return Pairs(every[order], int(flat.sum()), alone)


def _of_class(
    rows: Tensor,
    small: Tensor,
    same: Tensor,
    groups: Tensor | None,
    how: str,
    partners: int,
    generator: torch.Generator,
) -> Tensor:
    count = len(rows) if how == "all" else min(partners, len(rows))
    found = [torch.zeros(0, 2, dtype=torch.int64)]
    for block in _blocks(rows):
        allowed = same[block][:, None] != same[rows]
        if groups is not None:
            other = allowed & (groups[block][:, None] != groups[rows])
            allowed = torch.where(other.any(dim=1, keepdim=True), other, allowed)
        if how == "neighbours":
            far = torch.cdist(small[block], small[rows])
        else:
            far = torch.rand(len(block), len(rows), generator=generator)
        far = far.masked_fill(~allowed, torch.inf)
        nearest, place = far.topk(count, dim=1, largest=False)
        good = nearest.isfinite()
        sources = block[:, None].expand(-1, count)
        found.append(torch.stack([sources[good], rows[place][good]], dim=1))
    return torch.cat(found)


def _flat(images: Tensor) -> Tensor:
    every = images.flatten(1)
    spread = every.amax(dim=1) - every.amin(dim=1)
    return spread <= _FLAT * (every.max() - every.min())


def _features(images: Tensor) -> Tensor:
    """(N, D): small, with mean 0 and length 1. To make them small is to blur them."""
    size = [min(_SMALL[images.ndim - 2], n) for n in images.shape[2:]]
    parts = [F.interpolate(part, size, mode="area").flatten(1) for part in _blocks(images)]
    small = torch.cat(parts)
    return F.normalize(small - small.mean(dim=1, keepdim=True), dim=1)


def _numbered(images: Tensor) -> Tensor:
    """(N,): the same number for images that are the same to the last bit: a copy is no partner."""
    known: dict[bytes, int] = {}
    numbers = [
        known.setdefault(hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest(), i)
        for i, row in enumerate(images)
    ]
    return torch.tensor(numbers)


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
