"""A loader of timm with learned methods on its batches, on the device where they are."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, distributed

from albu_learned.batch import Batch
from albu_learned.spec import Spec, Tally
from albu_learned.timm.epochs import Clock, Counts, Stage, needs_labels, work
from albu_learned.timm.mixes import Mixes

__all__ = ["LearnedLoader", "Normal"]

_logger = logging.getLogger("albu_learned")


class Normal:
    """The normalisation of a loader, and its inverse: methods see images in [0, 1]."""

    def __init__(self, mean: Any, std: Any) -> None:
        """From means and standard deviations of the channels, as fractions of white."""
        self.mean = torch.as_tensor(mean, dtype=torch.float32).view(1, -1, 1, 1)
        self.std = torch.as_tensor(std, dtype=torch.float32).view(1, -1, 1, 1)

    def to(self, device: torch.device) -> None:
        self.mean, self.std = self.mean.to(device), self.std.to(device)

    def unit(self, images: Tensor) -> Tensor:
        """Images in [0, 1]. Random erasing, which comes before, may have left noise beyond."""
        return (images.float() * self.std + self.mean).clamp(0, 1)

    def normalised(self, images: Tensor, like: Tensor) -> Tensor:
        return ((images.clamp(0, 1) - self.mean) / self.std).to(like.dtype)


class LearnedLoader:
    """Yields what timm's loader yields, with the steps of the stage "batch" done.

    At the end of every epoch that is not left early it raises if a method of the spec did nothing
    in it. Everything that it does not have itself is the loader's within.
    """

    def __init__(
        self,
        loader: Any,
        spec: Spec,
        batch: Stage,
        normal: Normal,
        clock: Clock,
        counts: Counts,
        mixes: Mixes | None = None,
        runs_ahead: bool = False,
    ) -> None:
        self.loader = loader
        self.spec, self.stage, self.normal = spec, batch, normal
        self.clock, self.counts = clock, counts
        self._tally = Tally(counts.entries)
        self.mixes = mixes
        self.runs_ahead = runs_ahead
        self._mixing = True
        self._device: torch.device | None = None

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name == "loader" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.loader, name)

    @property
    def mixup_enabled(self) -> bool:
        """Whether batches are mixed; train.py switches it off by `--mixup-off-epoch`."""
        if self.mixes is not None:
            return self._mixing
        return bool(getattr(self.loader, "mixup_enabled", False))

    @mixup_enabled.setter
    def mixup_enabled(self, on: bool) -> None:
        if self.mixes is not None:
            self._mixing = bool(on)
        else:
            self.loader.mixup_enabled = on

    def __iter__(self) -> Iterator[Any]:
        epoch = self.clock.start()
        # Workers that run ahead have done part of this epoch in the one before.
        before = torch.zeros_like(self.counts.total()) if self.runs_ahead else self.counts.total()
        empty = True
        for images, target, *others in map(_pair, self.loader):
            if self._device is None:
                self._announce()
            empty = False
            yield (*self._change(images, target), *others)
        if not empty:
            self._close(epoch, self.counts.total() - before)

    @torch.no_grad()
    def _change(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        self._follow(images.device)
        active = self.clock.active(self.stage)
        if active:
            labels = target if needs_labels(active) else None
            unit = self.normal.unit(images)
            result, changed = work(active, Batch(images=unit, labels=labels), self.counts)
            assert result.images is not None
            if changed:
                images = self._put(images, unit, result.images)
        if self.mixes is not None:
            return self.mixes(images, target, self._mixing, self.normal.unit)
        return images, target

    def _put(self, images: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """The changed rows, normalised again; the others keep every bit."""
        same = (before == after).flatten(1).all(dim=1).view(-1, 1, 1, 1)
        return torch.where(same, images, self.normal.normalised(after, images))

    def _follow(self, device: torch.device) -> None:
        if device != self._device:
            self.normal.to(device)
            for _, step in self.stage:
                step.to(device)
            self._device = device

    def _announce(self) -> None:
        if _rank() == 0:
            _logger.info("albu_learned is at work: %s.", self.spec)

    def _close(self, epoch: int, counted: Tensor) -> None:
        # Where workers run ahead, counts are those of all epochs already.
        tally = Tally(self.counts.entries) if self.runs_ahead else self._tally
        for number, (shown, changed) in enumerate(counted.tolist()):
            tally.add(number, shown, changed)
        tally.close(epoch)


def _pair(batch: Any) -> Any:
    if isinstance(batch, (tuple, list)) and len(batch) >= 2 and isinstance(batch[0], Tensor):
        return batch
    raise TypeError(
        "The loader must yield (images, targets) for methods on the batch, got "
        f"{type(batch).__name__}. Let the dataset yield pairs."
    )


def _rank() -> int:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    return int(os.environ.get("RANK") or 0)
