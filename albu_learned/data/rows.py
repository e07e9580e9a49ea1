"""What an open data set is: labels in memory, images read when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from albu_learned.data import decode, label_file
from albu_learned.data.files import contents, listed

__all__ = ["Boxes", "Data", "Rows", "row_numbers"]


class Rows(ABC):
    """Part of a data set.

    Attributes:
        labels: (N,) int64, the class of each row.
        groups: (N,) int64, the patient or scene of each row, or None. The same number means the
            same group in every part of a data set.
    """

    labels: Tensor
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def read(self, indices: Tensor) -> Tensor:
        """The rows of those numbers, in that order: uint8 (n, C, H, W), or float32 (n, C, T)."""

    @abstractmethod
    def check(self) -> Sequence[bytes]:
        """Raises if a row cannot be read, and names the files; else, as all of them are read for
        that, what tells the content of each row from others."""

    def name(self, number: int) -> str:
        """How a message calls a row."""
        return f"row {number}"

    def identity(self) -> bytes:
        """What tells these rows from others, but for their pixels; the same on every machine."""
        tensors = [self.labels] if self.groups is None else [self.labels, self.groups]
        return b"|".join(tensor.numpy().astype("<i8").tobytes() for tensor in tensors)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set for classification.

    Args:
        name: from the path, such as "fashion_mnist".
        kind: "images" or "series".
        classes: the name of each class.
        train: what a method may learn from.
        test: what is read once everything has been learned.
        shape: (C, H, W) or (C, T), of each row.
        path: absolute, where the data set lies.
        split: whether it had no parts of its own.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    train: Rows
    test: Rows
    shape: tuple[int, ...]
    path: str
    split: bool = False


@dataclass(frozen=True, eq=False)
class Boxes:
    """A data set for detection, in YOLO's form.

    Args:
        name: from the path, such as "bccd".
        classes: the name of each class.
        train: absolute paths of images, sorted.
        test: likewise, of the split `test`, or of `val` where there is no `test`.
        tested_on: "test" or "val", the split that `test` is.
        groups: (N,) int64, the patient or scene of each image of `train`, or None.
        present: (N, K) bool, which classes each image of `train` shows.
        path: absolute, of the data.yaml.
    """

    kind: ClassVar[str] = "detection"

    name: str
    classes: tuple[str, ...]
    train: tuple[Path, ...]
    test: tuple[Path, ...]
    tested_on: str
    groups: Tensor | None
    present: Tensor
    path: str

    def check(self) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """Raises if an image cannot be read or a line of a label file is none, and names them; else
        what tells the content of each image of train and of test from others."""
        images = [*self.train, *self.test]
        problems = decode.unreadable(images)
        for image in images:
            problems += label_file.read(label_file.of(image), len(self.classes))[1]
        if problems:
            raise ValueError(
                f"Every image and label of {self.path!r} must be readable, but {listed(problems)}. "
                "Mend these files or remove them."
            )
        return contents(self.train), contents(self.test)

    def read(self, indices: Tensor, longest: int) -> tuple[Tensor, list[Tensor]]:
        """Training images of those numbers, uint8 (n, 3, H, W), in the shape of the first but with
        so many pixels along the longer side; and the boxes (N, 4) of each, x1, y1, x2, y2 as
        fractions."""
        paths = [self.train[i] for i in row_numbers(indices, len(self.train)).tolist()]
        shown = [label_file.read(label_file.of(path), len(self.classes))[0] for path in paths]
        boxes = [torch.tensor([one.box for one in own]).reshape(-1, 4) for own in shown]
        return decode.alike(paths, longest), boxes


def row_numbers(indices: Tensor, count: int) -> Tensor:
    """The numbers of rows that are asked for, checked, as int64 on the CPU."""
    if (
        not isinstance(indices, Tensor)
        or indices.ndim != 1
        or indices.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)
    ):
        got = type(indices).__name__
        if isinstance(indices, Tensor):
            got = f"{tuple(indices.shape)} {indices.dtype}"
        raise TypeError(
            f"`indices` must be a tensor of row numbers, (n,) int64, got {got}. "
            "Of a mask, give mask.nonzero()[:, 0]."
        )
    numbers = indices.to("cpu", torch.int64)
    outside = numbers[(numbers < 0) | (numbers >= count)]
    if len(outside):
        raise ValueError(f"`indices` must be in 0..{count - 1}, got {outside[0].item()}.")
    return numbers
