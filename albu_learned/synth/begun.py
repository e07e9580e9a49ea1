"""A folder that is filled with images by one process at a time, and may be left half full.

    .synth.json     what the images depend on, and how many are wanted
    .synth.rows     lines about those that are there
    .synth.lock     held by the process that writes

Files are written whole or not at all. A line is added after its image, and one that is cut off is
forgotten, so the process may be killed at any moment.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from albu_learned.artifact import refuse_file, write_atomically
from albu_learned.fitting import differing
from albu_learned.lock import alone

__all__ = ["FACTS", "ROWS", "add_lines", "begun", "read_lines", "unfinished"]

FACTS, ROWS, LOCK = ".synth.json", ".synth.rows", ".synth.lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]{8}")  # as write_atomically names them


@contextmanager
def begun(
    out: Path,
    facts: Mapping[str, Any],
    things: str,
    argument: str,
    count: int,
    refuse_foreign: Callable[[int], object],
) -> Iterator[None]:
    """Keeps a folder for this process until the end of the block, if it may be gone on with.

    Args:
        out: new, empty, or begun with the same facts.
        facts: what the images depend on, as JSON values.
        things: that are in it, for messages: "images" or "variants".
        argument: the name of the argument that says how many are wanted.
        count: how many, no fewer than before.
        refuse_foreign: raises if there is what was not written here, told how many were wanted
            before; 0 if the folder was not begun.
    """
    refuse_file("out", out)
    if not (out / FACTS).is_file():
        refuse_foreign(0)
    with _writable(out):
        out.mkdir(parents=True, exist_ok=True)
        with alone(out, out / LOCK, "writing images"):
            before = _before(out, facts, things, argument)
            if count < before:
                raise ValueError(
                    f"`{argument}` must be at least {before} for {str(out)!r}, which was begun "
                    f"with that many, got {count}. Choose another folder for fewer."
                )
            refuse_foreign(before)
            if count > before:
                content = {"facts": facts, argument: count}
                write_atomically(out / FACTS, json.dumps(content, indent=2).encode())
            yield


@contextmanager
def _writable(out: Path) -> Iterator[None]:
    """Errors of a disk that is full, or may not be written to, say how to go on."""
    try:
        yield
    except OSError as error:
        place = Path(str(error.filename or out))
        refused = error.errno in _REFUSED and (place.is_relative_to(out) or place in out.parents)
        full = error.errno in _FULL
        if not (full or refused):
            raise
        what = "Make room" if full else "Make it writable"
        raise OSError(
            error.errno,
            f"`out` must be a folder that can be written to, got {str(out)!r}: {error.strerror}. "
            f"{what} and run the same again, which goes on with what is there",
        ) from error


def _before(out: Path, facts: Mapping[str, Any], things: str, argument: str) -> int:
    """How many are wanted already: 0 in a new folder."""
    if not (out / FACTS).is_file():
        return 0
    try:
        kept = json.loads((out / FACTS).read_text(encoding="utf-8"))
        before, count = dict(kept["facts"]), int(kept[argument])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"`out` must have its {FACTS} as it was written, but {str(out / FACTS)!r} cannot be "
            f"read ({type(error).__name__}: {error}). Choose another folder."
        ) from error
    differ = differing(before, facts)
    if differ:
        raise ValueError(
            f"`out` must be new, or hold {things} of the same settings, got {str(out)!r}, where "
            f"they differ in {differ}. Give what was given, or choose another folder."
        )
    return count


def add_lines(out: Path, lines: Iterable[str]) -> None:
    """Adds lines about images that have been written."""
    with open(out / ROWS, "ab") as file:
        file.write("".join(lines).encode())
        file.flush()
        os.fsync(file.fileno())


def read_lines(out: Path) -> list[str]:
    """All of them that are whole; one that was cut off is removed."""
    if not (out / ROWS).is_file():
        return []
    content = (out / ROWS).read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_atomically(out / ROWS, whole)
    return whole.decode().splitlines()


def unfinished(name: str) -> str | None:
    """The name of the file that was being written when a process was killed, by what it left; None
    if this is no such file."""
    found = _UNFINISHED.fullmatch(name)
    return None if found is None else found[1]
