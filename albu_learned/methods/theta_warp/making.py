"""A ThetaWarp from what the doors take: a folder, or the scalars of one that needs no data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from albu_learned.families import AffineCPAB
from albu_learned.method import hold
from albu_learned.methods.theta_warp.method import ThetaWarp

__all__ = ["make"]


def make(
    method: ThetaWarp | str | os.PathLike[str] | None,
    std: float | None,
    cells: Sequence[int] | None,
    **others: Any,
) -> ThetaWarp:
    """The warp of a folder, or a live one; without either one of no data.

    Args:
        method: the folder of an artifact, a live warp, or None.
        std: how far points of a warp of no data move, in sides; 0.05 unless told.
        cells: columns and rows of its `AffineCPAB`; (4, 4) unless told.
        others: `scale`, `padding`, `box` and `min_visible`; of None the artifact's own stay.
    """
    if method is None:
        told = {name: value for name, value in others.items() if value is not None}
        family = AffineCPAB() if cells is None else AffineCPAB(cells)
        return ThetaWarp(family, 0.05 if std is None else std, **told)
    for name, value in (("std", std), ("cells", cells)):
        if value is not None:
            raise ValueError(
                f"`{name}` must be left out where `method` is given, which has its own, got "
                f"{value!r}. Use `scale` to make it stronger or weaker."
            )
    return hold(method, ThetaWarp, **others)
