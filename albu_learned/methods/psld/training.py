"""Trains one network: steps of AdamW, an average of the weights, checkpoints to go on from.

What a step draws depends on its number alone, so that a training which was stopped goes on with the
same bits (on a CPU; the sums of CUDA come in no set order).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from albu_learned.fitting import Checkpoint, diverged, in_precision, restore, seeded, state_of

__all__ = ["Schedule", "train"]

_WARM = 0.05  # of the steps, in which the rate rises; after that it falls to nothing
_PARTS = 20  # checkpoints of a training
_LEAST = 25  # steps between them
_CLIP = 1.0  # the largest norm of a gradient
Loss = Callable[[torch.Generator], Tensor]  # of one batch, drawn by the generator


@dataclass(frozen=True)
class Schedule:
    """How to train; see `LatentDiffusion.fit`."""

    steps: int
    learning_rate: float
    decay: float  # of the average of the weights
    precision: str
    seed: int

    @property
    def every(self) -> int:
        """After how many steps a checkpoint is written."""
        return max(_LEAST, self.steps // _PARTS)

    def rate(self, step: int) -> float:
        """Rises along a line, falls along a cosine."""
        warm = max(1.0, _WARM * self.steps)
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * min((step + 1) / warm, 1.0) * fall


def train(
    network: torch.nn.Module,
    loss: Loss,
    schedule: Schedule,
    store: Checkpoint,
    tell: Callable[[int], object],
    name: str,
) -> float:
    """Trains those of the network's weights that ask for gradients, in place: it ends with their
    average. Returns the loss of the last twentieth of the steps.

    Args:
        network: on the device where it is trained.
        loss: of one batch.
        schedule: how.
        store: where checkpoints are, by this name.
        tell: told how many more steps are done.
        name: of what is trained.
    """
    training = _Training(network, schedule, name)
    done = store.has(name)
    kept = store.part(name, lambda: training.run(loss, store, tell))
    training.load_average(kept)
    if done:
        tell(schedule.steps)
    for step in training.stops():
        store.drop(training.part(step))
    network.eval().requires_grad_(False)
    return float(kept["losses"][-max(1, schedule.steps // 20) :].mean())


class _Training:
    def __init__(self, network: torch.nn.Module, schedule: Schedule, name: str) -> None:
        self.network, self.schedule, self.name = network, schedule, name
        self.parameters: list[Tensor] = [p for p in network.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(self.parameters, schedule.learning_rate)
        self.losses = torch.zeros(schedule.steps, device=self.parameters[0].device)

    def part(self, step: int) -> str:
        return f"{self.name}{step:07d}"

    def stops(self) -> range:
        """The steps after which there are checkpoints."""
        return range(self.schedule.every, self.schedule.steps, self.schedule.every)

    def run(
        self, loss: Loss, store: Checkpoint, tell: Callable[[int], object]
    ) -> dict[str, Tensor]:
        """All steps, or those after the last checkpoint; returns what is kept."""
        self.network.train()
        first = next((n for n in reversed(self.stops()) if store.has(self.part(n))), 0)
        if first:
            self.load(store.part(self.part(first), self.state))
            tell(first)
        for step in range(first, self.schedule.steps):
            self.step(step, loss)
            tell(1)
            if step + 1 in self.stops():
                store.part(self.part(step + 1), self.state)
                store.drop(self.part(step + 1 - self.schedule.every))
        return self.averages()

    def step(self, step: int, loss: Loss) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        with in_precision(self.schedule.precision, self.losses.device):
            found = loss(seeded(self.schedule.seed, self.name, step))
        self.optimizer.zero_grad(set_to_none=True)
        found.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, _CLIP)
        self.optimizer.step()
        decay = min(self.schedule.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        self.losses[step] = found.detach()
        if (step + 1) % _LEAST == 0 or step + 1 == self.schedule.steps:
            self._check(step)

    def _check(self, step: int) -> None:
        if not self.losses[: step + 1].isfinite().all():
            raise diverged(self.losses[step].item(), step, self.schedule.learning_rate)

    def averages(self) -> dict[str, Tensor]:
        """The weights that are kept in the end, and how the losses were."""
        kept = {str(i): tensor.cpu() for i, tensor in enumerate(self.average)}
        return {**kept, "losses": self.losses.cpu()}

    def load_average(self, kept: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters):
                parameter.copy_(kept[str(i)])

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step needs."""
        return {**state_of(self.optimizer, self._weights()), "losses": self.losses.cpu()}

    def load(self, kept: dict[str, Tensor]) -> None:
        restore(self.optimizer, self._weights(), kept)
        self.losses.copy_(kept["losses"])

    def _weights(self) -> dict[str, Sequence[Tensor]]:
        return {"average": self.average, "now": self.parameters}
