"""Whether a classifier knows how sure it may be: its accuracy by its confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from albu_learned.measures import BINS, calibration_bins
from albu_learned.preview.figures import COLOURS, INK, MARKERS, Look, literal, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Bins", "calibration_error", "calibration_plot", "draw_calibration"]
__all__ += ["finish_calibration"]

Bins = Sequence[tuple[int, float, float]]  # count, mean confidence, accuracy
_MOST = 8  # curves in one picture


def calibration_plot(models: Mapping[str, tuple[Tensor, Tensor] | Bins], title: str = "") -> Figure:
    """Accuracy by confidence of some models, and which share of the rows has which confidence. A
    model above the diagonal is more often right than it thinks.

    Args:
        models: by name, the probabilities (N, K) and class numbers (N,); or the bins of
            `albu_learned.measures.calibration_bins`.
        title: a line above the picture.
    """
    if not isinstance(models, Mapping) or not 1 <= len(models) <= _MOST:
        got = f"{len(models)} of them" if isinstance(models, Mapping) else type(models).__name__
        raise ValueError(f"`models` must be 1 to {_MOST} models by name, got {got}.")
    bins = {name: _bins(name, given) for name, given in models.items()}
    figure = new_figure(5.2, 5.6)
    curve, strip = figure.subplots(2, 1, sharex=True, height_ratios=[3.5, 1])
    for number, (name, found) in enumerate(bins.items()):
        label = f"{literal(name)}, ECE {100 * calibration_error(found):.1f} %"
        draw_calibration(curve, strip, found, _look(number), label)
    finish_calibration(curve, strip, literal(title))
    curve.set_ylabel("accuracy")
    strip.set(ylabel="share", xlabel="confidence")
    return figure


def calibration_error(bins: Bins) -> float:
    """The expected calibration error: how far accuracy is from confidence, row by row."""
    total = sum(count for count, _, _ in bins)
    return sum(count * abs(sure - right) for count, sure, right in bins) / total


def draw_calibration(curve: Axes, strip: Axes, bins: Bins, style: Look, label: str) -> None:
    """A curve of accuracy, and below it the shares."""
    colour, marker = style
    bins = [one for one in bins if one[0]]
    sure = [confidence for _, confidence, _ in bins]
    right = [accuracy for _, _, accuracy in bins]
    curve.plot(sure, right, color=colour, marker=marker, markersize=4, linewidth=1.6, label=label)
    counts = [0.0] * BINS
    for count, confidence, _ in bins:
        counts[min(int(confidence * BINS), BINS - 1)] += count
    edges = [i / BINS for i in range(BINS + 1)]
    strip.stairs([count / sum(counts) for count in counts], edges, color=colour, linewidth=1.4)


def finish_calibration(curve: Axes, strip: Axes, title: str) -> None:
    for axes in (curve, strip):
        axes.set_visible(True)
        tidy(axes, "both")
    curve.plot([0, 1], [0, 1], color="#9aa5b1", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    curve.set(xlim=(0, 1), ylim=(0, 1.02))
    curve.set_title(title, fontsize=10, fontweight="bold")
    curve.legend(loc="upper left", fontsize=8, frameon=False)


def _look(number: int) -> Look:
    """The first as what others are compared with."""
    return (COLOURS[number - 1], MARKERS[number - 1]) if number else (INK, "o")


def _bins(name: str, given: Any) -> Bins:
    if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], Tensor)):
        bins = [one for one in given if one[0]]
        if not bins:
            raise ValueError(f"`models` must have rows to draw, got none for {name!r}.")
        return bins
    probabilities, labels = (part.detach().cpu() for part in given)
    good = probabilities.ndim == 2 and labels.shape == (len(probabilities),) and len(labels)
    sums = probabilities.double().sum(dim=-1)
    if not good or probabilities.min() < 0 or (sums - 1).abs().max() > 1e-3:
        raise ValueError(
            f"`models` must give probabilities (N, K) and class numbers (N,), got "
            f"{tuple(probabilities.shape)} and {tuple(labels.shape)} for {name!r}, rows adding up "
            f"to {sums.min():.3g} and more. Of logits, give logits.softmax(dim=1)."
        )
    return [one for one in calibration_bins(probabilities.double().log(), labels) if one[0]]
