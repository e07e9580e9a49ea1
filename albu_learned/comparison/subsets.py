"""What the arms of one seed share: the training images, which of them validate, the batches.

All of it follows from the seed alone, never from the arm, so that differences between arms are
paired; and the images of a size never from the other sizes, so that sizes can be added later.
"""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned.comparison.result import ALL
from albu_learned.data import hold_out
from albu_learned.fitting import seed_for

__all__ = ["VALIDATION", "batches", "derived", "generator", "subset", "validations"]

VALIDATION = 1 / 3  # of the subset, to choose a strength


def derived(*parts: object) -> int:
    """A seed for a purpose."""
    return seed_for("/".join(map(str, parts)), bits=56)


def generator(*parts: object) -> torch.Generator:
    return torch.Generator().manual_seed(derived(*parts))


def subset(labels: Tensor, size: int, seed: int) -> Tensor:
    """The numbers of so many images a class, those of smaller sizes among them."""
    chosen = []
    for c in sorted(set(labels.tolist())):
        rows = (labels == c).nonzero()[:, 0]
        order = torch.randperm(len(rows), generator=generator("subset", seed, c))
        chosen.append(rows[order if size == ALL else order[:size]])
    return torch.cat(chosen)


def validations(
    labels: Tensor, groups: Tensor | None, size: int, seed: int, holdouts: int
) -> list[Tensor]:
    """For each hold-out, which rows of the subset validate. There is none where classes have one
    row alone, or groups that cannot be parted: then all of them train."""
    masks = []
    for number in range(holdouts):
        try:
            drawn = generator("validation", seed, size, number)
            masks.append(hold_out(labels, groups, VALIDATION, drawn))
        except ValueError:
            continue
    return [mask for mask in masks if mask.any()]


def batches(count: int, batch: int, steps: int, *seed: object) -> Tensor:
    """(steps, batch) row numbers: epoch after epoch in random order, every row as often as any."""
    size = min(batch, count)
    epochs = -(-steps * size // count)
    drawn = generator("batches", *seed)
    rows = torch.cat([torch.randperm(count, generator=drawn) for _ in range(epochs)])
    return rows[: steps * size].view(steps, size)
