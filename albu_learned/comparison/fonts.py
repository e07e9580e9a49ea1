"""Fonts that have the letters of a picture: matplotlib's own lacks Chinese, Japanese, Korean."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["lettered", "readable"]


@contextmanager
def lettered(texts: Iterable[str]) -> Iterator[set[str]]:
    """What is drawn in here takes letters that the usual font lacks from others that are installed.

    Gives the letters that none has. What has such is drawn with boxes; matplotlib would warn of
    each of them, every time.
    """
    from matplotlib import rc_context

    families, missing = _families({letter for text in texts for letter in text if _drawn(letter)})
    with rc_context({"font.family": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield missing


def readable(names: Sequence[str], missing: Collection[str]) -> list[str]:
    """The names, and numbers in the place of those with letters that no font has."""
    return [str(i) if {*name} & {*missing} else name for i, name in enumerate(names)]


def _families(letters: set[str]) -> tuple[list[str], set[str]]:
    """The usual families and as many more as it takes, and the letters that none has."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    families, missing = [*rcParams["font.family"]], letters - _letters(findfont(FontProperties()))
    if not missing:
        return families, missing
    # A last resort has a box for every letter.
    names = sorted({font.name for font in fontManager.ttflist if "LastResort" not in font.fname})
    has = {name: missing & _letters(findfont(FontProperties(family=[name]))) for name in names}
    while missing & set().union(*has.values()):
        families.append(max(names, key=lambda name: len(has[name] & missing)))
        missing -= has[families[-1]]
    return families, missing


def _letters(path: str) -> set[str]:
    from matplotlib.ft2font import FT2Font

    try:
        return {chr(code) for code in FT2Font(path).get_charmap()}
    except (OSError, RuntimeError):  # a broken file among the fonts of a system
        return set()


def _drawn(letter: str) -> bool:
    return not letter.isspace() and unicodedata.category(letter) not in ("Cc", "Cf")
