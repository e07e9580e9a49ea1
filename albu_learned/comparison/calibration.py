"""Whether models know how sure they may be: accuracy by confidence."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from albu_learned import preview
from albu_learned.comparison.drawing import look, titled, wrapped
from albu_learned.comparison.result import Outcome, ordered
from albu_learned.comparison.words import size_words
from albu_learned.measures import BINS
from albu_learned.preview import Bins

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["calibration", "pooled"]

_ACROSS = 3  # panels side by side


def calibration(outcome: Outcome) -> Figure | None:
    """Accuracy by confidence at the largest size, each arm beside plain; None if there are no bins.

    A panel an arm: all curves in one would hide each other.
    """
    size = ordered(outcome.sizes)[-1]
    bins = {arm.name: pooled(outcome, arm.name, size) for arm in outcome.ran}
    arms = [arm for arm, found in bins.items() if found]
    if not arms:
        return None
    shown = arms[1:] or arms
    across = min(_ACROSS, len(shown))
    down = math.ceil(len(shown) / across)
    figure = preview.new_figure(max(6.0, 3.1 * across), 0.9 + 3.9 * down)
    grid: Any = figure.subplots(
        2 * down, across, squeeze=False, sharex=True, sharey="row", height_ratios=[3.5, 1] * down
    )
    for axes in grid.flat:
        axes.set_visible(False)
    for index, arm in enumerate(shown):
        curve, strip = grid[2 * (index // across) : 2 * (index // across) + 2, index % across]
        for drawn in dict.fromkeys((arms[0], arm)):
            whose = "" if drawn == arm else f"{wrapped(drawn, 18)}, "
            label = f"{whose}ECE {_ece(outcome, drawn, size, bins[drawn]):.1f} %"
            preview.draw_calibration(curve, strip, bins[drawn], look(outcome, drawn), label)
        preview.finish_calibration(curve, strip, wrapped(arm, 26))
        if index % across == 0:
            curve.set_ylabel("accuracy")
            strip.set_ylabel("share")
        if index + across >= len(shown):  # the lowest of its column
            strip.set_xlabel("confidence")
            strip.tick_params(labelbottom=True)
    return titled(figure, outcome, f"calibration, {size_words(outcome, size)}, seeds pooled")


def pooled(outcome: Outcome, arm: str, size: int) -> Bins:
    """The bins of every seed, together. They meet by their confidence and not by their place, so
    that a seed may leave out bins without a sample."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for result in outcome.results:
        if (result.arm, result.size) != (arm, size):
            continue
        for count, confidence, accuracy in result.bins:
            if count:
                row = sums[min(int(confidence * BINS), BINS - 1)]
                for i, more in enumerate((count, count * confidence, count * accuracy)):
                    row[i] += more
    return [
        (int(n), confidence / n, right / n) for _, (n, confidence, right) in sorted(sums.items())
    ]


def _ece(outcome: Outcome, arm: str, size: int, bins: Bins) -> float:
    """In percent: the mean of the seeds' own, as tables have it; else that of the pooled bins."""
    found = [
        result.measures["ece"]
        for result in outcome.results
        if (result.arm, result.size) == (arm, size) and "ece" in result.measures
    ]
    if found:
        return 100 * statistics.mean(found)
    return 100 * preview.calibration_error(bins)
