"""The folder that generated images are written to, and what is known of those that are there.

    CLASS/CLASS_000000.png    the images
    manifest.csv              a line for each of them, once all are there
    .synth.json               what they depend on
    .synth.rows               lines of the images so far, until manifest.csv is there
    .synth.lock               held by the process that writes

The process may be killed at any moment, see `albu_learned.synth.begun`. There is no hidden folder:
torchvision's ImageFolder would take it for a class.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albu_learned.artifact import write_atomically
from albu_learned.data.files import listed
from albu_learned.synth.begun import FACTS, ROWS, add_lines, begun, read_lines, unfinished

__all__ = ["MANIFEST", "Row", "Store", "opened"]

MANIFEST = "manifest.csv"
_COLUMNS = ("file", "class", "seed", "row", "tries", "doubtful")


@dataclass(frozen=True)
class Row:
    """One image.

    Args:
        label: its class.
        number: among those of its class.
        tries: how often it was drawn.
        doubtful: whether the filter still doubts it; None where there is no filter.
    """

    label: int
    number: int
    tries: int
    doubtful: bool | None

    def line(self) -> str:
        doubt = "" if self.doubtful is None else int(self.doubtful)
        return f"{self.label},{self.number},{self.tries},{doubt}\n"


class Store:
    """A folder that is open for writing.

    Args:
        out: the folder.
        classes: the name of each class.
        folders: the folder name of each class.
        seed: for the manifest.
    """

    def __init__(
        self, out: Path, classes: Sequence[str], folders: Sequence[str], seed: int
    ) -> None:
        self.out, self.classes, self.folders, self.seed = out, classes, folders, seed
        self.rows: dict[tuple[int, int], Row] = {}

    def path(self, label: int, number: int) -> Path:
        folder = self.folders[label]
        return self.out / folder / f"{folder}_{number:06d}.png"

    def has(self, label: int, number: int) -> bool:
        return (label, number) in self.rows

    def add(self, rows: Iterable[Row]) -> None:
        """Notes images that have been written."""
        new = list(rows)
        add_lines(self.out, (row.line() for row in new))
        self.rows.update({(row.label, row.number): row for row in new})

    def finish(self) -> None:
        """Writes the manifest of all images."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for (label, number), row in sorted(self.rows.items()):
            file = self.path(label, number).relative_to(self.out).as_posix()
            doubt = "" if row.doubtful is None else int(row.doubtful)
            writer.writerow([file, self.classes[label], self.seed, number, row.tries, doubt])
        write_atomically(self.out / MANIFEST, text.getvalue().encode())
        (self.out / ROWS).unlink(missing_ok=True)

    def read(self) -> None:
        """What is known of the images that are there; those that are gone are forgotten."""
        self._remove_unfinished()
        found = [*self._of_manifest(), *self._of_lines()]
        there = {folder: _names(self.out / folder) for folder in self.folders}
        self.rows = {
            (row.label, row.number): row
            for row in found
            if self.path(row.label, row.number).name in there[self.folders[row.label]]
        }

    def _of_manifest(self) -> Iterator[Row]:
        if not (self.out / MANIFEST).is_file():
            return
        labels = {name: label for label, name in enumerate(self.folders)}
        try:
            with open(self.out / MANIFEST, encoding="utf-8", newline="") as file:
                for line in csv.DictReader(file):
                    doubt = bool(int(line["doubtful"])) if line["doubtful"] else None
                    label = labels[line["file"].partition("/")[0]]
                    yield Row(label, int(line["row"]), int(line["tries"]), doubt)
        except (KeyError, ValueError, TypeError, csv.Error) as error:
            raise ValueError(
                f"{str(self.out / MANIFEST)!r} must be as it was written, but a line of it cannot "
                "be read. Delete it, and every image is made again."
            ) from error

    def _of_lines(self) -> Iterator[Row]:
        for line in read_lines(self.out):
            if re.fullmatch(r"\d+,\d+,\d+,[01]?", line):
                label, number, tries, doubt = line.split(",")
                yield Row(int(label), int(number), int(tries), bool(int(doubt)) if doubt else None)

    def _remove_unfinished(self) -> None:
        """Removes what a killed process was writing; other hidden files are let be."""
        _remove(self.out, "|".join(map(re.escape, (MANIFEST, FACTS, ROWS))))
        for name in self.folders:
            _remove(self.out / name, rf"{re.escape(name)}_\d+\.png")


@contextmanager
def opened(
    out: Path,
    classes: Sequence[str],
    folders: Sequence[str],
    facts: Mapping[str, Any],
    per_class: int,
) -> Iterator[Store]:
    """The store in a folder, which no other process may use until the end of the block.

    Args:
        out: new, empty, or with images that depend on the same facts.
        classes: the name of each class.
        folders: the folder name of each class.
        facts: what the images depend on, as JSON values.
        per_class: how many of each class are wanted, no fewer than before.
    """

    def refuse(before: int) -> None:
        _refuse_foreign(out, _ours(folders, before))

    with begun(out, facts, "images", "per_class", per_class, refuse):
        store = Store(out, classes, folders, int(facts["seed"]))
        store.read()
        yield store


def _ours(folders: Sequence[str], per_class: int) -> Callable[[str, str], bool]:
    """Tells the files that can have been written here: by their folder, "" at the top, and name."""
    known = set(folders)

    def ours(folder: str, name: str) -> bool:
        if not folder:
            return name == MANIFEST and per_class > 0
        number = name.removeprefix(f"{folder}_").removesuffix(".png")
        own = re.fullmatch(r"\d{6,}", number, re.ASCII) and int(number) < per_class
        return folder in known and bool(own) and name == f"{folder}_{int(number):06d}.png"

    return ours


def _refuse_foreign(out: Path, ours: Callable[[str, str], bool]) -> None:
    """Raises if there is what was not written here: training would take it for generated images.
    Hidden files are let be: systems leave them everywhere."""
    if not out.is_dir():
        return
    found = []
    for entry in _entries(out):
        if not entry.is_dir(follow_symlinks=False):
            found += [] if ours("", entry.name) else [entry.name]
            continue
        inside = [one.name for one in _entries(Path(entry.path))]
        found += [f"{entry.name}/{name}" for name in inside if not ours(entry.name, name)]
        found += [] if inside or ours(entry.name, f"{entry.name}_000000.png") else [entry.name]
    if found:
        raise FileExistsError(
            f"`out` must be a new or empty folder, or hold images that were generated there alone, "
            f"got {str(out)!r} with {listed([repr(name) for name in found], 3)}. Choose another, "
            "or move these away."
        )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def _remove(folder: Path, wanted: str) -> None:
    for name in _names(folder):
        if re.fullmatch(wanted, unfinished(name) or ""):
            (folder / name).unlink()
