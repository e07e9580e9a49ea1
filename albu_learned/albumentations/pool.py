"""Motions that are made once and drawn again and again.

To integrate the flow of one small picture takes longer than to resample it. Here so many plans are
drawn once, the same ones in every process, and what they do to a lattice is kept: a host draws
numbers of rows. Rows are made in blocks when they are first asked for, so that nothing stalls.
"""

from __future__ import annotations

from typing import Any

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

    @torch.no_grad()
    def lattice(self, row: int, label: int, back: bool) -> Tensor | None:
        """(1, rows, columns, 2): its lattice, or that of its inverse, if it has one."""
        made = self._lattices.setdefault((label, back), {})
        number, place = divmod(row, _BLOCK)
        if number not in made:
            self.plan(row, label)
            rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
            plan = {name: value[rows] for name, value in self._plans[label].items()}
            field = self.method.field(plan)
            made[number] = (field.lattice_back if back else field.lattice)((_SIZE, _SIZE))
        block = made[number]
        return None if block is None else block[place : place + 1]

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
        that points stay with the picture."""
        back, forth = self.lattice_back(None), self.lattice(None)
        places = 2 * points - 1  # from -1 to 1, as torch counts them
        if back is None or forth is None or not places.abs().amax() <= 1:
            return self._exact().points(points)
        back, forth = back.permute(0, 3, 1, 2), forth.permute(0, 3, 1, 2)
        moved = _interpolated(back, places)
        inside = (moved - 0.5).abs().amax(dim=2, keepdim=True) <= 0.5
        shown = _interpolated(forth, 2 * moved - 1)
        again = _interpolated(back, places + 2 * (points - shown))
        return torch.where(inside, again, moved)

    def points_back(self, points: Tensor) -> Tensor:
        return self._exact().points_back(points)

    def grid(self, size: Any, like: Tensor) -> Tensor:
        return self._exact().grid(size, like)

    def _exact(self) -> Field:
        return self.pool.method.field(self.pool.plan(self.row, self.label))


def _interpolated(lattice: Tensor, places: Tensor) -> Tensor:
    """(1, N, 2): what a lattice (1, 2, rows, columns) from border to border says at places."""
    found = F.grid_sample(lattice, places[:, None], padding_mode="border", align_corners=True)
    return found[:, :, 0].mT
