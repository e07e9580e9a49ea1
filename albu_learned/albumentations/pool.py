"""Motions that are made once and drawn again and again.

To integrate the flow of one small picture takes longer than to resample it. Here so many plans are
drawn once, the same ones in every process, and what they do to a lattice is kept: a host draws
numbers of rows. Rows are made in blocks when they are first asked for, so that nothing stalls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.albumentations.record import to_record
from albu_learned.batch import Batch
from albu_learned.kinds import Field, Warp
from albu_learned.method import Plan

__all__ = ["Pool"]

_SEED = 0
_BLOCK = 16
# The size of picture, in pixels, for which lattices are made: at the default strength 33 nodes
# along each side, 9 MB for 1024 motions, and as much for their inverses where there are boxes or
# points. At 640 px 99 of 100 pixels are then within 0.25 px of the exact motion, and all within
# 0.75; on other pictures the error is in proportion to the size.
_SIZE = 320


class Pool:
    """So many motions of a warp for each of its classes, or for all of them.

    Args:
        method: a warp that needs no more than labels.
        count: how many.
    """

    def __init__(self, method: Warp, count: int) -> None:
        self.method = method
        self.count = count
        self._plans: dict[int, Plan] = {}
        self._records: dict[tuple[int, int], dict[str, Any]] = {}
        self._lattices: dict[tuple[int, bool], dict[int, Tensor | None]] = {}

    @torch.no_grad()
    def plan(self, row: int, label: int) -> Plan:
        """The plan of one row, for an image of that class."""
        if label not in self._plans:
            noise = self.method.draw(self.count, torch.Generator().manual_seed(_SEED))
            labels = torch.full((self.count,), label)
            self._plans[label] = self.method.plan(Batch(labels=labels), noise)
        return {name: value[row : row + 1] for name, value in self._plans[label].items()}

    def record(self, row: int, label: int) -> dict[str, Any]:
        """The plan of one row, as a host keeps it."""
        if (row, label) not in self._records:
            self._records[row, label] = to_record(self.plan(row, label))
        return self._records[row, label]

    def field(self, row: int, label: int) -> Field:
        """The motion of one row."""
        return _PooledField(self, row, label)

    def lattice(self, row: int, label: int, back: bool) -> Tensor | None:
        """(1, rows, columns, 2): its lattice, or that of its inverse, if it has one."""
        made = self._lattices.setdefault((label, back), {})
        number, place = divmod(row, _BLOCK)
        if number not in made:
            made[number] = self._block(number, label, back)
        block = made[number]
        return None if block is None else block[place : place + 1]

    @torch.no_grad()
    def _block(self, number: int, label: int, back: bool) -> Tensor | None:
        self.plan(0, label)
        rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
        field = self.method.field({name: value[rows] for name, value in self._plans[label].items()})
        return (field.lattice_back if back else field.lattice)((_SIZE, _SIZE))

    def __getstate__(self) -> dict[str, Any]:
        """Without what it has made: another process makes that again."""
        return {**vars(self), "_plans": {}, "_records": {}, "_lattices": {}}


class _PooledField(Field):
    """A motion whose lattices are at hand. Points in the frame are interpolated in that of the
    inverse; others, and those of fields that have no lattice, go the exact way."""

    def __init__(self, pool: Pool, row: int, label: int) -> None:
        self.pool, self.row, self.label = pool, row, label

    def __len__(self) -> int:
        return 1

    def lattice(self, size: Any) -> Tensor | None:
        return self.pool.lattice(self.row, self.label, back=False)

    def lattice_back(self, size: Any) -> Tensor | None:
        return self.pool.lattice(self.row, self.label, back=True)

    def points(self, points: Tensor) -> Tensor:
        """Interpolated in the inverse, then corrected by what the picture shows at that place, so
        that points stay with the picture. They are so few that what counts is how many steps there
        are; small ones take numpy less than torch, where x and y are apart."""
        back, forth = self.lattice_back(None), self.lattice(None)
        given = points.mT[:, :, None].numpy()
        places = 2 * given - 1  # from -1 to 1, as torch counts them
        if back is None or forth is None or not np.abs(places).max() <= 1:
            return self._exact().points(points)
        back, forth = back.permute(0, 3, 1, 2), forth.permute(0, 3, 1, 2)
        moved = _interpolated(back, places)
        there = 2 * moved - 1
        again = _interpolated(back, places + 2 * (given - _interpolated(forth, there)))
        inside = np.abs(there).max(axis=1, keepdims=True) <= 1
        return torch.from_numpy(np.where(inside, again, moved))[:, :, 0].mT

    def points_back(self, points: Tensor) -> Tensor:
        return self._exact().points_back(points)

    def _exact(self) -> Field:
        return self.pool.method.field(self.pool.plan(self.row, self.label))


def _interpolated(planes: Tensor, places: np.ndarray) -> np.ndarray:
    """(1, 2, 1, N): what a lattice (1, 2, rows, columns) from border to border says at places."""
    grid = torch.from_numpy(places).permute(0, 2, 3, 1)
    return F.grid_sample(planes, grid, padding_mode="border", align_corners=True).numpy()
