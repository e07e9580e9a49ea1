"""Rows set aside: some of every class, and no group on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.data.files import listed

__all__ = ["hold_out", "test_part"]

TRIES = 30  # orders of the groups that are tried before giving up


def hold_out(
    labels: Tensor, groups: Tensor | None, share: float, generator: torch.Generator
) -> Tensor:
    """A mask of rows to set aside: about `share` of every class, and whole groups only.

    At least one row of every class that has two rows (two groups, where there are groups) is set
    aside, and never all of a class. Where groups hold several classes each, this can be impossible.

    Args:
        labels: (N,) int64.
        groups: (N,) int64, rows that must stay together, or None.
        share: in (0, 1).
        generator: makes the choice; the same state makes the same choice.

    Returns:
        (N,) bool.

    Raises:
        ValueError: no such choice of whole groups was found.
    """
    share = checks.between("share", share, "(0, 1)")
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise ValueError(
            f"`labels` must be (N,) int64, got {tuple(labels.shape)} {labels.dtype}. "
            "Give class numbers."
        )
    if groups is None:
        return _rows(labels, share, generator)
    if groups.shape != labels.shape:
        raise ValueError(
            f"`groups` must be {tuple(labels.shape)}, as `labels`, got {tuple(groups.shape)}."
        )
    return _groups(labels, groups, share, generator)


def test_part(
    labels: Tensor, groups: Tensor | None, share: float, classes: Sequence[str], where: str
) -> Tensor:
    """The rows of a data set without parts of its own that are for testing, always the same; none
    for a share of 0.

    Raises:
        ValueError: a class is of one group alone, so that none of it could be for testing.
    """
    if share == 0:
        return torch.zeros(len(labels), dtype=torch.bool)
    if groups is not None:
        pairs = np.unique(torch.stack([labels, groups], dim=1).numpy(), axis=0)
        counts = np.bincount(pairs[:, 0], minlength=len(classes))
        alone = [repr(name) for name, n in zip(classes, counts, strict=True) if n == 1]
        if alone:
            raise ValueError(
                f"`groups` of {where} must be two or more of every class, one to train and one to "
                f"test on, but all rows are of one group in {listed(alone)}. Give smaller groups, "
                "or data with a train and a test part of their own."
            )
    return hold_out(labels, groups, share, torch.Generator().manual_seed(0))


test_part.__test__ = False  # type: ignore[attr-defined]  # its name is no test's


def _rows(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in np.unique(labels.numpy()):
        rows = (labels == int(label)).nonzero()[:, 0]
        if len(rows) > 1:
            count = min(max(round(share * len(rows)), 1), len(rows) - 1)
            held[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    return held


def _groups(labels: Tensor, groups: Tensor, share: float, generator: torch.Generator) -> Tensor:
    classes, label = np.unique(labels.numpy(), return_inverse=True)
    names, group = np.unique(groups.numpy(), return_inverse=True)
    counts = np.zeros((len(names), len(classes)))  # rows of each group that show each class
    np.add.at(counts, (group, label), 1)
    choice = _Choice(counts, share)
    for _ in range(TRIES):
        held = choice.made(torch.randperm(len(names), generator=generator).tolist())
        missed = choice.missed(held)
        if not missed:
            return torch.from_numpy(held[group])
    numbers = ", ".join(str(classes[k]) for k in missed)
    raise ValueError(
        f"`groups` must let some rows of every class be set aside and some be kept, but no such "
        f"choice of whole groups was found (classes {numbers}). Split large groups, or give more."
    )


class _Choice:
    """Takes groups one by one, where that brings the classes nearer to their share."""

    def __init__(self, counts: npt.NDArray[np.float64], share: float) -> None:
        self.parts = counts / np.maximum(counts.sum(axis=0), 1)
        self.share = share
        self.can = (counts > 0).sum(axis=0) > 1

    def made(self, order: list[int]) -> npt.NDArray[np.bool_]:
        """The groups to hold, if they are asked in this order."""
        held = np.zeros(len(self.parts), dtype=bool)
        now = np.zeros(self.parts.shape[1])
        loss = self._loss(now)
        for i in order:
            after = now + self.parts[i]
            if (then := self._loss(after)) < loss:
                held[i], now, loss = True, after, then
        return held

    def missed(self, held: npt.NDArray[np.bool_]) -> list[int]:
        """The classes of which nothing is held though it could be, or everything."""
        now = self.parts[held].sum(axis=0)
        return [int(k) for k in self._wrong(now).nonzero()[0]]

    def _loss(self, now: npt.NDArray[np.float64]) -> float:
        # A class that is missed weighs more than all the others' distance to their share.
        return float(((now - self.share) ** 2).sum() + len(now) * self._wrong(now).sum())

    def _wrong(self, now: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        wrong: npt.NDArray[np.bool_] = (now > 1 - 1e-9) | ((now < 1e-9) & self.can)
        return wrong
