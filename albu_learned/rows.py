"""Ragged rows: the boxes, points or instances of a batch in one flat table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Rows", "rank_in_group"]


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
