"""What a comparison leaves behind: plain values, from which tables, sentences, plots and the report
are made. Nothing here trains, so all of it can be tried out on made-up numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ALL", "MEASURES", "ArmFacts", "Measure", "Outcome", "Result", "ordered", "size_name"]

ALL = 0  # the size that stands for every training image
PLAIN = "plain"  # the arm that all others are compared with


@dataclass(frozen=True)
class Measure:
    """One number that tells how good a model is."""

    name: str  # the key in a Result's measures
    title: str
    higher: bool  # whether more is better
    percent: bool  # whether it is shown as 100 times as much


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("accuracy", "accuracy, %", higher=True, percent=True),
        Measure("macro_f1", "macro F1, %", higher=True, percent=True),
        Measure("nll", "NLL", higher=False, percent=False),
        Measure("ece", "ECE, %", higher=False, percent=True),
        Measure("map50_95", "mAP50-95, %", higher=True, percent=True),
        Measure("map50", "mAP50, %", higher=True, percent=True),
        Measure("f1", "F1, %", higher=True, percent=True),
    )
}


@dataclass(frozen=True)
class Result:
    """A cell: one arm, trained on the subset of one size and seed, and tested once.

    Args:
        size: training images a class (of a detection set: in all); ALL for every one.
        measures: on the test part, by name (see MEASURES).
        strength: what validation chose, such as {"gamma": 4.0}; empty if nothing was to choose.
        tried: every strength that was tried, with its measures on validation images.
        bins: of confidences on the test part, for calibration: count, mean confidence, accuracy.
    """

    arm: str
    size: int
    seed: int
    measures: dict[str, float]
    strength: dict[str, Any] = field(default_factory=dict)
    tried: tuple[tuple[dict[str, Any], dict[str, float]], ...] = ()
    bins: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True)
class ArmFacts:
    """What is to be known of an arm besides its results.

    Args:
        about: one line on what it does to a batch.
        controls: the arms, besides plain, that it has to beat for its gain to be its own.
        candidates: the strengths among which validation chooses; the first is the default.
        skipped: why it did not run; empty if it did.
    """

    name: str
    about: str
    controls: tuple[str, ...] = ()
    candidates: tuple[dict[str, Any], ...] = ()
    skipped: str = ""


@dataclass(frozen=True)
class Outcome:
    """A comparison, finished.

    Args:
        data: the name of the data set.
        kind: "images", "series" or "detection".
        measure: the name of the measure by which arms are compared.
        arms: in the order of tables; the first is plain. Those that were skipped are among them.
        results: one for every arm that ran, size and seed.
        notes: what the reader must know: what was skipped, what could not be chosen.
        settings: all of them, as given to `compare`.
        versions: of Python, this package and those it used.
        command: the line that repeats it.
    """

    data: str
    kind: str
    measure: str
    arms: tuple[ArmFacts, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""

    def values(self, arm: str, size: int, measure: str = "") -> list[float]:
        """The measure of an arm at a size, one value a seed, in the order of `seeds`."""
        found = {r.seed: r for r in self.results if r.arm == arm and r.size == size}
        return [found[seed].measures[measure or self.measure] for seed in self.seeds]

    @property
    def ran(self) -> tuple[ArmFacts, ...]:
        return tuple(arm for arm in self.arms if not arm.skipped)


def ordered(sizes: Iterable[int]) -> list[int]:
    """From small to large; ALL, whatever its number, is the largest."""
    return sorted(sizes, key=lambda size: (size == ALL, size))


def size_name(size: int) -> str:
    return "all" if size == ALL else str(size)
