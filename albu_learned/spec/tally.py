"""Whether what a spec asks for has happened: a training that is not augmented must not go on.

Hosts rebuild their pipelines behind a hook's back. So every entry is counted in every epoch: the
rows it was shown, and those it changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from albu_learned.method import Method, methods
from albu_learned.spec.entry import Entry

__all__ = ["Tally"]

BY_CHANCE = 1e-6  # nothing changed, though p asks for it: rarer than this, it is no accident


class Tally:
    """Counts of one epoch; and, of entries that have changed nothing yet but may by chance have
    changed nothing, of the epochs before: few images with a small p are not judged by one."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.before = [0.0] * len(entries)
        self.clear()

    def clear(self) -> None:
        self.shown = [0] * len(self.entries)
        self.changed = [0] * len(self.entries)

    def add(self, number: int, shown: int, changed: int) -> None:
        self.shown[number] += shown
        self.changed[number] += changed

    def close(self, epoch: int) -> None:
        """Raises if an entry that is active in this epoch did nothing; then starts anew."""
        for number, entry in enumerate(self.entries):
            shown = self.shown[number]
            if not entry.active(epoch) or entry.p == 0:
                continue
            if self.changed[number]:
                self.before[number] = 0.0
                continue
            past = self.before[number]
            reach = past + _reach(entry, shown)
            if shown and (1 - entry.p) ** reach > BY_CHANCE:
                self.before[number] = reach
                continue
            seen = f"none of {shown} rows" if shown else "nothing: it was never called"
            seen += ", and none in the epochs before" if shown and past else ""
            raise RuntimeError(
                f"{entry.where}: {entry.name} must change rows of the {entry.stage} with "
                f"p={entry.p:g}, but in epoch {epoch} it changed {seen}. {_why(entry, shown)}, "
                "so the training was stopped."
            )
        self.clear()


def _reach(entry: Entry, shown: int) -> float:
    """How many of the rows it could have changed. Of generators alone not all: no other is built
    anew to be asked."""
    return entry.build().reach(shown) if entry.kind == "generate" else shown


def _why(entry: Entry, shown: int) -> str:
    made: type[Any] = methods().get(entry.name, Method) if shown else Method
    return str(made.idle)
