"""What an arm does to a training batch, built for one set of classes: rows in, rows and soft labels
out. Randomness is torch's own in the process, seeded for every training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.batch import Batch
from albu_learned.spec import Step, Tally

__all__ = ["Learned", "Mixup", "Pipeline"]

Change = Callable[[Batch], Batch]


@dataclass(frozen=True)
class Mixup:
    """Mixes each row with another of the batch, with one weight for all from Beta(alpha, alpha); a
    share p of the batches."""

    alpha: float
    p: float
    classes: int

    def __call__(self, batch: Batch) -> Batch:
        assert batch.images is not None
        assert batch.labels is not None
        if torch.rand(()) >= self.p:
            return batch
        weight = torch.distributions.Beta(self.alpha, self.alpha).sample()
        # Swapping the weights swaps samples and partners, which leaves the distribution of the
        # batch as it is; so the sample itself can always be the one that leads.
        weight = torch.maximum(weight, 1 - weight).to(batch.images)
        partner = torch.randperm(len(batch.images)).to(batch.images.device)
        soft = one_hot(batch.labels, self.classes)
        return Batch(
            images=torch.lerp(batch.images[partner], batch.images, weight),
            labels=torch.lerp(soft[partner], soft, weight),
        )


class Learned:
    """Methods of a spec, applied in its order, each in the epochs and rows that it names."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.tally = Tally([step.entry for step in steps])

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        for number, step in enumerate(self.steps):
            if step.entry.active(epoch):
                shown = len(batch)
                batch, changed = step(batch)
                if step.entry.kind == "mix":  # p is decided for all rows at once
                    shown, changed = int(shown > 1), min(changed, 1)
                self.tally.add(number, shown, changed)
        return batch


@dataclass
class Pipeline:
    """Everything that happens to a batch, in order.

    Args:
        changes: what is not from a spec and what is, in the order in which they work.
        smoothing: of the labels, at the end.
        plain: the share of rows that are given back untouched: what `dilution` is.
    """

    classes: int
    changes: Sequence[Change | Learned] = ()
    smoothing: float = 0.0
    plain: float = 0.0
    epoch: int = field(default=0, init=False)

    def to(self, device: torch.device) -> Pipeline:
        for change in self.changes:
            for step in change.steps if isinstance(change, Learned) else ():
                step.to(device)
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        if epoch != self.epoch:
            self.close()
            self.epoch = epoch
        batch = Batch(images=images, labels=labels)
        for change in self.changes:
            batch = change(batch, epoch) if isinstance(change, Learned) else change(batch)
        changed, soft = batch.images, batch.labels
        assert changed is not None
        assert soft is not None
        hard = one_hot(labels, self.classes)
        soft = soft if soft.ndim == 2 else hard
        if self.plain:
            rows = (torch.rand(len(images)) < self.plain).to(images.device)
            changed = torch.where(rows.view(-1, *[1] * (images.ndim - 1)), images, changed)
            soft = torch.where(rows[:, None], hard, soft)
        return changed, (1 - self.smoothing) * soft + self.smoothing / self.classes

    def close(self) -> None:
        """Raises if a method of a spec did nothing in the epoch that ends."""
        for change in self.changes:
            if isinstance(change, Learned):
                change.tally.close(self.epoch)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).float()
