"""Warps whose motions are drawn from a pool, where they depend on no picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from albu_learned import checks
from albu_learned.albumentations.pool import Pool
from albu_learned.albumentations.warp import WarpTransform
from albu_learned.kinds import Field, Warp

__all__ = ["PooledWarp", "refuse_masks"]

_ROW = "pool"  # beside a plan: which row of the pool it is, and of which class
_KNOWN = frozenset({"labels"})  # what a pool can plan from


class PooledWarp(WarpTransform):
    """A warp with so many motions that are made once; see `albu_learned.albumentations.pool`.

    Args:
        method: the folder of an artifact, or a live `Warp`.
        pool: how many motions there are, for each class if they are of classes; 0 for no pool. A
            warp that looks at pictures has none.
        label_key: where the class number is, for warps that read it.
        classes: the names of your classes in the order of your numbers.
        p: the probability of applying it.
    """

    class InitSchema(WarpTransform.InitSchema):
        pool: int

    def __init__(
        self,
        method: Any,
        pool: int = 1024,
        label_key: str = "label",
        classes: Sequence[str] | None = None,
        p: float = 0.5,
    ) -> None:
        super().__init__(method, label_key, classes, p)
        self.pool = checks.integer("pool", pool, 0)
        warp: Warp = self._live
        self._pool = Pool(warp, self.pool) if self.pool and warp.needs <= _KNOWN else None

    def sample(self, data: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The plan of one image; from the pool also its place there, so that it is found again."""
        if self._pool is None:
            return super().sample(data, rng)
        self.refuse_tensors(data)
        row, label = int(rng.integers(self.pool)), 0
        if self._live.needs:
            given = self.read(data)
            self._live.check(given)
            label = 0 if given.labels is None else int(given.labels)
        return {"plan": {**self._pool.record(row, label), _ROW: {"row": row, "label": label}}}

    def _field(self, plan: dict[str, Any]) -> Field:
        own = {name: entry for name, entry in plan.items() if name != _ROW}
        if self._pool is not None and _ROW in plan:
            row, label = plan[_ROW]["row"], plan[_ROW]["label"]
            if own == self._pool.record(row, label):  # else it is a replay of another pool
                return self._pool.field(row, label)
        return super()._field(own)


def refuse_masks(box: str | None, door: str) -> None:
    """Raises if boxes shall be put around masks that this host does not have."""
    if box == "mask":
        raise ValueError(
            f'`box` must be "outline" or "ellipse" for {door}, got "mask": '
            "Albumentations has no mask of every object beside its box."
        )
