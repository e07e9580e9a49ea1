"""The plots of a comparison: the measure by training size, what arms gain, and calibration."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albu_learned import preview
from albu_learned.comparison.calibration import calibration
from albu_learned.comparison.drawing import (
    deviation,
    draw_row,
    gains,
    look,
    name_rows,
    spread,
    titled,
    values,
    with_unit,
    wrapped,
)
from albu_learned.comparison.result import MEASURES, Outcome, ordered, size_name
from albu_learned.comparison.words import size_words
from albu_learned.preview import INK, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["by_size", "differences", "draw_plots"]

_ACROSS = 3  # panels side by side


def draw_plots(outcome: Outcome, folder: str | Path) -> dict[str, Path]:
    """Writes every plot there is to draw into `folder`/plots; gives them by the report's names."""
    figures = {"measure": by_size(outcome)}
    if len(outcome.ran) > 1:
        figures["differences"] = differences(outcome)
    curves = calibration(outcome)
    if curves is not None:
        figures["calibration"] = curves
    return {
        f"plots/{name}": preview.save(figure, Path(folder, "plots", f"{name}.png"))
        for name, figure in figures.items()
    }


def by_size(outcome: Outcome) -> Figure:
    """Mean and standard deviation over seeds against training size; of a single size, by arm."""
    if len(outcome.sizes) == 1:
        return _by_arm(outcome)
    names = [wrapped(arm.name, 26) for arm in outcome.ran]
    lines = sum(1.3 + name.count("\n") for name in names)
    figure = preview.new_figure(9, max(4.4, 0.9 + 0.16 * lines))
    axes = figure.subplots()
    sizes = ordered(outcome.sizes)
    places = _places(sizes)
    nearest = min(b - a for a, b in pairwise(places))
    handles: list[Any] = []
    # Arms stand a little beside one another, or their bars would hide each other.
    for arm, shift in zip(outcome.ran, spread(len(names), 0.1 * nearest), strict=True):
        colour, marker = look(outcome, arm.name)
        of = [values(outcome, arm.name, size) for size in sizes]
        line = axes.errorbar(
            [place + shift for place in places],
            [statistics.mean(at_size) if at_size else math.nan for at_size in of],
            [deviation(at_size) for at_size in of],
            color=colour,
            marker=marker,
            markersize=6,
            capsize=2.5,
            linewidth=1.7,
            elinewidth=1,
        )
        handles.append(line)
    axes.set_xticks(places, [size_name(size) for size in sizes])
    unit = size_words(outcome, 1).removeprefix("1 ")
    axes.set_xlabel(f"training {unit}")
    axes.set_ylabel(with_unit(outcome))
    tidy(axes, "both")
    figure.legend(handles, names, loc="outside right upper", frameon=False, fontsize=9)
    what = "mean and standard deviation over seeds" if len(outcome.seeds) > 1 else "one seed"
    return titled(figure, outcome, what)


def differences(outcome: Outcome) -> Figure:
    """What each arm gains on plain, and on its controls, seed by seed, with the 95 % interval."""
    plain, *others = outcome.ran
    ran = [arm.name for arm in outcome.ran]
    pairs = [
        (arm.name, other) for arm in others for other in (plain.name, *arm.controls) if other in ran
    ]
    labels = [
        wrapped(arm if other == plain.name else f"… against {other}", 30, 2) for arm, other in pairs
    ]
    panels = {size_words(outcome, size): [size] for size in ordered(outcome.sizes)}
    if len(panels) > 1:
        panels["averaged over sizes"] = list(outcome.sizes)
    across = 2 if len(panels) == 4 else min(_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    lines = sum(1.4 + label.count("\n") for label in labels)
    figure = preview.new_figure(3.2 + 2.9 * across, 1.0 + down * (0.6 + 0.23 * lines))
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for (title, sizes), axes in zip(panels.items(), grid.flat, strict=False):
        axes.axvline(0, color=INK, linewidth=1)
        for row, (arm, other) in enumerate(pairs):
            of = gains(outcome, arm, other, sizes)
            control = other != plain.name
            draw_row(axes, row, of, _interval(of), look(outcome, arm), hollow=control)
            if row and not control:  # the first row of its arm
                axes.axhline(row - 0.5, color="#e4e7eb", linewidth=0.8)
        axes.set_title(title, fontsize=10)
        name_rows(axes, labels)
        tidy(axes, "x")
    measure = MEASURES[outcome.measure]
    unit = measure.title.replace(", %", " in points") + ("" if measure.higher else " (less of it)")
    figure.supxlabel(f"gain in {unit}: right of 0 is better", fontsize=10)
    what = f"gain on {wrapped(plain.name, 30)}{' and on controls' * (len(pairs) > len(others))}"
    bars = "; dots are seeds, bars their mean and its 95 % interval"
    return titled(figure, outcome, what + (bars if len(outcome.seeds) > 1 else "; one seed"))


def _by_arm(outcome: Outcome) -> Figure:
    (size,) = outcome.sizes
    names = [wrapped(arm.name, 32, 2) for arm in outcome.ran]
    lines = sum(1.6 + name.count("\n") for name in names)
    figure = preview.new_figure(9, 1.3 + 0.23 * lines)
    axes = figure.subplots()
    for row, arm in enumerate(outcome.ran):
        of = values(outcome, arm.name, size)
        draw_row(axes, row, of, deviation(of), look(outcome, arm.name))
    name_rows(axes, names)
    axes.set_xlabel(with_unit(outcome))
    tidy(axes, "x")
    bars = ", bars mean and standard deviation" if len(outcome.seeds) > 1 else ""
    return titled(figure, outcome, f"{size_words(outcome, size)}; dots are seeds{bars}")


def _places(sizes: Sequence[int]) -> list[float]:
    """Logarithmic, but never so close that labels touch; ALL, of unknown number, comes last."""
    known = [math.log(size) for size in sizes if size]
    step = (known[-1] - known[0]) / max(1, len(known) - 1) or 1.0
    places = [0.0]
    for before, after in pairwise(known):
        places.append(places[-1] + max(after - before, 0.35 * step))
    return places[: len(known)] + [places[-1] + step] * (len(sizes) > len(known))


def _interval(of: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean, by Student's t."""
    from scipy import stats

    if len(of) < 2:
        return 0.0
    return float(stats.t.ppf(0.975, len(of) - 1)) * statistics.stdev(of) / math.sqrt(len(of))
