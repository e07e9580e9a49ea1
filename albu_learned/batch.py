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

__all__ = ["Batch", "Rows"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Boxes, points or instance masks of a batch: any number for each image, in one flat table.

    Args:
        values: (N, ...), one row an object.
        image: (N,), the image of the batch that each row lies on; not decreasing.
        count: how many images the batch has (some may have no row).
        source: (N, 2), the (image, row) that each row was before the change. A door reads here
            which of its own columns (class ids, track ids) belong to a row.
        valid: (N,), false where the row has left the frame or was padding.
    """

    values: Tensor
    image: Tensor
    count: int
    source: Tensor
    valid: Tensor

    @classmethod
    def of(cls, per_image: Rows | Tensor | Sequence[Tensor]) -> Rows:
        """A table from one tensor an image, or from one tensor (B, N, ...) for all."""
        if isinstance(per_image, Rows):
            return per_image
        parts = [torch.as_tensor(part) for part in per_image]
        lengths = torch.tensor([len(part) for part in parts], dtype=torch.long)
        values = torch.cat(parts) if parts else torch.zeros(0)
        image = torch.repeat_interleave(torch.arange(len(parts)), lengths)
        return cls.at(values, image.to(values.device), len(parts))

    @classmethod
    def at(cls, values: Tensor, image: Tensor, count: int, valid: Tensor | None = None) -> Rows:
        """A table of rows that have not been changed yet: each is its own source."""
        source = torch.stack([image, rank_in_group(image)], dim=1)
        everything = torch.ones(len(values), dtype=torch.bool, device=values.device)
        return cls(values, image, count, source, everything if valid is None else valid)

    def __len__(self) -> int:
        return len(self.values)

    def split(self) -> list[Rows]:
        """One table an image."""
        return [self.take((self.image == i).nonzero()[:, 0]) for i in range(self.count)]

    def take(self, rows: Tensor) -> Rows:
        """The given rows of the table, in the order given."""
        return Rows(
            self.values[rows], self.image[rows], self.count, self.source[rows], self.valid[rows]
        )

    def select(self, images: Tensor) -> Rows:
        """The rows that lie on the given images, renumbered to 0, 1, ... in the order given."""
        new_number = torch.full((self.count,), -1, dtype=torch.long, device=self.image.device)
        new_number[images] = torch.arange(len(images), device=self.image.device)
        kept = (new_number[self.image] >= 0).nonzero()[:, 0]
        kept = kept[torch.argsort(new_number[self.image[kept]], stable=True)]
        rows = self.take(kept)
        return replace(rows, image=new_number[rows.image], count=len(images))

    def put(self, images: Tensor, changed: Rows) -> Rows:
        """This table with the rows of the given images replaced by `changed` (see `select`)."""
        others = torch.ones(self.count, dtype=torch.bool, device=self.image.device)
        others[images] = False
        kept = self.take(others[self.image].nonzero()[:, 0])
        joined = Rows(
            torch.cat([kept.values, changed.values.to(kept.values.dtype)]),
            torch.cat([kept.image, images[changed.image]]),
            self.count,
            torch.cat([kept.source, changed.source]),
            torch.cat([kept.valid, changed.valid]),
        )
        return joined.take(torch.argsort(joined.image, stable=True))

    def pad(self) -> tuple[Tensor, Tensor]:
        """(B, most rows of an image, ...) with zeros behind each image's rows, and the flat place
        (N,) in its first two dimensions at which each row stands."""
        rank = rank_in_group(self.image)
        width = int(rank.max()) + 1 if len(rank) else 0
        place = self.image * width + rank
        padded = self.values.new_zeros(self.count * width, *self.values.shape[1:])
        padded = padded.index_copy(0, place, self.values)
        return padded.view(self.count, width, *self.values.shape[1:]), place


def rank_in_group(group: Tensor) -> Tensor:
    """0, 1, 2, ... within each run of equal numbers of a sorted (N,) tensor."""
    return torch.arange(len(group), device=group.device) - torch.searchsorted(group, group)


@dataclass(frozen=True, eq=False)
class Batch:
    """Images or series, with whatever belongs to them. Every part is optional.

    Nothing is ever changed in place: a method returns a new batch.

    Args:
        images: (B, C, H, W) images or (B, C, T) series, RGB, float in [0, 1] or uint8.
        labels: (B,) class numbers, or (B, K) class probabilities ("soft" labels).
        masks: (B, H, W) or (B, M, H, W); integer (class maps, resampled to the nearest pixel) or
            float (soft masks).
        boxes: x1, y1, x2, y2 of every box as fractions of the image (see the module's page); one
            (N, 4) tensor an image, one (B, N, 4) tensor, or `Rows`. For series x1, x2.
        points: x, y of every point, likewise (N, 2); for series x alone.
        instances: (N, H, W) masks, one for each object of an image.

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
        for field in fields(self):
            part = getattr(self, field.name)
            if part is not None:
                return torch.device((part.values if isinstance(part, Rows) else part).device)
        return torch.device("cpu")

    def select(self, rows: Tensor) -> Batch:
        """The images whose numbers are given, with everything that lies on them."""
        chosen: dict[str, Any] = {}
        for name, part in _parts(self):
            if isinstance(part, Rows):
                chosen[name] = part.select(rows.to(part.image.device))
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
            else:
                merged[name] = part.index_copy(0, rows.to(part.device), new.to(part.dtype))
        return Batch(**merged)


def _parts(batch: Batch) -> list[tuple[str, Tensor | Rows]]:
    named = [(field.name, getattr(batch, field.name)) for field in fields(batch)]
    return [(name, part) for name, part in named if part is not None]


def _boxes(given: Tensor | Sequence[Tensor]) -> Rows:
    rows = _coordinates("boxes", given, "x1, y1, x2, y2", (2, 4))
    half = rows.values.shape[1] // 2
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
        if not isinstance(part, (Tensor, Rows)):
            raise TypeError(f"`{name}` must be a torch.Tensor, got {type(part).__name__}.")
    _check_images(batch.images)
    _check_labels(batch.labels)
    if batch.masks is not None and batch.masks.ndim not in (3, 4):
        raise ValueError(
            f"`masks` must be (B, H, W) or (B, M, H, W), got {tuple(batch.masks.shape)}."
        )
    devices = {name: (p.values if isinstance(p, Rows) else p).device for name, p in parts}
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


def _check_images(images: Tensor | None) -> None:
    if images is None:
        return
    if images.ndim == 0:
        raise ValueError("`images` must have a batch dimension, got a scalar.")
    if not images.is_floating_point() and images.dtype != torch.uint8:
        raise TypeError(
            f"`images` must be float or uint8, got {images.dtype}. Convert with .float() / 255."
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
