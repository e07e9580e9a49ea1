"""Data sets of arrays: a .npz file, or a folder of .npy files of the same names.

Given parts are train_x, train_y, test_x, test_y and, if wanted, train_groups and test_groups; or
else x, y and, if wanted, groups are split here. `classes` names the classes. Other names are let
be. Labels are read at once, x only where rows of it are asked for.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from albu_learned.data import groups as grouping
from albu_learned.data.classes import as_labels, check_classes, names
from albu_learned.data.files import content
from albu_learned.data.form import Form, form_of
from albu_learned.data.rows import Data, Rows, row_numbers
from albu_learned.data.split import test_part
from albu_learned.data.stored import Array, Member, Npy, Source, refused

__all__ = ["ArrayRows", "has_arrays", "open_arrays"]

_GIVEN = ("train_x", "train_y", "test_x", "test_y")
_WHOLE = ("x", "y")


class ArrayRows(Rows):
    """Rows of a source.

    Args:
        source: where the numbers lie.
        form: what they are.
        labels: (N,) int64.
        groups: (N,) int64, or None.
        at: (N,) the number of each row in the source, or None for all of them.
    """

    def __init__(
        self,
        source: Source,
        form: Form,
        labels: Tensor,
        groups: Tensor | None,
        at: Tensor | None = None,
    ) -> None:
        self.source, self.form, self.labels, self.groups = source, form, labels, groups
        self.at = at

    def read(self, indices: Tensor) -> Tensor:
        numbers = row_numbers(indices, len(self))
        if self.at is not None:
            numbers = self.at[numbers]
        return self.form(self.source.rows(numbers.numpy()), self.source.where)

    def check(self) -> list[bytes]:
        """Reads the file through; the part of a set that is split here is checked as a whole."""
        form, found = replace(self.form, resize=False), []
        for block in self.source.blocks():
            form(block, self.source.where)
            found += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in block]
        return found if self.at is None else [found[row] for row in self.at.tolist()]

    def name(self, number: int) -> str:
        row = number if self.at is None else int(self.at[number])
        return f"row {row} of {self.source.where}"

    def identity(self) -> bytes:
        at = (
            b""
            if self.at is None
            else hashlib.sha256(self.at.numpy().astype("<i8").tobytes()).digest()
        )
        return b"|".join([super().identity(), content(self.source.path).encode(), at])


def has_arrays(folder: Path) -> bool:
    """Whether a folder is a data set of .npy files."""
    return any((folder / f"{key}.npy").is_file() for key in (*_GIVEN, *_WHOLE))


def open_arrays(
    path: Path, kind: str | None, image_size: int | None, groups: Any, test_share: float
) -> Data:
    """The data set in a .npz file, or in a folder of .npy files."""
    files = _Files(path)
    parts = [keys for keys in (_GIVEN, _WHOLE) if set(keys) & files.keys]
    if len(parts) != 1 or set(parts[0]) - files.keys:
        raise ValueError(
            f"{str(path)!r} must have the arrays {', '.join(_GIVEN)}, or else {', '.join(_WHOLE)}, "
            f"got {sorted(files.keys)}."
        )
    if parts[0] == _WHOLE:
        train, test, given = _split(files, kind, image_size, groups, test_share)
    else:
        train, test, given = _given(files, kind, image_size, groups)
    split = parts[0] == _WHOLE
    tested = test.labels if test_share or not split else None
    check_classes(train.labels, tested, given, repr(str(path)))
    name = path.name if path.is_dir() else path.stem
    return Data(name, train.form.kind, given, train, test, train.form.shape, str(path), split)


class _Files:
    """The arrays of a path by their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            self.keys = {file.stem for file in path.glob("*.npy")}
        else:
            with refused(repr(str(path))), zipfile.ZipFile(path) as archive:
                found = archive.namelist()
            self.keys = {name[:-4] for name in found if name.endswith(".npy")}

    def source(self, key: str) -> Source:
        return Npy(self.path / f"{key}.npy") if self.path.is_dir() else Member(self.path, key)

    def optional(self, key: str) -> Array | None:
        return self.source(key).whole() if key in self.keys else None

    def labels(self, key: str, rows: Source) -> Tensor:
        source = self.source(key)
        return as_labels(source.whole(), rows.shape[0], source.where)


def _given(
    files: _Files, kind: str | None, image_size: int | None, groups: Any
) -> tuple[ArrayRows, ArrayRows, tuple[str, ...]]:
    where = repr(str(files.path))
    train_x, test_x = files.source("train_x"), files.source("test_x")
    if (train_x.dtype, train_x.shape[1:]) != (test_x.dtype, test_x.shape[1:]):
        raise ValueError(
            f"`train_x` and `test_x` of {where} must have the same dtype and shape but for the "
            f"number of rows, got {train_x.shape} {train_x.dtype} and {test_x.shape} "
            f"{test_x.dtype}. Save both alike."
        )
    if groups is not None or len({"train_groups", "test_groups"} & files.keys) == 1:
        raise ValueError(
            f"The groups of {where} must be arrays `train_groups` and `test_groups` in it, because "
            "it has parts of its own: both, so that a group in both parts can be seen."
        )
    form = form_of(train_x, kind, image_size)
    labels = files.labels("train_y", train_x), files.labels("test_y", test_x)
    both: tuple[Tensor | None, Tensor | None] = None, None
    if "train_groups" in files.keys:
        given = [
            grouping.as_groups(files.optional(f"{part}_groups"), len(own), f"{part} of {where}")
            for part, own in zip(("train", "test"), labels, strict=True)
        ]
        both = grouping.without_leak(given[0], given[1], where)
    train = ArrayRows(train_x, form, labels[0], both[0])
    test = ArrayRows(test_x, form, labels[1], both[1])
    return train, test, names(files.optional("classes"), labels, where)


def _split(
    files: _Files, kind: str | None, image_size: int | None, groups: Any, test_share: float
) -> tuple[ArrayRows, ArrayRows, tuple[str, ...]]:
    where, source = repr(str(files.path)), files.source("x")
    form = form_of(source, kind, image_size)
    labels = files.labels("y", source)
    if groups is None:
        groups = files.optional("groups")
    if groups is not None:
        groups = grouping.numbered(grouping.as_groups(groups, len(labels), where))
    classes = names(files.optional("classes"), [labels], where)
    held = test_part(labels, groups, test_share, classes, where)

    def part(mask: Tensor) -> ArrayRows:
        own = None if groups is None else groups[mask]
        return ArrayRows(source, form, labels[mask], own, mask.nonzero()[:, 0])

    return part(~held), part(held), classes
