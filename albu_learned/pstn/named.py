"""Families by name, for hosts whose settings are plain values."""

from __future__ import annotations

from collections.abc import Sequence

from albu_learned import checks
from albu_learned.families import CPAB, Affine, AffineCPAB, Family

__all__ = ["NAMES", "family_of"]

NAMES = ("affine", "cpab", "affine_cpab")


def family_of(name: str, cells: int | Sequence[int] | None = None) -> Family:
    """The family of images that has a name, with so many cells in each direction."""
    checks.one_of("family", name, NAMES)
    if name == "affine":
        if cells is not None:
            raise ValueError(
                f"`cells` must be left out of the family 'affine', which has none, got {cells!r}. "
                "Take family='cpab' or 'affine_cpab'."
            )
        return Affine()
    each = (4, 4) if cells is None else (cells, cells) if isinstance(cells, int) else cells
    return CPAB(each) if name == "cpab" else AffineCPAB(each)
