"""Series in the text form of the UCR archive: NAME_TRAIN.tsv and NAME_TEST.tsv.

A line is a series: its label, then its values, with tabs between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from albu_learned.data.arrays import ArrayRows
from albu_learned.data.classes import check_classes
from albu_learned.data.files import listed
from albu_learned.data.form import Form
from albu_learned.data.rows import Data
from albu_learned.data.stored import Array, Source, refused

__all__ = ["open_series", "pairs"]

_TRAIN, _TEST = "_TRAIN.tsv", "_TEST.tsv"
_GAPS = ("nan", "?", "")


class Text(Source):
    """Series in a text file: labels are read at once, values at the first use."""

    def __init__(self, path: Path) -> None:
        self.path, self.where, self.size = path, repr(str(path)), path.stat().st_size
        self.labels, lengths = [], set()
        with refused(self.where), path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                label, *values = line.rstrip("\r\n").split("\t")
                if not label and not values:
                    continue
                lengths.add(len(values))
                self.labels.append(label.strip())
                if len(lengths) > 1 or any(value.strip().lower() in _GAPS for value in values):
                    raise ValueError(
                        f"{self.where}, line {number}: series must be complete and of equal "
                        "length, each value a number after a tab. Fill the gaps in, or leave these "
                        "series out."
                    )
        if not self.labels or lengths == {0}:
            raise ValueError(f"{self.where} must have series, each a label and values, got none.")
        self.shape, self.dtype = (len(self.labels), lengths.pop()), np.dtype(np.float64)
        self._values: Array | None = None

    def rows(self, indices: Array) -> Array:
        return self._load()[indices]

    def blocks(self) -> Iterator[Array]:
        yield self._load()

    def _load(self) -> Array:
        if self._values is None:
            columns = range(1, self.shape[1] + 1)
            with refused(self.where):
                self._values = np.loadtxt(
                    self.path, delimiter="\t", usecols=columns, ndmin=2, encoding="utf-8"
                )
        return self._values


def pairs(path: Path) -> list[tuple[Path, Path]]:
    """The files of each data set that a folder holds, or of the one that a file is part of."""
    if path.is_dir():
        starts = {file.name.removesuffix(_TRAIN) for file in path.glob(f"*{_TRAIN}")}
        starts |= {file.name.removesuffix(_TEST) for file in path.glob(f"*{_TEST}")}
        return [(path / f"{start}{_TRAIN}", path / f"{start}{_TEST}") for start in sorted(starts)]
    for end in (_TRAIN, _TEST):
        if path.name.endswith(end):
            start = path.name.removesuffix(end)
            return [(path.with_name(f"{start}{_TRAIN}"), path.with_name(f"{start}{_TEST}"))]
    return []


def open_series(path: Path) -> Data:
    """The data set in a folder, or of which one of the two files is given."""
    found = pairs(path)
    if len(found) != 1:
        raise ValueError(
            f"`path` must name one of the data sets in {str(path)!r}, which are "
            f"{[train.name.removesuffix(_TRAIN) for train, _ in found]}. Give its {_TRAIN} file."
        )
    for file in found[0]:
        if not file.is_file():
            raise FileNotFoundError(
                f"A data set of series must be two files, but {str(file)!r} is missing."
            )
    train, test = (Text(file) for file in found[0])
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            f"{train.where} and {test.where} must have series of equal length, got "
            f"{train.shape[1]} and {test.shape[1]}."
        )
    known = _sorted(set(train.labels))
    strange = [repr(label) for label in _sorted(set(test.labels)) if label not in known]
    if strange:
        raise ValueError(f"{test.where} must have classes of train, got {listed(strange)}.")
    form = Form("series", (1, train.shape[1]))
    parts = [
        ArrayRows(source, form, torch.tensor([known.index(label) for label in source.labels]), None)
        for source in (train, test)
    ]
    check_classes(parts[0].labels, parts[1].labels, known, repr(str(path)))
    name = found[0][0].name.removesuffix(_TRAIN)
    return Data(name, "series", tuple(known), parts[0], parts[1], form.shape, str(path))


def _sorted(labels: set[str]) -> list[str]:
    """Labels in the order of the archive: as numbers, where all are."""
    try:
        return sorted(labels, key=lambda label: (float(label), label))
    except ValueError:
        return sorted(labels)
