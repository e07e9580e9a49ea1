"""The sample that a fit works on, and the checks that everything in it has passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Sample", "checked", "groups_of", "labels_of"]

_SLACK = 1e-4  # of floats in [0, 1] that have been through some arithmetic


@dataclass(frozen=True, eq=False)
class Sample:
    """Images or series, on the CPU.

    Args:
        images: (N, C, H, W) or (N, C, T), uint8 or float32.
        labels: (N,) int64.
        groups: (N,) int64, or None.
        classes: their names, if they have any.
        count: how many classes there are.
        given: how many images there were, of which these are a sample.
        name: of the data set, or "".
    """

    images: Tensor
    labels: Tensor
    groups: Tensor | None
    classes: list[str] | None
    count: int
    given: int
    name: str

    @property
    def rows(self) -> str:
        """The word for several of them."""
        return "images" if self.images.ndim == 4 else "series"

    def class_name(self, number: int) -> str:
        return repr(self.classes[number]) if self.classes else str(number)


def labels_of(given: Any, count: int) -> Tensor:
    if given is None:
        raise ValueError(
            "`labels` must be given with `images`: a fit learns of each class. If all are of one "
            "class, give torch.zeros(len(images), dtype=torch.long)."
        )
    array = _array(given)
    if array.shape != (count,):
        raise ValueError(
            f"`labels` must be ({count},) class numbers, one for each of `images`, got "
            f"{array.shape}. Of soft labels, give .argmax(1)."
        )
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"`labels` must be integer class numbers, got {array.dtype}. Convert them, and give "
            "names as `classes`."
        )
    labels = torch.from_numpy(array.astype(np.int64))
    if count and labels.min() < 0:
        raise ValueError(f"`labels` must be class numbers from 0, got {labels.min().item()}.")
    return labels


def groups_of(given: Any, count: int) -> Tensor | None:
    if given is None:
        return None
    array = _array(given)
    if array.dtype.kind not in "iuUS" or array.shape != (count,):
        raise ValueError(
            f"`groups` must be {count} whole numbers or texts, one for each of `images`, got "
            f"{array.shape} {array.dtype}."
        )
    return torch.from_numpy(np.unique(array, return_inverse=True)[1].astype(np.int64))


def _array(given: Any) -> Any:
    """As an array: a tensor, or tensors in a list, may be on another device."""
    if isinstance(given, (list, tuple)):
        return np.asarray([t.detach().cpu() if isinstance(t, Tensor) else t for t in given])
    return np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)


def checked(
    images: Tensor,
    labels: Tensor,
    groups: Tensor | None,
    classes: Sequence[str] | None,
    rows: Tensor,
    given: int,
    name: str,
) -> Sample:
    _check_form(images)
    if images.dtype != torch.uint8:
        _check_floats(images, rows)
        images = images.float()
    names = _names(classes, int(labels.max()))
    count = int(labels.max()) + 1 if names is None else len(names)
    return Sample(images.contiguous(), labels, groups, names, count, given, name)


def _check_form(images: Tensor) -> None:
    shape = tuple(images.shape)
    if images.ndim not in (3, 4) or 0 in shape:
        raise ValueError(f"`images` must be (N, C, H, W), or series (N, C, T), got {shape}.")
    if images.ndim == 4 and shape[1] > 4 and shape[3] in (1, 3, 4):
        raise ValueError(
            f"`images` must have their channels first, (N, C, H, W), got {shape}. Permute them: "
            "images.permute(0, 3, 1, 2), or transpose(0, 3, 1, 2) of an array."
        )
    if images.ndim == 3 and images.dtype == torch.uint8:
        raise ValueError(
            f"`images` must be (N, C, H, W), or series (N, C, T) of floats, got {shape} uint8. Of "
            "grey images, give images[:, None]."
        )
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise TypeError(
            f"`images` must be float in [0, 1] or uint8, got {images.dtype}. Convert to float and "
            "divide by the largest value that a pixel can have."
        )


def _check_floats(images: Tensor, rows: Tensor) -> None:
    finite = images.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        wrong = rows[~finite]
        raise ValueError(
            f"`images` must be finite, got NaN or infinity in {len(wrong)} of them, the first is "
            f"{int(wrong[0])}. Mend these or leave them out."
        )
    low, high = float(images.min()), float(images.max())
    if images.ndim == 4 and (low < -_SLACK or high > 1 + _SLACK):
        raise ValueError(
            f"`images` must be float in [0, 1] or uint8, got floats from {low:g} to {high:g}. "
            "Divide by 255, or undo the normalisation."
        )


def _names(classes: Any, highest: int) -> list[str] | None:
    if classes is None:
        return None
    good = isinstance(classes, (list, tuple)) and all(isinstance(name, str) for name in classes)
    if not good or len(set(classes)) < len(classes) or len(classes) <= highest:
        raise ValueError(
            f"`classes` must be a name for each of the classes 0..{highest}, each another, got "
            f"{classes!r}."
        )
    return list(classes)
