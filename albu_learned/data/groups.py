"""Groups: which rows are of one patient or scene, and therefore never stand on both sides."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from albu_learned.data.files import images_below, listed

__all__ = ["as_groups", "numbered", "of_images", "without_leak"]


def as_groups(values: Any, count: int, where: str) -> npt.NDArray[Any]:
    """The groups of `count` rows as an array of whole numbers or texts."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuU" or array.shape != (count,):
        raise ValueError(
            f"`groups` of {where} must be {count} whole numbers or texts, one a row, got "
            f"{array.shape} {array.dtype}."
        )
    return array


def numbered(values: npt.NDArray[Any] | Sequence[str]) -> Tensor:
    """Groups as numbers from 0."""
    return torch.from_numpy(np.unique(np.asarray(values), return_inverse=True)[1].astype(np.int64))


def without_leak(
    train: npt.NDArray[Any] | Sequence[str], test: npt.NDArray[Any] | Sequence[str], where: str
) -> tuple[Tensor, Tensor]:
    """Groups of both parts as numbers; raises if a group stands in both."""
    train, test = [str(name) for name in train], [str(name) for name in test]
    both = sorted(set(train) & set(test))
    if both:
        raise ValueError(
            f"A group must stand in train or in test, but in {where} groups stand in both: "
            f"{listed([repr(name) for name in both])}. What is known of train is known of them in "
            "test: move each to one side."
        )
    numbers = numbered([*train, *test])
    return numbers[: len(train)], numbers[len(train) :]


def of_images(file: Any, images: Sequence[Path], root: Path) -> list[str]:
    """The group of each image, as a CSV file with the columns `image` and `group` says.

    An image is named by its path from the root, or by its file name where no other has that. Images
    of the folder that are not asked for may stand there too, but nothing that is no image of it.
    """
    if not isinstance(file, (str, os.PathLike)):
        raise TypeError(
            f"`groups` must be the path of a CSV file for images in folders, got "
            f"{type(file).__name__}."
        )
    known = _read(Path(file))
    names = Counter(image.name for image in images)
    insides = [_inside(image, root) for image in images]
    asked = {*insides, *names}
    strange = _strange([name for name in known if name not in asked], root)
    found, missing, doubtful = [], [], []
    for image, inside in zip(images, insides, strict=True):
        if inside in known:
            found.append(known[inside])
        elif image.name not in known:
            missing.append(repr(inside))
        elif names[image.name] > 1:
            doubtful.append(repr(inside))
        else:
            found.append(known[image.name])
    if missing:
        others = f" It names what is no image: {listed(strange)}." if strange else ""
        raise ValueError(
            f"{str(file)!r} must list every image, but lacks {listed(missing)}.{others}"
        )
    if strange:
        raise ValueError(
            f"{str(file)!r} must name images of {str(root)!r}, by their paths from it, but these "
            f"are none: {listed(strange)}. Correct these rows, or take them out."
        )
    if doubtful:
        raise ValueError(
            f"{str(file)!r} must give the path of an image whose file name others have too, from "
            f"{str(root)!r}: {listed(doubtful)}."
        )
    return found


def _strange(names: Sequence[str], root: Path) -> list[str]:
    """Those of the names that no image of the folder has: of a typo nobody would ever know."""
    there = set[str]()
    for image in images_below(root) if names else ():
        there |= {image.name, _inside(image, root)}
    return [repr(name) for name in names if name not in there]


def _inside(image: Path, root: Path) -> str:
    return Path(os.path.relpath(image, root)).as_posix()


def _read(file: Path) -> dict[str, str]:
    if not file.is_file():
        raise FileNotFoundError(f"`groups` must be a CSV file, got {str(file)!r}, which is none.")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines)
        columns = table.fieldnames or []
        if not {"image", "group"} <= set(columns):
            raise ValueError(
                f"{str(file)!r} must have the columns `image` and `group`, got {list(columns)}."
            )
        found: dict[str, str] = {}
        for row in table:
            image, group = (row["image"] or "").strip(), (row["group"] or "").strip()
            image = image.replace("\\", "/").removeprefix("./")
            if not image or not group or found.setdefault(image, group) != group:
                raise ValueError(
                    f"{str(file)!r}, line {table.line_num}, must name an image and its one group, "
                    f"got {image!r} and {group!r}."
                )
    return found
