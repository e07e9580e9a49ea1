"""The folder that variants are written to, and what is known of those that are there.

    images/...        variants, in the folders that their sources have in their data set
    labels/...        their labels
    data.yaml         trains on real images and variants
    train.txt         the images it trains on, where a ratio was asked for
    manifest.json     settings, figures, all variants and what went wrong
    contact.png       some of them: original, mask, variant, difference
    .synth.json       what the variants depend on
    .synth.rows       a line of JSON for each variant
    .synth.strip.N    parts of the contact sheet
    .synth.lock       held by the process that writes

The process may be killed at any moment, see `albu_learned.synth.begun`: labels are written first,
then the image, then its line. What has no line is made again, and comes out the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from albu_learned.artifact import write_atomically
from albu_learned.data import label_file
from albu_learned.data.files import listed
from albu_learned.methods.psld.ready import MANIFEST
from albu_learned.synth.begun import ROWS, add_lines, begun, read_lines, unfinished
from albu_learned.synth.sources import Source, variant_of
from albu_learned.synth.varying import Made

__all__ = ["Pool", "opened"]

Row = dict[str, Any]
DATA, LIST, SHEET = "data.yaml", "train.txt", "contact.png"
STRIP = ".synth.strip."
_OURS = (MANIFEST, DATA, LIST, SHEET)


class Pool:
    """A folder that is open for writing.

    Args:
        out: the folder, absolute.
        sources: the images whose variants it holds.
        gone: files of variants of images that are no more.
    """

    def __init__(
        self, out: Path, sources: Sequence[Source], gone: Collection[PurePosixPath] = ()
    ) -> None:
        self.out = out
        self.sources = {source.name: source for source in sources}
        self.rows: dict[tuple[str, int], Row] = {}
        self.gone = gone

    def path(self, name: str, variant: int) -> Path:
        return self.out / self.sources[name].variant(variant)

    def has(self, name: str, variant: int) -> bool:
        return (name, variant) in self.rows

    def add(self, name: str, made: Sequence[Made]) -> None:
        """Writes variants, and notes them."""
        source, rows = self.sources[name], []
        for one in made:
            path = self.path(name, one.variant)
            if one.image is None:
                _remove(path)
            else:
                _write(label_file.of(path), one.labels.encode())
                _write(path, one.image)
            if one.strip is not None:
                _write(self.out / f"{STRIP}{source.content}", one.strip)
            rows.append({"source": name, "variant": one.variant, "content": source.content})
            rows[-1] |= one.facts
        add_lines(self.out, map(_line, rows))
        self.rows |= {_key(row): row for row in rows}

    def finish(self, variants: int) -> None:
        """Puts the lines in order, the same whatever order the variants were made in, and removes
        variants of an image that is broken or gone by now."""
        for image in self.gone:
            _remove(self.out / image)
        strips = {f"{STRIP}{source.content}" for source in self.sources.values()}
        for path in self.out.glob(f"{STRIP}*"):
            if path.name not in strips:
                path.unlink()
        for name in self.sources:
            for number in range(variants):
                if not self._is_written(name, number):
                    _remove(self.path(name, number))
        lines = [_line(row) for _, row in sorted(self.rows.items())]
        write_atomically(self.out / ROWS, "".join(lines).encode())

    def read(self) -> None:
        """What is known of the variants that are there; those that are gone, whose source is now
        another, or whose line is not whole, are forgotten."""
        _remove_unfinished(self.out)
        for row in _rows(self.out):
            if self._is_true(row):
                self.rows[_key(row)] = row

    def _is_written(self, name: str, variant: int) -> bool:
        return self.rows.get((name, variant), {}).get("status") == "written"

    def _is_true(self, row: Row) -> bool:
        source = self.sources.get(row["source"])
        if source is None or source.content != row.get("content"):
            return False
        path = self.path(row["source"], row["variant"])
        there = path.is_file() and label_file.of(path).is_file()
        return there or row.get("status") != "written"

    def strips(self, names: Sequence[str]) -> list[bytes]:
        """Of the contact sheet: those of the first variants of these images that are there."""
        written = [name for name in names if self._is_written(name, 0)]
        paths = [self.out / f"{STRIP}{self.sources[name].content}" for name in written]
        return [path.read_bytes() for path in paths if path.is_file()]


@contextmanager
def opened(
    out: Path, sources: Sequence[Source], facts: Mapping[str, Any], variants: int
) -> Iterator[Pool]:
    """The pool in a folder, which no other process may use until the end of the block.

    Args:
        out: new, empty, or with variants that depend on the same facts.
        sources: the images to vary.
        facts: what the variants depend on, as JSON values.
        variants: how many of each image, no fewer than before.
    """

    gone: set[PurePosixPath] = set()

    def refuse(before: int) -> None:
        if before:
            gone.update(_gone(out, sources))
        wanted = range(variants if before else 0)
        known = {source.variant(k) for source in sources for k in wanted}
        _refuse_foreign(out, frozenset(known | gone))

    with begun(out, facts, "variants", "variants", variants, refuse):
        pool = Pool(out, sources, gone)
        pool.read()
        yield pool


def _rows(out: Path) -> Iterator[Row]:
    """The lines, but for such as were not written here."""
    for line in read_lines(out):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        known = {"source": str, "variant": int}
        if isinstance(row, dict) and all(isinstance(row.get(k), t) for k, t in known.items()):
            yield row


def _gone(out: Path, sources: Sequence[Source]) -> set[PurePosixPath]:
    """Variants that are there of images that are not: removed, renamed or emptied of objects."""
    names = {source.name for source in sources}
    lost = [(row["source"], row["variant"]) for row in _rows(out) if row["source"] not in names]
    taken = {source.variant(number) for _, number in lost for source in sources}
    return {variant_of(*key) for key in lost} & set(_files(out)) - taken if lost else set()


def _key(row: Row) -> tuple[str, int]:
    return row["source"], row["variant"]


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def _remove(image: Path) -> None:
    """The image goes first: without its label it would be taken for one that shows nothing."""
    image.unlink(missing_ok=True)
    label_file.of(image).unlink(missing_ok=True)


def _files(out: Path) -> Iterator[PurePosixPath]:
    for here, folders, names in os.walk(out):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(here).relative_to(out)
        yield from (PurePosixPath(inside.as_posix(), name) for name in names)


def _refuse_foreign(out: Path, images: frozenset[PurePosixPath]) -> None:
    """Raises if there is what was not written here: training would take it for variants. Hidden
    files are let be: systems leave them everywhere."""
    known = {str(image) for image in images} | (set(_OURS) if images else set())
    known |= {str(_label(image)) for image in images}
    given = [str(name) for name in _files(out) if not name.name.startswith(".")]
    found = [name for name in given if name not in known and not name.endswith(".cache")]
    if found:
        raise FileExistsError(
            "`out` must be a new or empty folder, or hold variants of the images of `data` alone, "
            f"got {str(out)!r} with {listed([repr(name) for name in sorted(found)], 3)}. Choose "
            "another, or move these away."
        )


def _label(image: PurePosixPath) -> PurePosixPath:
    return PurePosixPath(label_file.of(Path("/", image)).relative_to("/").as_posix())


def _remove_unfinished(out: Path) -> None:
    """Removes what a killed process was writing."""
    for name in _files(out):
        if unfinished(name.name):
            (out / name).unlink()
