"""What the plots of a comparison share: how an arm looks, how its values are shown and named."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from albu_learned.comparison.result import MEASURES, Outcome
from albu_learned.preview import COLOURS, INK, MARKERS, Look, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["deviation", "draw_row", "gains", "look", "name_rows", "spread"]
__all__ += ["titled", "values", "with_unit", "wrapped"]


def look(outcome: Outcome, arm: str) -> Look:
    """Those that were skipped count too: an arm looks the same whatever else could run."""
    number = [facts.name for facts in outcome.arms].index(arm) - 1
    if number < 0:
        return INK, "o"
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def with_unit(outcome: Outcome) -> str:
    """The title of the measure, and which way is better."""
    measure = MEASURES[outcome.measure]
    return f"{measure.title} ({'higher' if measure.higher else 'lower'} is better)"


def values(outcome: Outcome, arm: str, size: int) -> list[float]:
    """Of the measure, one a seed, as they are shown: percentages are 100 times as much.

    Seeds whose value is not finite are left out, as a mean with one is no number either.
    """
    scale = 100 if MEASURES[outcome.measure].percent else 1
    return [scale * value for value in outcome.values(arm, size) if math.isfinite(value)]


def gains(outcome: Outcome, arm: str, other: str, sizes: Sequence[int]) -> list[float]:
    """How much better one arm is than another, averaged over sizes, one a seed, as it is shown: a
    measure of which less is better is turned round."""
    measure = MEASURES[outcome.measure]
    scale = (100 if measure.percent else 1) * (1 if measure.higher else -1)
    ours, theirs = (
        [statistics.fmean(seed) for seed in zip(*of, strict=True)]
        for of in ([outcome.values(name, size) for size in sizes] for name in (arm, other))
    )
    gained = [scale * (a - b) for a, b in zip(ours, theirs, strict=True)]
    return [gain for gain in gained if math.isfinite(gain)]


def deviation(of: Sequence[float]) -> float:
    return statistics.stdev(of) if len(of) > 1 else 0.0


def spread(count: int, reach: float) -> list[float]:
    """So many places, evenly from -reach to reach."""
    if count == 1:
        return [0.0]
    return [reach * (2 * i / (count - 1) - 1) for i in range(count)]


def wrapped(name: str, width: int, most: int = 3) -> str:
    """A name on at most so many lines, for matplotlib, which neither wraps nor shortens."""
    breakable = name.replace("_", "_ ")  # a line may end there as well
    lines = textwrap.wrap(breakable, width, max_lines=most, placeholder=" …") or [name]
    return literal("\n".join(line.replace("_ ", "_") for line in lines))


def draw_row(
    axes: Axes, row: int, of: Sequence[float], reach: float, style: Look, hollow: bool = False
) -> None:
    """A dot for every seed; the mean, and how far from it the bar reaches, through them."""
    if not of:
        return
    colour, marker = style
    # Seeds stand one below the other: equal values would be one dot.
    places = [row + shift for shift in spread(len(of), 0.2)]
    axes.scatter(of, places, s=13, color=colour, alpha=0.45, linewidths=0, zorder=2)
    axes.errorbar(
        [statistics.mean(of)],
        [row],
        xerr=[reach] if reach else None,
        color=colour,
        marker=marker,
        markersize=7,
        markerfacecolor="white" if hollow else colour,
        capsize=3,
        linewidth=1.8,
        zorder=3,
    )


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Row 0 on top, its name at the left."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)


def titled(figure: Figure, outcome: Outcome, what: str) -> Figure:
    """With the data set above what is drawn."""
    letters = int(11 * figure.get_figwidth())  # that fit beside one another
    figure.suptitle(f"{wrapped(outcome.data, 60)}\n{wrapped(what, letters)}", fontsize=11)
    return figure
