"""What all processes of one loader share: the epoch, and how much was done in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from albu_learned.batch import Batch
from albu_learned.spec import Entry, Step

__all__ = ["Clock", "Counts", "Stage", "Teller", "needs_labels", "work"]

Stage = list[tuple[int, Step]]  # steps, with the numbers of their entries


class Clock:
    """The epoch, in shared memory: workers persist, and would keep the one they started with.

    `set_epoch` of the dataset tells it, before each iteration. Where nothing depends on the epoch
    nobody needs to, and iterations are counted.

    Args:
        needed: the place of an entry that is limited to some epochs, if there is one. Then it must
            be told: a look at one batch, or a resumed training, would be counted wrongly.
    """

    def __init__(self, needed: str | None = None) -> None:
        self.value = torch.full((1,), -1, dtype=torch.int64).share_memory_()
        self.needed = needed
        self.told = False

    @property
    def epoch(self) -> int:
        return max(int(self.value.item()), 0)

    def active(self, stage: Stage) -> Stage:
        """The steps of a stage that are used in this epoch."""
        return [(number, step) for number, step in stage if step.entry.active(self.epoch)]

    def tell(self, epoch: int) -> None:
        self.value.fill_(int(epoch))
        self.told = True

    def start(self) -> int:
        """A new iteration; its epoch."""
        if not self.told and self.needed is not None:
            raise RuntimeError(
                f"{self.needed}: `from_epoch` and `until_epoch` need to know the epoch, but nobody "
                "told it. Call loader.dataset.set_epoch(epoch) before each epoch, as timm's "
                "train.py does."
            )
        if not self.told:
            self.value.add_(1)
        self.told = False
        return self.epoch


class Teller:
    """`set_epoch` of a dataset that is not wrapped: tells the clocks of its loaders, then it."""

    def __init__(self, dataset: object, clock: Clock) -> None:
        before: Any = getattr(dataset, "set_epoch", None)
        again = isinstance(before, Teller)
        self.own: Any = before.own if again else before
        self.clocks: list[Clock] = [*(before.clocks if again else []), clock]

    def __call__(self, epoch: int) -> None:
        for clock in self.clocks:
            clock.tell(epoch)
        if self.own is not None:
            self.own(epoch)


class Counts:
    """Rows shown to every entry, and rows changed, since the loader was made. Every process has a
    place of its own, so that none overwrites what another counts."""

    def __init__(self, entries: Sequence[Entry], workers: int) -> None:
        self.entries = entries
        self.table = torch.zeros(workers + 1, len(entries), 2, dtype=torch.int64).share_memory_()

    def add(self, number: int, shown: int, changed: int) -> None:
        info = get_worker_info()
        place = self.table[0 if info is None else info.id + 1, number]
        place += torch.tensor([shown, changed])

    def total(self) -> Tensor:
        """(entries, 2)."""
        return self.table.sum(dim=0)


def needs_labels(stage: Stage) -> bool:
    return any("labels" in step.method.needs for _, step in stage)


def work(stage: Stage, batch: Batch, counts: Counts) -> tuple[Batch, int]:
    """The batch after the steps of a stage, and how often a row was changed."""
    total = 0
    for number, step in stage:
        shown = len(batch)
        batch, changed = step(batch)
        counts.add(number, shown, changed)
        total += changed
    return batch, total
