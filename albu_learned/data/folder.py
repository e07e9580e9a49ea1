"""Folders of images, one folder a class.

Either root/train/CLASS with root/test/CLASS, or root/val or root/valid in its place; or else
root/CLASS, which is split here. Where there is a test folder, val is ignored. Images may lie in
folders below that of their class. Hidden files and folders are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albu_learned.data import decode
from albu_learned.data import groups as grouping
from albu_learned.data.classes import check_classes
from albu_learned.data.files import EXTENSIONS, content, contents, folders_in, images_below, listed
from albu_learned.data.rows import Data, Rows, row_numbers
from albu_learned.data.split import test_part

__all__ = ["FolderRows", "open_folder"]

SIZE = 64  # of images at most, unless another is asked for
_TEST = ("test", "val", "valid")


class FolderRows(Rows):
    """Rows that are image files.

    Args:
        paths: of the images.
        root: the folder of the data set.
        size: to which images are resized.
        labels: (N,) int64.
        groups: (N,) int64, or None.
    """

    def __init__(
        self, paths: Sequence[Path], root: Path, size: int, labels: Tensor, groups: Tensor | None
    ) -> None:
        self.paths, self.root, self.size = tuple(paths), root, size
        self.labels, self.groups = labels, groups

    def read(self, indices: Tensor) -> Tensor:
        numbers = row_numbers(indices, len(self)).numpy()
        once, back = np.unique(numbers, return_inverse=True)
        images = decode.squares([self.paths[i] for i in once], self.size)
        return images[torch.from_numpy(back)]

    def check(self) -> list[bytes]:
        problems = decode.unreadable(self.paths)
        if problems:
            raise ValueError(
                f"Every image of {str(self.root)!r} must be readable, but {listed(problems)}. "
                "Mend these files or remove them."
            )
        return contents(self.paths)

    def name(self, number: int) -> str:
        return repr(str(self.paths[number]))

    def identity(self) -> bytes:
        files = [f"{path.relative_to(self.root).as_posix()} {content(path)}" for path in self.paths]
        return b"|".join([super().identity(), "\n".join(files).encode()])


def open_folder(root: Path, image_size: int | None, groups: Any, test_share: float) -> Data:
    """The data set in a folder."""
    there = [part for part in _TEST if (root / part).is_dir()]
    if (root / "train").is_dir() != bool(there):
        raise ValueError(
            f"{str(root)!r} must have a folder `train` with a folder `test` or `val`, or none of "
            f"these but one folder a class, got {[folder.name for folder in folders_in(root)]}."
        )
    if there:
        train, test, classes = _given(root, there[0], image_size, groups)
    else:
        train, test, classes = _split(root, image_size, groups, test_share)
    tested = test.labels if there or test_share else None
    check_classes(train.labels, tested, classes, repr(str(root)))
    shape = (3, train.size, train.size)
    return Data(root.name, "images", classes, train, test, shape, str(root), split=not there)


def _given(
    root: Path, name: str, image_size: int | None, groups: Any
) -> tuple[FolderRows, FolderRows, tuple[str, ...]]:
    train, train_labels, classes = _classes(root / "train")
    test, test_labels, others = _classes(root / name)
    alone = sorted(set(classes) ^ set(others))
    if alone:
        raise ValueError(
            f"The class folders in train and {name} of {str(root)!r} must be the same, but only "
            f"one of the two has {listed([repr(known) for known in alone])}."
        )
    both: tuple[Tensor | None, Tensor | None] = None, None
    if groups is not None:
        found = grouping.of_images(groups, [*train, *test], root)
        both = grouping.without_leak(found[: len(train)], found[len(train) :], repr(str(root)))
    size = image_size or decode.usual_size(train, SIZE)
    return (
        FolderRows(train, root, size, train_labels, both[0]),
        FolderRows(test, root, size, test_labels, both[1]),
        classes,
    )


def _split(
    root: Path, image_size: int | None, groups: Any, test_share: float
) -> tuple[FolderRows, FolderRows, tuple[str, ...]]:
    paths, labels, classes = _classes(root)
    if groups is not None:
        groups = grouping.numbered(grouping.of_images(groups, paths, root))
    held = test_part(labels, groups, test_share, classes, repr(str(root)))
    size = image_size or decode.usual_size(paths, SIZE)

    def part(mask: Tensor) -> FolderRows:
        own = [path for path, taken in zip(paths, mask.tolist(), strict=True) if taken]
        return FolderRows(own, root, size, labels[mask], None if groups is None else groups[mask])

    return part(~held), part(held), classes


def _classes(folder: Path) -> tuple[list[Path], Tensor, tuple[str, ...]]:
    """The images in the class folders of a folder, their labels and the names of the classes."""
    classes = {found.name: images_below(found) for found in folders_in(folder)}
    empty = [repr(name) for name, images in classes.items() if not images]
    if empty:
        raise ValueError(
            f"Every class folder of {str(folder)!r} must have images ({', '.join(EXTENSIONS)}), "
            f"but none has {listed(empty)}. Remove folders that are no class."
        )
    if not classes:
        raise ValueError(f"{str(folder)!r} must have one folder a class, got none.")
    paths = [path for images in classes.values() for path in images]
    counts = torch.tensor([len(images) for images in classes.values()])
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    return paths, labels, tuple(classes)
