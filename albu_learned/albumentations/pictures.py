"""Pictures that are made once and shown again and again.

To decode one small picture takes a thousand times longer than to copy it. Here so many plans are
drawn once for each class, the same ones in every process, of which a host draws a number; and what
came of a plan is kept. A picture is always made alone, never in a block with others: that would
change its last bits, and a replay elsewhere would not be the same. So nothing stalls, either.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albu_learned.albumentations.record import Record, to_record
from albu_learned.batch import Batch
from albu_learned.kinds import Generate
from albu_learned.method import Plan

__all__ = ["MOST", "Pictures", "Plans"]

MOST = 256 * 2**20  # bytes of pictures that a process keeps of a door
_RECORDS = 2**16  # that are kept of a door, about 80 MB
_SEED = 0


class Plans:
    """So many plans of a generator for each of its classes, made when they are first asked for.

    Args:
        method: a generator that needs labels and nothing else.
        count: how many.
    """

    def __init__(self, method: Generate, count: int) -> None:
        self.method = method
        self.count = count
        self._noise: Plan = {}
        self._records: OrderedDict[tuple[int, int], Record] = OrderedDict()

    @torch.no_grad()
    def record(self, row: int, labels: Tensor) -> Record:
        """The plan of one row for the class of one label, as a host keeps it."""
        key = (row, int(labels))
        if key not in self._records:
            if not self._noise:
                self._noise = self.method.draw(self.count, torch.Generator().manual_seed(_SEED))
            own = {name: value[row : row + 1] for name, value in self._noise.items()}
            made = to_record(self.method.plan(Batch(labels=labels), own))
            if len(self._records) >= _RECORDS:
                self._records.popitem(last=False)
            self._records[key] = made
            return made
        return self._records[key]

    def __getstate__(self) -> dict[str, Any]:
        """Without what it has made: another process makes that again."""
        return {**vars(self), "_noise": {}, "_records": OrderedDict()}


class Pictures:
    """What has been made of plans, for images of a shape and dtype; the oldest make room.

    Args:
        most: bytes that are kept.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.bytes = 0
        self._kept: OrderedDict[Hashable, np.ndarray] = OrderedDict()

    def get(self, plan: Record, like: np.ndarray) -> np.ndarray | None:
        """The picture of a plan for an image like this, if it is kept. Not to be written to."""
        return self._kept.get(_key(plan, like))

    def keep(self, plan: Record, picture: np.ndarray) -> None:
        """Keeps a picture that was made for an image of its own shape and dtype."""
        key = _key(plan, picture)
        if key in self._kept or picture.nbytes > self.most:
            return
        while self._kept and self.bytes + picture.nbytes > self.most:
            self.bytes -= self._kept.popitem(last=False)[1].nbytes
        self._kept[key] = picture
        self.bytes += picture.nbytes

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "bytes": 0, "_kept": OrderedDict()}


def _key(plan: Record, image: np.ndarray) -> Hashable:
    values = tuple((name, *entry["values"]) for name, entry in plan.items())
    return values, image.shape, image.dtype.char
