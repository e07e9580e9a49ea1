"""What a method is given and gives back: images and everything that lies on them.

Coordinates are fractions of the image: x runs from 0 at the left edge of the leftmost pixel to 1 at
the right edge of the rightmost one, y likewise downwards. Pixel (row i, column j) of an H x W image
therefore has its *centre* at ((j + 0.5) / W, (i + 0.5) / H), and a box that covers exactly the
pixels j0..j1 of a row spans x from j0 / W to (j1 + 1) / W. A time step i of a series of length T is
centred at (i + 0.5) / T. Hosts count differently; their doors convert at the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from albu_learned.rows import Rows as Rows

__all__ = ["Batch", "Rows"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Images or series, with whatever belongs to them. Every part is optional.

    Nothing is ever changed in place: a method returns a new batch.

    Args:
        images: (B, C, H, W) images or (B, C, T) series, RGB, float in [0, 1] or uint8. One image
            (C, H, W) would be taken for C series: give images[None].
        labels: (B,) class numbers, or (B, K) class probabilities ("soft" labels).
        masks: (B, H, W) or (B, M, H, W); integer (class maps, resampled to the nearest pixel) or
            float (soft masks).
        boxes: x1, y1, x2, y2 of every box as fractions of the image (see the module's page); one
            (N, 4) tensor an image, one (B, N, 4) tensor, or `Rows`. For series x1, x2. A box of
            zeros alone is padding and not valid.
        points: x, y of every point, likewise (N, 2); for series x alone.
        instances: (N, H, W) masks, one for each object of an image.
        files: the path of the file that each image was read from, where a door knows it and the
            image is as it was read, but for its size.

    Example:
        >>> import torch
        >>> batch = Batch(images=torch.rand(2, 3, 8, 8), boxes=[torch.tensor([[0, 0, .5, 1]]),
        ...                                                     torch.zeros(0, 4)])
        >>> len(batch), batch.boxes.image.tolist()
        (2, [0])
    """

    images: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None
    boxes: Rows | None = None
    points: Rows | None = None
    instances: Rows | None = None
    files: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("boxes", "points", "instances"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, Rows):
                object.__setattr__(self, name, _ROWS_OF[name](given))
        _check(self)

    def __len__(self) -> int:
        """How many images the batch has."""
        for field in fields(self):
            part = getattr(self, field.name)
            if part is not None:
                return part.count if isinstance(part, Rows) else len(part)
        return 0

    @property
    def device(self) -> torch.device:
        for _, part in _parts(self):
            if not isinstance(part, tuple):
                return torch.device((part.values if isinstance(part, Rows) else part).device)
        return torch.device("cpu")

    def with_images(self, images: Tensor) -> Batch:
        """The same with other images. (torch 2.4 cannot compile `dataclasses.replace`.)"""
        return Batch(
            images=images,
            labels=self.labels,
            masks=self.masks,
            boxes=self.boxes,
            points=self.points,
            instances=self.instances,
            files=self.files,
        )

    def select(self, rows: Tensor) -> Batch:
        """The images whose numbers are given, with everything that lies on them."""
        chosen: dict[str, Any] = {}
        for name, part in _parts(self):
            if isinstance(part, Rows):
                chosen[name] = part.select(rows.to(part.image.device))
            elif isinstance(part, tuple):
                chosen[name] = tuple(part[row] for row in rows.tolist())
            else:
                chosen[name] = part[rows.to(part.device)]
        return Batch(**chosen)

    def put(self, rows: Tensor, changed: Batch) -> Batch:
        """This batch with the images of the given numbers replaced by those of `changed`."""
        merged: dict[str, Any] = {}
        for name, part in _parts(self):
            new = getattr(changed, name)
            if isinstance(part, Rows):
                merged[name] = part.put(rows.to(part.image.device), new)
            elif isinstance(part, tuple):
                merged[name] = part
            else:
                merged[name] = part.index_copy(0, rows.to(part.device), new.to(part.dtype))
        return Batch(**merged)


def as_floats(images: Tensor) -> Tensor:
    """Images as floats in [0, 1], whichever of the two forms they have."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _parts(batch: Batch) -> list[tuple[str, Tensor | Rows | tuple[str, ...]]]:
    named = [(field.name, getattr(batch, field.name)) for field in fields(batch)]
    return [(name, part) for name, part in named if part is not None]


def _boxes(given: Tensor | Sequence[Tensor]) -> Rows:
    rows = _coordinates("boxes", given, "x1, y1, x2, y2", (2, 4))
    half = rows.values.shape[1] // 2
    padding = (rows.values == 0).all(dim=1)  # how a fixed number of boxes is commonly filled up
    rows = replace(rows, valid=rows.valid & ~padding)
    wrong = (rows.values[:, half:] < rows.values[:, :half]).any(dim=1)
    if wrong.any():
        image, row = rows.source[wrong][0].tolist()
        raise ValueError(
            f"`boxes` must have x1 <= x2 and y1 <= y2, but box {row} of image {image} is "
            f"{rows.values[wrong][0].tolist()}. Give corners as x1, y1, x2, y2."
        )
    return rows


def _points(given: Tensor | Sequence[Tensor]) -> Rows:
    return _coordinates("points", given, "x, y", (1, 2))


def _instances(given: Tensor | Sequence[Tensor]) -> Rows:
    rows = Rows.of(given)
    if rows.values.ndim != 3 and len(rows):
        raise ValueError(
            f"`instances` must be (N, H, W) masks for each image, got {tuple(rows.values.shape)} "
            "for all of them together."
        )
    return rows


_ROWS_OF = {"boxes": _boxes, "points": _points, "instances": _instances}


def _coordinates(
    name: str, given: Tensor | Sequence[Tensor], columns: str, widths: tuple[int, int]
) -> Rows:
    rows = Rows.of(given)
    values = rows.values
    if values.ndim == 1 and len(values) == 0:
        values = values.new_zeros(0, widths[1])
    if values.ndim != 2 or values.shape[1] not in widths:
        raise ValueError(
            f"`{name}` must hold {columns} for each row, one (N, {widths[1]}) tensor for each "
            f"image, got {tuple(values.shape)} for all of them together."
        )
    if not values.is_floating_point():
        values = values.float()
    if not torch.isfinite(values).all():
        raise ValueError(f"`{name}` must be finite, got NaN or infinity.")
    if len(values) and values.abs().max() > 4:
        raise ValueError(
            f"`{name}` must be fractions of the image, 0 to 1, got {values.abs().max().item():g}. "
            "Divide pixels by the image's width and height."
        )
    return replace(rows, values=values)


def _check(batch: Batch) -> None:
    parts = _parts(batch)
    for name, part in parts:
        if name == "files":
            _check_files(part)
        elif not isinstance(part, (Tensor, Rows)):
            raise TypeError(f"`{name}` must be a torch.Tensor, got {type(part).__name__}.")
    _check_images(batch.images)
    _check_labels(batch.labels)
    if batch.masks is not None and batch.masks.ndim not in (3, 4):
        raise ValueError(
            f"`masks` must be (B, H, W) or (B, M, H, W), got {tuple(batch.masks.shape)}."
        )
    devices = {
        name: (part.values if isinstance(part, Rows) else part).device
        for name, part in parts
        if not isinstance(part, tuple)
    }
    if len(set(devices.values())) > 1:
        raise ValueError(
            "All parts of a Batch must be on one device, got "
            + ", ".join(f"{name} on {device}" for name, device in devices.items())
            + ". Move them with .to(device)."
        )
    sizes = {name: part.count if isinstance(part, Rows) else len(part) for name, part in parts}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            "All parts of a Batch must have one entry an image, got "
            + ", ".join(f"{size} {name}" for name, size in sizes.items())
            + "."
        )


def _check_files(files: Any) -> None:
    if not isinstance(files, tuple) or not all(isinstance(file, str) for file in files):
        raise TypeError(f"`files` must be a tuple of texts, one an image, got {files!r:.60}.")


def _check_images(images: Tensor | None) -> None:
    if images is None:
        return
    if images.ndim == 0:
        raise ValueError("`images` must have a batch dimension, got a scalar.")
    if not images.is_floating_point() and images.dtype != torch.uint8:
        raise TypeError(
            f"`images` must be float in [0, 1] or uint8, got {images.dtype}. Convert to float and "
            "divide by the largest value that a pixel can have."
        )


def _check_labels(labels: Tensor | None) -> None:
    if labels is None:
        return
    if labels.ndim not in (1, 2):
        raise ValueError(
            f"`labels` must be (B,) class numbers or (B, K) class probabilities, got "
            f"{tuple(labels.shape)}."
        )
    if labels.ndim == 1 and (labels.is_floating_point() or labels.dtype == torch.bool):
        raise TypeError(
            f"`labels` of shape (B,) must be integer class numbers, got {labels.dtype}. "
            "Convert with .long(), or give (B, K) class probabilities."
        )
