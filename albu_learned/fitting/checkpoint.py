"""What an unfinished fit has found so far, in a hidden folder of its artifact.

    .fit/facts.json            data, settings and versions: what the results depend on
    .fit/NAME.safetensors      a part that is finished
    .fit/lock                  held by the process that fits

Every file is written whole or not at all, so the process may be killed at any moment. A part that
was computed once is never computed again: the fit that goes on ends with the same bits.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from albu_learned.artifact import CONFIG, refuse_file, write_atomically
from albu_learned.fitting.facts import differing
from albu_learned.lock import alone

__all__ = ["UNFINISHED", "Checkpoint", "folder_of", "opened", "unfinished"]

UNFINISHED, FACTS, LOCK = ".fit", "facts.json", "lock"
Parts = dict[str, Tensor]


def folder_of(given: str | os.PathLike[str] | None) -> Path | None:
    """The folder of a fit, before its work begins: a file in its place is refused."""
    if given is None:
        return None
    refuse_file("folder", Path(given))
    return Path(given)


def unfinished(folder: Path) -> bool:
    """Whether a fit in that folder was begun and did not end."""
    return (folder / UNFINISHED / FACTS).is_file()


@contextmanager
def opened(folder: Path | None, facts: Mapping[str, Any]) -> Iterator[Checkpoint]:
    """The checkpoint of a folder, which no other fit may use until the end of the block.

    Args:
        folder: of the artifact; None to keep nothing.
        facts: what the parts depend on, as JSON values; those of an unfinished fit in the folder
            must be the same. A finished artifact alone is refused.
    """
    if folder is None:
        yield Checkpoint(None)
        return
    place = folder / UNFINISHED
    file = place / FACTS
    if (folder / CONFIG).is_file() and not unfinished(folder):
        raise FileExistsError(
            f"`folder` must be new, or that of an unfinished fit, got {str(folder)!r}, which holds "
            f"a finished artifact. albu_learned.load({str(folder)!r}) loads it; to fit anew, "
            "choose another folder, or delete this one."
        )
    place.mkdir(parents=True, exist_ok=True)
    with alone(folder, place / LOCK, "fitting"):
        if file.is_file():
            _compare(json.loads(file.read_text(encoding="utf-8")), facts, place)
        else:
            write_atomically(file, json.dumps(facts, indent=2).encode())
        yield Checkpoint(place)


class Checkpoint:
    """The finished parts of a fit, in a place; or nowhere, if it is None."""

    def __init__(self, place: Path | None) -> None:
        self.place = place

    def has(self, name: str) -> bool:
        return self.place is not None and (self.place / f"{name}.safetensors").is_file()

    def part(self, name: str, make: Callable[[], Parts]) -> Parts:
        """The part of that name: as it is kept, or else made, and kept."""
        if self.place is None:
            return make()
        file = self.place / f"{name}.safetensors"
        try:
            return from_safetensors(file.read_bytes())
        except (FileNotFoundError, SafetensorError):  # the latter if the disk itself was damaged
            made = {key: tensor.contiguous() for key, tensor in make().items()}
            write_atomically(file, to_safetensors(made))
            return made

    def drop(self, name: str) -> None:
        """Forgets the part of that name, if it is there: one that came later is worth more."""
        if self.place is not None:
            (self.place / f"{name}.safetensors").unlink(missing_ok=True)

    def finish(self) -> None:
        """Removes everything: the artifact is there. The facts go last, by which an unfinished fit
        is known: parts without them would be taken for those of the next."""
        if self.place is None:
            return
        for file in self.place.glob("*.safetensors"):
            file.unlink()
        shutil.rmtree(self.place)


def _compare(kept: Mapping[str, Any], facts: Mapping[str, Any], place: Path) -> None:
    differ = differing(kept, facts)
    if differ:
        raise ValueError(
            f"`folder` must be new, or that of the same fit, got {str(place.parent)!r}, where an "
            f"unfinished one differs in {differ}. Give what it was given, choose another folder, "
            f"or delete {str(place)!r} to begin anew."
        )
