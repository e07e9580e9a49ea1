"""The order of training images, which must not depend on how they are augmented."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import RandomSampler

__all__ = ["Order"]


class Order(RandomSampler):
    """The images in an order that the seed and the epoch alone decide.

    The host's order also depends on how often its loader was started anew, which augmentation that
    begins or ends with an epoch makes it do, and its workers have drawn a part of the next by then.
    """

    seed: int
    epoch: int

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        self.epoch += 1
        yield from torch.randperm(len(self), generator=generator).tolist()
