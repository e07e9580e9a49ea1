"""Trains a network, or several of one shape side by side, for a fixed number of steps.

Several are trained as one network with a stack of weights: the loss is a sum and the optimiser
works number by number, so it is the same as one after another, in less time where a single step is
mostly overhead (tiny images on a CPU, anything small on a GPU).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from albu_learned.batch import as_floats
from albu_learned.comparison.networks import Nearest
from albu_learned.comparison.pipeline import Pipeline
from albu_learned.comparison.settings import NEAREST, SMALL, Settings
from albu_learned.data import Rows
from albu_learned.fitting import in_precision
from albu_learned.pstn import PSTN

__all__ = ["Feed", "Run", "predict", "state_of", "together", "train"]

KEPT = 2**31  # bytes of rows that are kept in memory; larger sets are read batch by batch
FIRST = 64  # rows that are read to see how large they are
SMALL_IMAGE = 16 * 16  # pixels, up to which stacks are faster on a CPU
REMEMBERED = 2000  # samples, or all rows where there are more, of the nearest-neighbour classifier
MOST = {"cpu": 12, "cuda": 32}  # networks in a stack


class Feed:
    """Rows of a data set on the device, kept there if they are not too many."""

    def __init__(self, rows: Rows, numbers: Tensor, device: torch.device) -> None:
        self.rows, self.numbers, self.device = rows, numbers, device
        self.labels = rows.labels[numbers].to(device)
        # What was fitted to it and its parts: other arms have the same fit.
        self.fits: dict[object, Any] = {}
        self.kept: Tensor | None = None
        first = rows.read(numbers[:FIRST])
        if first[:1].numel() * first.element_size() * len(numbers) <= KEPT:
            rest = rows.read(numbers[FIRST:]) if len(numbers) > FIRST else first[:0]
            self.kept = torch.cat([first, rest]).to(device)

    def __len__(self) -> int:
        return len(self.numbers)

    def part(self, mask: Tensor) -> Feed:
        """Some of the rows, not read again."""
        twin = copy.copy(self)
        twin.numbers = self.numbers[mask]
        twin.labels = self.labels[mask.to(self.device)]
        twin.kept = None if self.kept is None else self.kept[mask.to(self.device)]
        return twin

    def __getitem__(self, chosen: Tensor) -> Tensor:
        return as_floats(self.read(chosen).to(self.device))

    def read(self, chosen: Tensor) -> Tensor:
        """Some of the rows as they are stored."""
        if self.kept is None:
            return self.rows.read(self.numbers[chosen])
        return self.kept[chosen.to(self.device)]


@dataclass
class Run:
    """One training: the network that it changes, what it sees, and in which order."""

    network: nn.Module
    feed: Feed
    batches: Tensor  # (steps, batch), numbers of the feed
    pipeline: Pipeline
    seed: int

    def epoch(self, step: int) -> int:
        return step * self.batches.shape[1] // len(self.feed)


def together(settings: Settings, shape: tuple[int, ...]) -> int:
    """How many trainings of an arm go side by side."""
    if settings.precision == "float16":
        return 1  # one that overflows would stop the others
    if settings.model != SMALL:
        return 1  # batch normalisation and the like keep figures that are not weights
    if settings.together is not None:
        return settings.together
    device = torch.device(settings.device or "cpu").type
    tiny = torch.Size(shape[1:]).numel() <= SMALL_IMAGE
    return MOST.get(device, 1) if tiny or device == "cuda" else 1


def train(runs: Sequence[Run], settings: Settings, learning_rate: float) -> None:
    """Trains the networks of all runs, which differ in nothing but what they see."""
    device = torch.device(settings.device or "cpu")
    if settings.model == NEAREST:
        for run in runs:
            _remember(run, device)
        return
    networks = [run.network.to(device).train() for run in runs]
    stack = len(runs) > 1
    weights: dict[str, Tensor] = dict(networks[0].named_parameters())
    if stack:
        weights = stack_module_state(networks)[0]
    optimizer = torch.optim.AdamW(weights.values(), weight_decay=0.05)
    steps = len(runs[0].batches)
    # The last step of the schedule would be at a rate of nothing.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1)
    # Where half precision would lose small gradients.
    scaler = torch.amp.GradScaler(device.type, 2.0**10, enabled=settings.precision == "float16")
    streams = [_Stream(run.seed, device) for run in runs]
    dropout = _Stream(runs[0].seed + 1, device)
    with torch.random.fork_rng(devices=_cuda(device)):
        for step in range(steps):
            images, soft = [], []
            for run, stream in zip(runs, streams, strict=True):
                rows = run.batches[step]
                with stream.used():
                    changed = run.pipeline(
                        run.feed[rows], run.feed.labels[rows.to(device)], run.epoch(step)
                    )
                images.append(changed[0])
                soft.append(changed[1])
            optimizer.zero_grad()
            with precise(settings), dropout.used():
                if stack:
                    logits = _stacked(networks[0], weights, torch.stack(images))
                    loss = torch.stack([*map(_loss, logits, soft)]).sum()
                else:
                    loss = _own_loss(networks[0], images[0], soft[0])
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
    for number, run in enumerate(runs):
        run.pipeline.close()
        if stack:
            run.network.load_state_dict({k: w.detach()[number] for k, w in weights.items()})


@torch.no_grad()
def _remember(run: Run, device: torch.device) -> None:
    """What stands for training where the classifier is its samples: each of the rows as often as
    any, changed as the arm changes them."""
    standardise, nearest = cast(nn.Sequential, run.network.to(device))
    assert isinstance(nearest, Nearest)
    count = max(REMEMBERED, len(run.feed))  # the first batches hold every row once
    stream = _Stream(run.seed, device)
    with torch.random.fork_rng(devices=_cuda(device)), stream.used():
        for step, rows in enumerate(run.batches[: -(-count // run.batches.shape[1])]):
            labels = run.feed.labels[rows.to(device)]
            changed, soft = run.pipeline(run.feed[rows], labels, run.epoch(step))
            nearest.remember(standardise(changed), soft.argmax(dim=1))
    run.pipeline.close()


def _loss(logits: Tensor, soft: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), soft)


def _own_loss(network: nn.Module, images: Tensor, soft: Tensor) -> Tensor:
    """The cross-entropy; of a PSTN with its KL, without which it would be another model."""
    if isinstance(network, nn.Sequential) and isinstance(network[-1], PSTN):
        return network[-1].loss(network[:-1](images), soft)
    return _loss(network(images), soft)


def _stacked(network: nn.Module, weights: dict[str, Tensor], images: Tensor) -> Tensor:
    def one(weights: dict[str, Tensor], images: Tensor) -> Tensor:
        logits: Tensor = functional_call(network, weights, (images,))
        return logits

    logits: Tensor = vmap(one)(weights, images)
    return logits


@torch.no_grad()
def predict(network: nn.Module, feed: Feed, settings: Settings, batch: int = 256) -> Tensor:
    """(N, K) log-probabilities in float32, on the CPU."""
    network = network.to(feed.device).eval()
    found = []
    for start in range(0, len(feed), batch):
        rows = torch.arange(start, min(start + batch, len(feed)))
        with precise(settings):
            logits = network(feed[rows])
        found.append(F.log_softmax(logits.float(), dim=1).cpu())
    return torch.cat(found)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def precise(settings: Settings) -> AbstractContextManager[object]:
    return in_precision(settings.precision, torch.device(settings.device or "cpu"))


class _Stream:
    """The random numbers of one run, apart from those of its neighbours: what a training draws
    does not depend on which others are trained with it."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        with torch.random.fork_rng(devices=_cuda(device)):
            torch.manual_seed(seed)
            self.states = self._now()

    def _now(self) -> list[Tensor]:
        gpu = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *gpu]

    @contextmanager
    def used(self) -> Iterator[None]:
        torch.set_rng_state(self.states[0])
        if len(self.states) > 1:
            torch.cuda.set_rng_state(self.states[1], self.device)
        yield
        self.states = self._now()


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
