"""Trains all networks as one program, and keeps the weights that explain held-out images best.

Each network has its own images, its own random numbers, its own loss: it learns what it would learn
alone. Only when to stop is decided by all of them together, since the few held-out images of one
class say little. A training is cut into rounds; what a round draws depends on its number alone, so
that one that was stopped goes on with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from albu_learned.batch import as_floats
from albu_learned.fitting import Checkpoint, diverged, in_precision, restore, seeded, state_of
from albu_learned.methods.class_vae.loss import divergence
from albu_learned.methods.class_vae.network import Networks

__all__ = ["History", "Images", "Schedule", "explained", "train"]

ROUND = 25  # steps, after each of which held-out images are looked at
KEPT = 8  # rounds, after each of which a checkpoint is written
_BLOCK = 256  # held-out images of each network that are looked at at a time
_LOOKS = 4  # draws of z for each held-out image


@dataclass(frozen=True)
class Images:
    """What the networks learn from.

    Args:
        pixels: (N, C, H, W), uint8 or floats.
        member: (N,) the number of each image's class in its network.
        rows: of each network, the numbers of the images that it learns from.
        held: likewise, of those that are held out.
    """

    pixels: Tensor
    member: Tensor
    rows: Sequence[Tensor]
    held: Sequence[Tensor]

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, G, C, H, W) and their classes (B, G) by number (B, G)."""
        return as_floats(self.pixels[rows]), self.member[rows]


@dataclass(frozen=True)
class Schedule:
    """How to train; see `ClassVAE.fit`."""

    steps: int
    batch: int
    learning_rate: float
    beta: float
    free_bits: float
    patience: int  # steps without a better look at the held-out images
    optimizer: str
    precision: str
    seed: int


@dataclass(frozen=True)
class History:
    """What happened, for each round: (rounds, networks) minus the evidence lower bound in nats an
    image, of the images learned from and of those held out (NaN where there are none)."""

    train: Tensor
    held: Tensor
    best: int  # round


def train(
    networks: Networks,
    images: Images,
    schedule: Schedule,
    store: Checkpoint,
    tell: Callable[[int], object] = lambda steps: None,
    name: str = "rounds",
) -> History:
    """Trains in place; the networks end with the weights of the best round. Checkpoints have this
    name."""
    training = _Training(networks, images, schedule)
    rounds = math.ceil(schedule.steps / ROUND)
    first = 0
    for last in reversed(range(KEPT, rounds, KEPT)):  # the latest checkpoint, if there is one
        if store.has(f"{name}{last:05d}"):
            training.load(store.part(f"{name}{last:05d}", training.state))
            first = last
            break
    if first:
        tell(first * ROUND)
    for number in range(first, rounds):
        if training.tired(number):
            break
        training.round(number)
        tell(min(ROUND, schedule.steps - number * ROUND))
        if (number + 1) % KEPT == 0:
            store.part(f"{name}{number + 1:05d}", training.state)
    return training.finish()


class _Training:
    def __init__(self, networks: Networks, images: Images, schedule: Schedule) -> None:
        self.networks, self.images, self.schedule = networks, images, schedule
        self.parameters = list(networks.parameters())
        self.optimizer = _OPTIMIZERS[schedule.optimizer](self.parameters, schedule.learning_rate)
        self.best = [p.detach().clone() for p in self.parameters]
        self.losses: list[Tensor] = []  # of each round, (networks,)
        self.looks: list[Tensor] = []
        self.best_round = -1

    def round(self, number: int) -> None:
        first = number * ROUND
        last = min(first + ROUND, self.schedule.steps)
        total = torch.zeros(len(self.images.rows), dtype=torch.float64)
        for offset, (rows, present, noise) in enumerate(self._drawn(number, last - first)):
            total += self._step(first + offset, rows, present, noise)
        self.losses.append(total / (last - first))
        self._look()

    def _step(self, step: int, rows: Tensor, present: Tensor, noise: Tensor) -> Tensor:
        """One step of all networks, and their losses."""
        pixels, member = self.images.at(rows)
        with in_precision(self.schedule.precision, self.images.pixels.device):
            mean, log_variance = self.networks.encode(pixels, member)
            z = mean + (0.5 * log_variance).exp() * noise
            logits = self.networks.decode(z, member)
        share = present / present.sum(dim=0)  # of each image in its network's loss, (B, G)
        error = (share * self.networks.misfit(logits.float(), pixels)).sum(dim=0)
        each = (share[..., None] * divergence(mean.float(), log_variance.float())).sum(dim=0)
        loss = error + self.schedule.beta * each.clamp(min=self.schedule.free_bits).sum(dim=1)
        self.optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        found = (error + each.sum(dim=1)).detach().double().cpu()
        bad = found[~found.isfinite()]
        if len(bad):
            raise diverged(bad[0].item(), step, self.schedule.learning_rate)
        return found

    def _drawn(self, number: int, steps: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each step of a round: (B, G) numbers of images, which of these are present, and noise
        (B, G, latent). Networks with fewer images have smaller batches, filled up with nothing."""
        sizes = [min(self.schedule.batch, len(own)) for own in self.images.rows]
        rows = torch.zeros(steps, max(sizes), len(sizes), dtype=torch.int64)
        # Of single precision, as networks are, whatever torch makes unless told.
        present = torch.zeros(max(sizes), len(sizes), dtype=torch.float32)
        noise = torch.zeros(steps, max(sizes), len(sizes), self.networks.latent).float()
        for network, (own, size) in enumerate(zip(self.images.rows, sizes, strict=True)):
            generator = seeded(self.schedule.seed, "round", number, own)
            rows[:, :size, network] = own.cpu()[_orders(len(own), steps * size, generator)].view(
                steps, size
            )
            present[:size, network] = 1
            noise[:, :size, network] = torch.randn(
                steps, size, self.networks.latent, generator=generator, dtype=torch.float32
            )
        place = self.images.pixels.device
        rows, present, noise = rows.to(place), present.to(place), noise.to(place)
        for step in range(steps):
            yield rows[step], present, noise[step]

    def _look(self) -> None:
        """Looks at the held-out images, and keeps the weights if they were never explained better;
        where there are none, the latest weights are the best."""
        found = explained(self.networks, self.images, self.images.held, self.schedule.seed)
        counts = torch.tensor([len(own) for own in self.images.held])
        self.looks.append(torch.tensor([own.mean() if len(own) else math.nan for own in found]))
        means = [float((look.nan_to_num() * counts).sum()) for look in self.looks]
        if means[-1] <= min(means):
            self.best_round = len(means) - 1
            with torch.no_grad():
                for kept, parameter in zip(self.best, self.parameters, strict=True):
                    kept.copy_(parameter)

    def tired(self, number: int) -> bool:
        """Whether held-out images have been explained no better for so long that nothing is hoped
        for."""
        return (number - 1 - self.best_round) * ROUND >= self.schedule.patience

    def finish(self) -> History:
        with torch.no_grad():
            for kept, parameter in zip(self.best, self.parameters, strict=True):
                parameter.copy_(kept)
        return History(torch.stack(self.losses), torch.stack(self.looks), self.best_round)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next round needs."""
        kept = {"losses": torch.stack(self.losses), "looks": torch.stack(self.looks)}
        kept["best_round"] = torch.tensor(self.best_round)
        return {**state_of(self.optimizer, self._weights()), **kept}

    def load(self, kept: dict[str, Tensor]) -> None:
        restore(self.optimizer, self._weights(), kept)
        self.losses, self.looks = list(kept["losses"]), list(kept["looks"])
        self.best_round = int(kept["best_round"])

    def _weights(self) -> dict[str, Sequence[Tensor]]:
        return {"best": self.best, "now": self.parameters}


@torch.no_grad()
def explained(
    networks: Networks, images: Images, rows: Sequence[Tensor], seed: int
) -> list[Tensor]:
    """Minus the evidence lower bound of the images of each network, in nats; the same noise at
    every call."""
    most = max(len(own) for own in rows)
    found: list[list[Tensor]] = [[] for _ in rows]
    place = images.pixels.device
    for start in range(0, most, _BLOCK):
        parts = [own[start : start + _BLOCK] for own in rows]
        wide = max(len(part) for part in parts)
        filled = torch.zeros(wide, len(rows), dtype=torch.int64, device=place)
        for network, part in enumerate(parts):
            filled[: len(part), network] = part.to(place)
        generator = seeded(seed, "look", start)
        noise = torch.randn(
            _LOOKS, wide, 1, networks.latent, generator=generator, dtype=torch.float32
        ).to(place)
        pixels, member = images.at(filled)
        mean, log_variance = networks.encode(pixels, member)
        total = divergence(mean, log_variance).sum(dim=2)
        for draw in noise:
            logits = networks.decode(mean + (0.5 * log_variance).exp() * draw, member)
            total = total + networks.misfit(logits, pixels) / _LOOKS
        for network, part in enumerate(parts):
            found[network].append(total[: len(part), network].cpu())
    return [torch.cat(own) if own else torch.zeros(0) for own in found]


def _orders(count: int, wanted: int, generator: torch.Generator) -> Tensor:
    """Row numbers, every one as often as any other."""
    times = -(-wanted // count)
    return torch.cat([torch.randperm(count, generator=generator) for _ in range(times)])[:wanted]


def _adam(parameters: Iterable[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, rate, fused=True)  # half of a step's time, if not


def _rmsprop(parameters: Iterable[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(parameters, rate, alpha=0.9, eps=1e-7)  # as Keras has them


_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": _adam, "rmsprop": _rmsprop}
