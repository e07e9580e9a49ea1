"""Which family moves given images or series: the one that is asked for, if it can, or a default."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from albu_learned.families import AffineCPAB, Family

__all__ = ["Given", "checked", "family_for", "refuse_grey"]

Given = Family | int | Sequence[int] | None  # the family, or the cells of an AffineCPAB

_IMAGE = 8  # pixels along a side, from which on a square is taken for an image


def checked(given: Family) -> Family:
    """The family, if it is one."""
    if not isinstance(given, Family):
        raise TypeError(f"`family` must be a Family, such as Affine(), got {given!r}.")
    return given


def family_for(given: Given, shape: Sequence[int] | None) -> Family:
    """The family, a copy of one that is given.

    Args:
        given: the family, the cells of one, or None for the default.
        shape: (C, H, W) or (C, T), of what it shall move; None if nobody knows yet.
    """
    size = None if shape is None else tuple(shape[1:])
    if given is None:
        given = 10 if size is not None and len(size) == 1 else (4, 4)
    if not isinstance(given, (Family, int, list, tuple)) or isinstance(given, bool):
        raise TypeError(
            "`family` must be a Family, such as AffineCPAB((4, 4)), or the cells of one, got "
            f"{given!r}."
        )
    family = copy.deepcopy(given) if isinstance(given, Family) else AffineCPAB(given)
    if size is not None:
        _check(family, size)
    return family


def _check(family: Family, size: tuple[int, ...]) -> None:
    if family.ndim != len(size):
        wanted = "images, such as AffineCPAB((4, 4))"
        wanted = wanted if len(size) == 2 else "series: AffineCPAB(10)"
        raise ValueError(f"`family` must be one for {wanted}, got {_named(family)}.")
    cells = getattr(family, "cells", None)
    if cells is None:
        return
    across = [cells] if isinstance(cells, int) else list(cells)[::-1]  # as (rows, columns)
    if any(n > pixels for n, pixels in zip(across, size, strict=True)):
        rows = "images have pixels" if len(size) == 2 else "series have steps"
        larger = "Give larger images." if len(size) == 2 else "Give longer series."
        fewer = f"Give fewer, such as family={_fewer(cells, size)}."
        remedy = larger if min(size) < 2 else fewer  # an AffineCPAB has two cells at least
        raise ValueError(
            f"`family` must have no more cells than the {rows}, {' x '.join(map(str, size))}, got "
            f"{_named(family)}. {remedy}"
        )


def _named(family: Family) -> str:
    arguments = ", ".join(f"{k}={v!r}" for k, v in family.arguments().items() if k == "cells")
    return f"{type(family).__name__}({arguments})"


def _fewer(cells: int | Sequence[int], size: tuple[int, ...]) -> int | tuple[int, ...]:
    if isinstance(cells, int):
        return max(2, size[0] // 2)
    return tuple(max(2, min(n, pixels // 2)) for n, pixels in zip(cells, size[::-1], strict=True))


def refuse_grey(name: str, shape: Sequence[int], given: Given) -> None:
    """Raises if (N, C, T) may well be grey images (N, H, W), and the family does not say."""
    series = given.ndim == 1 if isinstance(given, Family) else isinstance(given, int)
    if len(shape) == 3 and shape[1] == shape[2] >= _IMAGE and not series:
        raise ValueError(
            f"`{name}` must be (N, C, H, W), or series (N, C, T), got {tuple(shape)}, which looks "
            f"like grey images. Of these, give {name}[:, None], (N, 1, H, W); for series of so "
            "many channels give family=AffineCPAB(10)."
        )
