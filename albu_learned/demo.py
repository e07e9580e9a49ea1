"""The demo: does mixing help a small network that sees few handwritten digits?

Plain training, two controls and zeta-mixup on scikit-learn's digits (part of that package: nothing
is downloaded). Within a seed all arms share the training images, the initial weights and the order
of the batches, so their differences are paired; all take the same number of steps, and each looks
at the test images once, at its end. Nothing here was tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from albu_learned import preview
from albu_learned.methods.zeta_mixup import ZetaMixup
from albu_learned.verdict import Score, table, verdict

__all__ = ["Settings", "arms", "demo"]

CLASSES = 10
BATCH = 32
POOL = 1000  # training images come from the first so many; the others are for testing
MOST = 98  # images of the rarest digit among them
CONTROLS = ("label smoothing 0.1", "mixup")

Mixer = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
Weights = dict[str, Tensor]  # of several networks, stacked
Say = Callable[[str], object]


@dataclass(frozen=True)
class Settings:
    """How much the demo does."""

    seeds: int = 8
    per_class: int = 10
    steps: int = 300

    def __post_init__(self) -> None:
        for name in ("seeds", "per_class", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.per_class > MOST:
            raise ValueError(f"`per_class` must be at most {MOST}, got {self.per_class}.")


@dataclass(frozen=True)
class Digits:
    """The images to draw training images from, and those to test on; ink is 1, paper 0."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@dataclass(frozen=True)
class Trial:
    """What the arms of one seed share."""

    seed: int
    images: Tensor
    labels: Tensor
    batches: Tensor  # (steps, batch size), rows of `images`
    network: nn.Module  # the initial weights; every arm trains a copy


def demo(settings: Settings, out: Path, say: Say = print) -> dict[str, list[Score]]:
    """Draws the pictures, trains every arm, and tells what came of it."""
    digits = load_digits()
    for path in draw_pictures(digits, out):
        say(f"Wrote {path}")
    say(
        f"\nTraining on {settings.per_class} images of each digit, testing on "
        f"{len(digits.test_labels)} others. Seeds: {settings.seeds}; {settings.steps} steps of "
        f"{min(BATCH, CLASSES * settings.per_class)} images in every arm.\n"
    )
    scores = run(settings, digits)
    accuracies = {arm: [score.accuracy for score in of] for arm, of in scores.items()}
    say(table(scores))
    say("\n" + verdict(accuracies, CONTROLS))
    return scores


def arms() -> dict[str, Mixer]:
    """The ways to change a batch, by name. The first is the one to beat."""
    smoothing, *_ = CONTROLS
    return {
        "plain": lambda images, labels, _: (images, one_hot(labels)),
        smoothing: lambda images, labels, _: (images, 0.9 * one_hot(labels) + 0.1 / CLASSES),
        "mixup": mixup,
        "zeta-mixup gamma 2.8": _zeta_mixup(2.8),
        "zeta-mixup gamma 4": _zeta_mixup(4.0),
    }


def one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, CLASSES).float()


def mixup(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup with one weight for the batch, from Beta(1, 1), and permuted partners."""
    weight = torch.rand((), generator=generator)
    # Swapping the weights swaps samples and partners, which leaves the distribution of the batch
    # as it is; so sample i can always be the one that leads row i.
    weight = torch.maximum(weight, 1 - weight)
    partner = torch.randperm(len(images), generator=generator)
    soft = one_hot(labels)
    return torch.lerp(images[partner], images, weight), torch.lerp(soft[partner], soft, weight)


def _zeta_mixup(gamma: float) -> Mixer:
    method = ZetaMixup(gamma=gamma, num_classes=CLASSES)
    return lambda images, labels, generator: method(images, labels, generator=generator)


def load_digits() -> Digits:
    """scikit-learn's 1,797 digits of 8 x 8 pixels, split by their order."""
    from sklearn import datasets

    given = datasets.load_digits()
    images = torch.from_numpy(given.images).float()[:, None] / 16
    labels = torch.from_numpy(given.target).long()
    return Digits(images[:POOL], labels[:POOL], images[POOL:], labels[POOL:])


def make_trial(digits: Digits, seed: int, settings: Settings) -> Trial:
    """Draws what the arms of one seed share."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.cat(
        [
            _choose((digits.labels == c).nonzero()[:, 0], settings.per_class, generator)
            for c in range(CLASSES)
        ]
    )
    size = min(BATCH, len(rows))
    everything = torch.arange(len(rows))
    batches = torch.stack([_choose(everything, size, generator) for _ in range(settings.steps)])
    return Trial(seed, digits.images[rows], digits.labels[rows], batches, make_network(seed))


def _choose(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)[:count]]


def make_network(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # initial weights come from the global generator
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(8 * 8, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, CLASSES),
        )


def run(settings: Settings, digits: Digits) -> dict[str, list[Score]]:
    """The scores of every arm, one a seed, with a progress bar where there is a terminal."""
    from tqdm import tqdm

    trials = [make_trial(digits, seed, settings) for seed in range(settings.seeds)]
    everything = arms()
    scores = {}
    total = len(everything) * settings.steps
    with tqdm(total=total, unit="step", leave=False, disable=None) as bar:
        for arm, mixer in everything.items():
            bar.set_description(f"{arm}, {settings.seeds} seeds")
            weights = train(trials, mixer, bar.update)
            scores[arm] = score(trials[0].network, weights, digits.test_images, digits.test_labels)
    return scores


def train(
    trials: Sequence[Trial], mixer: Mixer, on_step: Callable[[], object] = lambda: None
) -> Weights:
    """Trains a copy of the network of every trial on batches that the mixer has changed.

    The networks are trained side by side, in one tensor a layer: the same as one after another
    (the loss is a sum, the optimiser works number by number), in a tenth of the time.
    """
    weights: Weights = stack_module_state([trial.network for trial in trials])[0]
    generators = [torch.Generator().manual_seed(trial.seed) for trial in trials]
    steps = len(trials[0].batches)
    optimizer = torch.optim.AdamW(weights.values())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps + 1)
    for step in range(steps):
        changed = []
        for trial, generator in zip(trials, generators, strict=True):
            rows = trial.batches[step]
            changed.append(mixer(trial.images[rows], trial.labels[rows], generator))
        images, soft = (torch.stack(part) for part in zip(*changed, strict=True))
        logits = predict(trials[0].network, weights, images)
        optimizer.zero_grad()
        loss = len(trials) * F.cross_entropy(logits.flatten(0, 1), soft.flatten(0, 1))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        on_step()
    return weights


def predict(network: nn.Module, weights: Weights, images: Tensor) -> Tensor:
    """(S, B, K) logits for images (S, B, ...), the network taking the weights in turn."""
    logits: Tensor = vmap(lambda w, x: functional_call(network, w, x))(weights, images)
    return logits


@torch.no_grad()
def score(network: nn.Module, weights: Weights, images: Tensor, labels: Tensor) -> list[Score]:
    """The score of the network with each of the weights, all on the same images."""
    count = len(next(iter(weights.values())))
    every = predict(network, weights, images.expand(count, *images.shape))
    return [
        Score(
            accuracy=float((logits.argmax(dim=1) == labels).float().mean()),
            nll=float(F.cross_entropy(logits, labels)),
        )
        for logits in every
    ]


def draw_pictures(digits: Digits, folder: Path) -> list[Path]:
    """One picture for zeta-mixup and one for mixup, of the same originals."""
    generator = torch.Generator().manual_seed(0)
    rows = _choose(torch.arange(POOL), BATCH, generator)
    images, labels = digits.images[rows], digits.labels[rows]
    shown = [int((labels == c).nonzero()[0]) for c in range(8)]
    paths = []
    for name, arm in (("zeta_mixup", "zeta-mixup gamma 2.8"), ("mixup", "mixup")):
        mixed, soft = arms()[arm](images, labels, torch.Generator().manual_seed(1))
        figure = preview.mixed_samples(
            1 - images[shown], labels[shown], 1 - mixed[shown], soft[shown], title=arm
        )
        paths.append(preview.save(figure, folder / f"{name}.png"))
    return paths
