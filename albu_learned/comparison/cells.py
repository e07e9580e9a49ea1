"""The work of one cell of classification: choose a strength, train, and later test.

Two steps, with all trainings of a comparison between them: the test part is not read before the
last network is trained, and then once for each.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from albu_learned.comparison import subsets
from albu_learned.comparison.arms import Arm
from albu_learned.comparison.result import MEASURES
from albu_learned.comparison.study import Cell, Study
from albu_learned.comparison.train import Feed, Run, predict, state_of, together, train
from albu_learned.data import Data, Rows
from albu_learned.measures import calibration_bins, measures
from albu_learned.spec import Entry

__all__ = ["fitted", "forget", "test_cell", "train_cell"]

SAMPLE = 1000  # rows from which a network takes the mean and deviation of its input

Trained = dict[str, Any]


def train_cell(study: Study, cell: Cell) -> Trained:
    """The strength that validation chooses, what it was chosen from, and the weights."""
    feed = _feed(study, cell)
    strength, tried = _choose(study, cell, feed)
    run = _run(study, cell, feed, _fitted(study, cell, feed), strength)
    train([run], study.settings, study.learning_rate)
    return {"strength": strength, "tried": tried, "weights": state_of(run.network)}


def test_cell(study: Study, cell: Cell, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The measures on the test part, predicted here and nowhere else."""
    data = _classified(study)
    network = study.network(_sample(_feed(study, cell)), cell.seed)
    network.load_state_dict(dict(weights))
    found = predict(network, _test_feed(data, study.settings.device or "cpu"), study.settings)
    labels = data.test.labels
    return {"measures": measures(found, labels), "bins": calibration_bins(found, labels)}


test_cell.__test__ = False  # type: ignore[attr-defined]  # its name is no test's


def _choose(study: Study, cell: Cell, feed: Feed) -> tuple[dict[str, Any], list[Any]]:
    """The candidate that is best on held-out rows of the subset, by one rule for all arms: the
    measure, then the likelihood, then the order of the candidates."""
    data, settings, candidates = _classified(study), study.settings, cell.arm.candidates
    rows = feed.numbers
    groups = None if data.train.groups is None else data.train.groups[rows]
    masks = subsets.validations(
        data.train.labels[rows], groups, cell.size, cell.seed, settings.holdouts
    )
    if len(candidates) < 2 or not masks:
        return dict(candidates[0]) if candidates else {}, []
    parts = [feed.part(~mask) for mask in masks]
    arms = [_fitted(study, cell, part, number) for number, part in enumerate(parts)]
    runs = [
        _run(study, cell, part, arms[number], candidate, number)
        for candidate in candidates
        for number, part in enumerate(parts)
    ]
    _train_all(runs, study, data)
    found = []
    for number, run in enumerate(runs):
        held_out = feed.part(masks[number % len(masks)])
        logs = predict(run.network, held_out, settings)
        found.append(measures(logs, held_out.labels.cpu()))
    tried = []
    for number, candidate in enumerate(candidates):
        of = found[number * len(masks) : (number + 1) * len(masks)]
        tried.append((candidate, mean(of)))
    return best(tried, settings.measure or "accuracy"), tried


def _train_all(runs: Sequence[Run], study: Study, data: Data) -> None:
    """Side by side where that is faster; only those of the same rows can be: there are as many
    batches in an epoch, and by them a network standardises its input, which no stack can."""
    size = together(study.settings, data.shape)
    feeds = [id(run.feed) for run in runs]
    for feed in dict.fromkeys(feeds):
        alike = [run for run, own in zip(runs, feeds, strict=True) if own == feed]
        for start in range(0, len(alike), size):
            train(alike[start : start + size], study.settings, study.learning_rate)


def mean(of: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of the measures of several hold-outs."""
    return {name: sum(each[name] for each in of) / len(of) for name in of[0]}


def best(tried: Sequence[tuple[dict[str, Any], dict[str, float]]], measure: str) -> dict[str, Any]:
    """The first of the best by the measure; among equals by the likelihood, where there is one."""
    sign = -1 if MEASURES[measure].higher else 1
    ranked = sorted(
        range(len(tried)),
        key=lambda i: (sign * round(tried[i][1][measure], 9), tried[i][1].get("nll", 0.0), i),
    )
    return tried[ranked[0]][0]


def fitted(study: Study, cell: Cell) -> Arm:
    """The cell's arm, fitted to all of its training rows."""
    return _fitted(study, cell, _feed(study, cell)) if cell.arm.fits else cell.arm


def _fitted(study: Study, cell: Cell, feed: Feed, fold: int | None = None) -> Arm:
    """The cell's arm with what has to be fitted fitted to these rows, and to no others."""
    if not cell.arm.fits:
        return cell.arm
    data = _classified(study)
    own = replace(data, train=_FitRows(feed))
    how = {"seed": subsets.derived("fit", *_purpose(cell, fold)), "device": feed.device}

    def fit(entry: Entry) -> Entry:
        key = (fold, entry.name, repr(entry.arguments), repr(entry.fit))
        try:
            if key not in feed.fits:
                feed.fits[key] = entry.fit_to(own, **how).fitted
        except ValueError as error:
            # A warp of no data is of use; what a generator of no data makes is noise.
            if entry.kind != "warp" or not _alone(feed.labels):
                raise
            warnings.warn(f"{cell}: {error} It is used without a fit.", stacklevel=2)
            return entry.unfitted(data.shape, len(data.classes))
        return replace(entry, fitted=feed.fits[key])

    return cell.arm.with_fits(fit)


class _FitRows(Rows):
    """The rows of a feed, of which a fit reads those that it uses."""

    def __init__(self, feed: Feed) -> None:
        groups = feed.rows.groups
        self.feed, self.labels = feed, feed.labels.cpu()
        self.groups = None if groups is None else groups[feed.numbers]

    def read(self, indices: Tensor) -> Tensor:
        return self.feed.read(indices).cpu()

    def check(self) -> Sequence[bytes]:
        every = self.feed.rows.check()
        return [every[number] for number in self.feed.numbers.tolist()]


def _alone(labels: Tensor) -> bool:
    """Whether every class has a single row, to which nothing can be fitted."""
    return int(torch.bincount(labels).max()) < 2


def _purpose(cell: Cell, fold: int | None) -> tuple[object, ...]:
    return cell.seed, cell.size, "all" if fold is None else fold


def _run(
    study: Study,
    cell: Cell,
    feed: Feed,
    arm: Arm,
    strength: Mapping[str, Any],
    fold: int | None = None,
) -> Run:
    """A training on these rows. Its network, batches and random numbers follow from the seed and
    the rows, not from the arm."""
    settings = study.settings
    purpose = _purpose(cell, fold)
    return Run(
        study.network(_sample(feed), cell.seed),
        feed,
        subsets.batches(len(feed), settings.batch, settings.steps, *purpose),
        arm.pipeline(strength, study.given(arm)).to(feed.device),
        subsets.derived("augmentation", *purpose),
    )


def _sample(feed: Feed) -> Tensor:
    """Rows of every class: they are in the order of classes."""
    count = min(SAMPLE, len(feed))
    return feed[torch.linspace(0, len(feed) - 1, count).long()]


def _feed(study: Study, cell: Cell) -> Feed:
    return _train_feed(_classified(study), cell.size, cell.seed, study.settings.device or "cpu")


@functools.lru_cache(maxsize=1)  # the arms of a seed and size follow one another
def _train_feed(data: Data, size: int, seed: int, device: str) -> Feed:
    return Feed(data.train, subsets.subset(data.train.labels, size, seed), torch.device(device))


@functools.lru_cache(maxsize=1)
def _test_feed(data: Data, device: str) -> Feed:
    return Feed(data.test, torch.arange(len(data.test)), torch.device(device))


def forget() -> None:
    """Lets go of the rows that are kept for the next cell."""
    _train_feed.cache_clear()
    _test_feed.cache_clear()


def _classified(study: Study) -> Data:
    data = study.data
    assert isinstance(data, Data)
    return data
