"""The folders of classes: whatever a class is called, its folder lies in the one for all.

Names that every file system takes stay as they are, because users match classes by them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["folders_of"]

_LONGEST = 120  # bytes: a file's name is longer by a number and by what a temporary one has
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # of Windows


def folders_of(classes: Sequence[str]) -> list[str]:
    """A folder name for each class, each another, also where capitals make no difference."""
    safe = [_safe(name) for name in classes]
    order = sorted(range(len(classes)), key=lambda i: safe[i] != classes[i])  # unchanged ones first
    taken: set[str] = set()
    for number in order:
        while _key(safe[number]) in taken:
            safe[number] += "_"
        taken.add(_key(safe[number]))
    return safe


def _safe(name: str) -> str:
    text = _FORBIDDEN.sub("_", name.encode("utf-8", "replace").decode())
    text = text.encode()[:_LONGEST].decode(errors="ignore")
    if text[:1] in ("", ".", " "):  # hidden, or "..", or nothing at all
        text = "_" + text[1:]
    if text[-1] in ". ":  # which Windows leaves out
        text = text[:-1] + "_"
    return text + "_" if _DEVICES.fullmatch(text) else text


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
