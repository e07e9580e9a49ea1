"""What the reproductions of the probabilistic spatial transformer share: an arm is a network and
what its images go through; every arm is trained and tested in one way, by the parts of `compare`,
which itself compares what images go through, with one network for all.

The subset of a seed, its batches and the optimiser are those of `compare`. Where an arm has several
priors to choose from, each is trained on two thirds of the subset, and the likelihood of the other
third decides: of the first few seeds, for all of a size. Test images choose nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import albu_learned as al
from albu_learned import preview
from albu_learned.comparison import subsets
from albu_learned.comparison.networks import Standardise
from albu_learned.comparison.pipeline import Pipeline
from albu_learned.comparison.settings import Settings
from albu_learned.comparison.statistics import standard_error
from albu_learned.comparison.train import Feed, Run, predict, train
from albu_learned.data import Data, fingerprint
from albu_learned.fitting import Checkpoint, opened
from albu_learned.measures import calibration_bins, measures

CPU = torch.device("cpu")
MEASURES = ("accuracy", "nll", "ece")


@dataclass(frozen=True)
class Arm:
    """A way to classify.

    Args:
        name: in tables and files.
        network: of a prior_std, a new one.
        warp: of a prior_std, what training images go through, if anything.
        priors: to choose from; empty if there is none.
        chosen_as: the arm whose choice of them it takes; its own if empty.
    """

    name: str
    network: Callable[[float], nn.Module]
    warp: Callable[[float], al.ThetaWarp] | None = None
    priors: tuple[float, ...] = ()
    chosen_as: str = ""


@dataclass(frozen=True)
class Found:
    """What became of an arm: a row for each seed, and the prior that was chosen, if any."""

    measures: Tensor  # (seeds, 3)
    bins: Tensor  # (seeds, 15, 3)
    prior: float | None


class Trials:
    """Trainings and tests on one data set, kept in a folder."""

    def __init__(
        self,
        data: Data,
        folder: Path,
        steps: int,
        rate: float = 4e-3,
        batch: int = 32,
        test: int | None = None,
        tune_seeds: int = 2,
    ) -> None:
        self.data, self.rate, self.folder, self.tune_seeds = data, rate, folder, tune_seeds
        self.settings = Settings(steps=steps, batch=batch, device="cpu")
        count = len(data.test)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        self.test = Feed(data.test, order[:test].sort().values, CPU)
        self.facts = {"data": fingerprint(data), "rate": rate, "steps": steps, "batch": batch}
        self.facts["test"] = len(self.test)

    def run(self, arms: Sequence[Arm], size: int, seeds: int) -> dict[str, Found]:
        """Of so many images a class; 0 is all of them."""
        found = {}
        with opened(self.folder, self.facts) as store:
            priors = {arm.name: self._chosen(store, arm, size) for arm in arms}
            for seed, arm in itertools.product(range(seeds), arms):
                prior = priors[arm.name]
                name = f"{arm.name} {prior:g} {size} {seed}"
                part = store.part(name, lambda a=arm, p=prior, s=seed: self._trial(a, p, size, s))
                found.setdefault(arm.name, []).append(part)
                shown = ", ".join(f"{x:.3f}" for x in part["measures"].tolist())
                print(
                    f"{self.data.name}, size {size}, seed {seed}, {arm.name}: {shown}", flush=True
                )
        return {
            arm.name: Found(
                torch.stack([part["measures"] for part in found[arm.name]]),
                torch.stack([part["bins"] for part in found[arm.name]]),
                priors[arm.name] if arm.priors else None,
            )
            for arm in arms
        }

    def _trial(self, arm: Arm, prior: float, size: int, seed: int) -> dict[str, Tensor]:
        network = self._trained(arm, prior, self._feed(size, seed), size, seed)
        logs, truth = predict(network, self.test, self.settings), self.test.labels
        found = measures(logs, truth)
        return {
            "measures": torch.tensor([found[name] for name in MEASURES]),
            "bins": torch.tensor(calibration_bins(logs, truth)),
        }

    def _chosen(self, store: Checkpoint, arm: Arm, size: int) -> float:
        """The first prior where classes have a single row: none can be held out."""
        if len(arm.priors) < 2 or size == 1:
            return arm.priors[0] if arm.priors else 0.05
        nll = {prior: self._nll(store, arm, prior, size) for prior in arm.priors}
        return min(nll, key=lambda prior: nll[prior])

    def held_out(self, arm: Arm, prior: float | None, size: int) -> float:
        """The NLL of held-out rows, by which `run` chooses priors; so arms can be chosen too."""
        with opened(self.folder, self.facts) as store:
            return self._nll(store, arm, 0.05 if prior is None else prior, size)

    def _nll(self, store: Checkpoint, arm: Arm, prior: float, size: int) -> float:
        found = 0.0
        for seed in range(self.tune_seeds):
            name = f"held out {arm.chosen_as or arm.name} {prior:g} {size} {seed}"
            part = store.part(name, lambda s=seed: self._held_out(arm, prior, size, s))
            found += part["nll"].item() / self.tune_seeds
        return found

    def _held_out(self, arm: Arm, prior: float, size: int, seed: int) -> dict[str, Tensor]:
        feed = self._feed(size, seed)
        (mask,) = subsets.validations(feed.labels, None, size, seed, 1)
        held = feed.part(mask)
        network = self._trained(arm, prior, feed.part(~mask), size, seed)
        found = measures(predict(network, held, self.settings), held.labels)
        return {"nll": torch.tensor(found["nll"])}

    def _feed(self, size: int, seed: int) -> Feed:
        rows = subsets.subset(self.data.train.labels, size, seed)
        return Feed(self.data.train, rows, CPU)

    def _trained(self, arm: Arm, prior: float, feed: Feed, size: int, seed: int) -> nn.Module:
        """A training that diverges is begun again with half of the learning rate, up to twice: of a
        transformer without a prior motions may leave the image."""
        for half in range(2):
            try:
                return self._once(arm, prior, feed, size, seed, self.rate / 2**half)
            except ValueError as error:
                if "Training has diverged" not in str(error):
                    raise
                print(f"{arm.name}, seed {seed}: {error} Again, with half of the learning rate.")
        return self._once(arm, prior, feed, size, seed, self.rate / 4)

    def _once(
        self, arm: Arm, prior: float, feed: Feed, size: int, seed: int, rate: float
    ) -> nn.Module:
        every = feed[torch.arange(min(1000, len(feed)))]
        over = (0, *range(2, every.ndim))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(subsets.derived("weights", seed))
            body = arm.network(prior)
        standardise = Standardise(every.mean(over), every.std(over), every.ndim - 2)
        network = nn.Sequential(standardise, body)
        steps, batch = self.settings.steps, self.settings.batch
        drawn = subsets.batches(len(feed), batch, steps, seed, size, len(feed))
        pipeline = Pipeline(len(self.data.classes), [arm.warp(prior)] if arm.warp else [])
        run = Run(network, feed, drawn, pipeline, subsets.derived("augmentation", seed, size))
        train([run], self.settings, rate)
        return network


def at_its_prior(model: al.PSTN) -> al.PSTN:
    """Whatever the image shows, its motions are those of the prior, and stay so: the control of
    what is learned."""
    assert model.heads.deviation is not None
    nn.init.constant_(model.heads.deviation.bias, torch.tensor(1.0).expm1().log().item())
    for parameter in [*model.heads.parameters(), *model.localiser.parameters()]:
        parameter.requires_grad_(False)
    return model


def table(found: dict[str, Found], against: str, paper: dict[str, float]) -> list[str]:
    """Means ± deviations over seeds, as in the paper; what is gained over another arm, ± its
    standard error, seed by seed; the prior that was chosen."""
    rows = [f"| arm | accuracy, % | over {against} | NLL | ECE, % | prior_std | the paper, % |"]
    rows += ["|---|---|---|---|---|---|---|"]
    for name, of in found.items():
        accuracy, nll, ece = of.measures.double().T
        gains = (100 * (accuracy - found[against].measures[:, 0])).tolist()
        error = standard_error(gains)
        gain = f"{sum(gains) / len(gains):+.1f}" + ("" if error is None else f" ± {error:.1f}")
        cells = [name, spread(100 * accuracy, 1), "" if name == against else gain]
        cells += [spread(nll, 3), spread(100 * ece, 1)]
        cells += ["" if of.prior is None else f"{of.prior:g}", f"{paper.get(name, '')}"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def spread(values: Tensor, digits: int) -> str:
    error = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{error}"


def plot(found: dict[str, Found], title: str, path: Path) -> None:
    """Accuracy by confidence, all seeds together."""
    bins = {}
    for name, of in found.items():
        counts = of.bins[..., 0]
        sums = (of.bins[..., 1:] * counts[..., None]).sum(0)
        total = counts.sum(0)
        bins[name] = [
            (int(n), *(values / n).tolist()) for n, values in zip(total, sums, strict=True) if n
        ]
    preview.save(preview.calibration_plot(bins, title), path)
