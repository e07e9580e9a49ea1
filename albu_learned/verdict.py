"""What came of a comparison of arms over paired seeds: a table, and a sentence that claims no more
than the numbers allow."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Score", "clearly_positive", "table", "verdict"]


@dataclass(frozen=True)
class Score:
    accuracy: float
    nll: float


def table(scores: Mapping[str, Sequence[Score]]) -> str:
    """Mean and standard deviation of every arm, and its paired difference to the first one."""
    plain, *_ = scores.values()
    lines = [f"{'':22}{'test accuracy, %':>18}{'NLL':>18}{'to plain, points':>20}"]
    for arm, of in scores.items():
        accuracy = _mean_and_spread([100 * s.accuracy for s in of], 1)
        nll = _mean_and_spread([s.nll for s in of], 3)
        lines.append(f"{arm:22}{accuracy:>18}{nll:>18}")
        if of is not plain:
            points = [100 * (a.accuracy - b.accuracy) for a, b in zip(of, plain, strict=True)]
            lines[-1] += f"{_difference(points):>20}"
    note = "± is the standard deviation over seeds; of differences, which are paired, their error."
    return "\n".join([*lines, "", note])


def _mean_and_spread(values: Sequence[float], digits: int) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def _difference(values: Sequence[float]) -> str:
    error = f" ± {standard_error(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):+.1f}{error}"


def standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values))


def verdict(accuracies: Mapping[str, Sequence[float]], controls: Collection[str] = ()) -> str:
    """What can be concluded from the accuracies of every arm, one a seed, and what cannot.

    Args:
        accuracies: by arm; the first is the one to beat, seeds are paired.
        controls: the arms that a better one should beat as well.
    """
    plain, *others = accuracies
    seeds = len(accuracies[plain])
    if seeds < 3:
        return f"No conclusion from {seeds} seed{'s' if seeds > 1 else ''}: take at least 3."

    def ahead(arm: str, other: str) -> bool:
        pairs = zip(accuracies[arm], accuracies[other], strict=True)
        return clearly_positive([a - b for a, b in pairs], comparisons=len(others))

    better = [arm for arm in others if ahead(arm, plain)]
    worse = [arm for arm in others if ahead(plain, arm)]
    sentences = [f"Better than {plain} beyond its error: {_listed(better)}."]
    if not better:
        sentences = [f"Nothing beat {plain} beyond its error."]
    if worse:
        sentences.append(f"Worse than {plain} beyond its error: {_listed(worse)}.")
    mixes = [arm for arm in better if arm not in controls]
    if mixes:
        best = [arm for arm in mixes if all(ahead(arm, c) for c in controls if c in accuracies)]
        sentences.append(f"Better than both controls as well: {_listed(best)}.")
    sentences.append(
        f"(Paired over {seeds} seeds, Student's t at 95 %, shared among {len(others)} comparisons.)"
    )
    return " ".join(sentences)


def clearly_positive(differences: Sequence[float], comparisons: int = 1) -> bool:
    """Whether their mean exceeds 0 by Student's t at 95 %, shared among so many comparisons."""
    from scipy import stats

    quantile = float(stats.t.ppf(1 - 0.025 / comparisons, len(differences) - 1))
    return statistics.mean(differences) > quantile * standard_error(differences)


def _listed(arms: Sequence[str]) -> str:
    return ", ".join(arms) or "none"
