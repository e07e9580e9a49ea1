"""What rows of stored numbers are: images or series, of which dtype, layout and size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from albu_learned.data.stored import Array, Source

__all__ = ["Form", "form_of"]

_RESIZED = 256  # images at a time, because they are floats meanwhile


@dataclass(frozen=True)
class Form:
    """Makes rows of one data set from stored numbers.

    Args:
        kind: "images" or "series".
        shape: (C, H, W) or (C, T), of a row as it is read.
        resize: whether stored images have another size.
    """

    kind: str
    shape: tuple[int, ...]
    resize: bool = False

    def __call__(self, stored: Array, where: str) -> Tensor:
        """The rows as uint8 (n, C, H, W) or float32 (n, C, T); raises if numbers are out of range.

        Args:
            stored: as in the file.
            where: what a message calls the file.
        """
        if self.kind == "series":
            return self._series(stored, where)
        if stored.dtype != np.uint8:
            stored = self._bytes(stored, where)
        images = torch.from_numpy(np.array(stored))
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        return self._resized(images) if self.resize else images

    def _series(self, stored: Array, where: str) -> Tensor:
        with np.errstate(over="ignore"):  # too large a number becomes infinite, which is refused
            series = torch.from_numpy(np.array(stored, dtype=np.float32, order="C"))
        if not series.isfinite().all():
            raise ValueError(
                f"{where} must hold finite numbers, got NaN or infinity. Series must be complete "
                "and of equal length: fill the gaps in, or leave these series out."
            )
        return series.reshape(len(series), *self.shape)

    def _bytes(self, stored: Array, where: str) -> Array:
        if len(stored) and not (stored.min() >= 0 and stored.max() <= 1):  # NaN is neither
            raise ValueError(
                f"{where} must hold images as uint8, or as floats in [0, 1], got floats from "
                f"{stored.min():g} to {stored.max():g}. Scale them."
            )
        return np.round(stored.astype(np.float64) * 255).astype(np.uint8)

    def _resized(self, images: Tensor) -> Tensor:
        result = torch.empty(len(images), *self.shape, dtype=torch.uint8)
        for start in range(0, len(images), _RESIZED):
            part = images[start : start + _RESIZED].float()
            part = F.interpolate(part, self.shape[1:], mode="bilinear", antialias=True)
            result[start : start + _RESIZED] = part.round().clamp(0, 255).to(torch.uint8)
        return result


def form_of(source: Source, kind: str | None, image_size: int | None) -> Form:
    """What the rows of a source are, by their dtype and shape, and by `kind` in doubt."""
    row = source.shape[1:]
    found = kind or _kind(source)
    if found == "series" and source.dtype.kind in "iuf" and len(row) in (1, 2) and all(row):
        if image_size is not None:
            raise ValueError(
                f"`image_size` must be None for series, got {image_size}: they keep their length."
            )
        return Form("series", row if len(row) == 2 else (1, *row))
    plain = len(row) == 2 or (len(row) == 3 and row[2] in (1, 3))
    if found == "images" and plain and all(row) and _can_be_pixels(source):
        shape = (row[2] if len(row) == 3 else 1, *row[:2])
        size = shape[1:] if image_size is None else (image_size, image_size)
        return Form("images", (shape[0], *size), resize=size != shape[1:])
    raise ValueError(
        f"{source.where} must hold images, uint8 (n, h, w), (n, h, w, 1) or (n, h, w, 3), or "
        f"series, float (n, T) or (n, C, T); got {source.shape} {source.dtype}"
        + (f' as kind="{kind}"' if kind else "")
        + '. Say kind="images" for floats in [0, 1], kind="series" for whole numbers; the channels '
        "of images come last."
    )


def _kind(source: Source) -> str | None:
    if source.dtype == np.uint8 and len(source.shape) > 2:
        return "images"
    return "series" if source.dtype.kind == "f" else None


def _can_be_pixels(source: Source) -> bool:
    return source.dtype == np.uint8 or source.dtype.kind == "f"
