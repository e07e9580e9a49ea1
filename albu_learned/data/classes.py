"""Class labels and names, checked as far as both parts of a data set allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from albu_learned.data.files import listed

__all__ = ["as_labels", "check_classes", "names"]


def as_labels(values: npt.NDArray[Any], count: int, where: str) -> Tensor:
    """The labels of `count` rows."""
    if values.dtype.kind not in "iu" or values.shape != (count,):
        raise ValueError(
            f"{where} must hold {count} class numbers, one a row, as whole numbers of shape "
            f"({count},), got {values.shape} {values.dtype}. Names of classes go into `classes`."
        )
    labels = torch.from_numpy(values.astype(np.int64))
    if count and labels.min() < 0:
        raise ValueError(f"{where} must hold class numbers from 0, got {labels.min().item()}.")
    return labels


def names(given: npt.NDArray[Any] | None, labels: Sequence[Tensor], where: str) -> tuple[str, ...]:
    """The name of each class: those given, or else its number."""
    highest = max((int(part.max()) for part in labels if len(part)), default=-1)
    if given is None:
        # Numbers far apart are no class numbers; the list of the missing would be endless.
        if highest >= sum(map(len, labels)):
            raise ValueError(
                f"The class numbers of {where} must count from 0 without gaps, got {highest} among "
                f"{sum(map(len, labels))} rows."
            )
        return tuple(str(number) for number in range(highest + 1))
    found = tuple(
        name.decode() if isinstance(name, bytes) else str(name) for name in given.ravel().tolist()
    )
    if given.dtype.kind not in "iuUS" or len(set(found)) < len(found) or len(found) <= highest:
        raise ValueError(
            f"`classes` of {where} must be a name for each of the classes 0..{highest}, each "
            f"another, got {list(found)}."
        )
    return found


def check_classes(train: Tensor, test: Tensor | None, classes: Sequence[str], where: str) -> None:
    """Raises unless there are two classes, and rows of each in both parts, if there are two."""
    parts = {"train": train, **({} if test is None else {"test": test})}
    for part, labels in parts.items():
        if not len(labels):
            raise ValueError(f"The {part} part of {where} must have rows, but is empty.")
    if len(classes) < 2:
        raise ValueError(
            f"{where} must have at least two classes, got {len(classes)} ({list(classes)})."
        )
    for part, labels in parts.items():
        counts = torch.bincount(labels, minlength=len(classes))
        missing = [repr(name) for name, n in zip(classes, counts, strict=True) if not n]
        if missing:
            raise ValueError(
                f"Every class of {where} must have rows in {' and in '.join(parts)}, but {part} "
                f"has none of {listed(missing)}. Add rows of it, or take the class out."
            )
