"""Pictures of a mix: originals above the mixtures that they lead, with their soft labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from albu_learned.preview.figures import draw_image, literal, name_rows, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

__all__ = ["Shares", "draw_bars", "draw_mixed", "mixed_samples", "shares_of"]

Shares = list[tuple[int | None, float]]  # (class, probability); class None is all others together
_NAMED = 3  # bars with a class name; the remaining classes share one more
_LEAD, _OTHER = "#d1495b", "#9aa5b1"  # the class of the original, and any other


def mixed_samples(
    images: Tensor,
    labels: Tensor,
    mixed: Tensor,
    soft: Tensor,
    class_names: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Originals above the mixtures that they lead, with each soft label as bars below.

    Args:
        images: (B, 1 or 3, H, W) originals, float in [0, 1] or uint8.
        labels: (B,) class numbers of the originals, or (B, K) probabilities.
        mixed: the mixtures, one for each original.
        soft: (B, K) class probabilities of the mixtures.
        class_names: a name for each of the K classes; their numbers if None.
        title: a line above the picture.
    """
    _check(images, labels, mixed, soft)
    bars = max(2, *(len(shares_of(row)) for row in soft))
    figure = new_figure(1.35 * len(images) + 0.3, 2.6 + 0.24 * bars + 0.35 * bool(title))
    draw_mixed(figure, images, labels, mixed, soft, class_names, title)
    return figure


def draw_mixed(
    figure: FigureBase,
    images: Tensor,
    labels: Tensor,
    mixed: Tensor,
    soft: Tensor,
    class_names: Sequence[str] | None = None,
    title: str = "",
) -> None:
    """The same into a figure, or a part of one."""
    names = [str(c) for c in range(soft.shape[1])] if class_names is None else list(class_names)
    if len(names) != soft.shape[1]:
        raise ValueError(
            f"`class_names` must name each of the {soft.shape[1]} classes, got {len(names)} names."
        )
    shares = [shares_of(row) for row in soft]
    bars = max(2, *map(len, shares))
    axes = figure.subplots(3, len(images), height_ratios=[1, 1, 0.21 * bars], squeeze=False)
    classes = labels if labels.ndim == 1 else labels.argmax(dim=1)
    for column, lead in enumerate(classes.tolist()):
        draw_image(axes[0, column], images[column], names[lead])
        draw_image(axes[1, column], mixed[column])
        draw_bars(axes[2, column], shares[column], lead, names)
        axes[2, column].set_ylim(bars - 0.4, -0.6)
    name_rows(figure, axes[:, 0], ["original", "mixed", "label"])
    if title:
        figure.suptitle(literal(title), fontsize=12, fontweight="bold")


def draw_bars(axes: Axes, shares: Shares, lead: int, names: Sequence[str]) -> None:
    texts = ["others" if c is None else literal(names[c]) for c, _ in shares]
    values = [share for _, share in shares]
    rows = range(len(shares))
    axes.barh(rows, values, color=[_LEAD if c == lead else _OTHER for c, _ in shares], height=0.7)
    axes.set(xticks=[], xlim=(0, 1.5))
    axes.set_yticks(rows, texts, fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row, value in zip(rows, values, strict=True):
        axes.text(value + 0.05, row, f"{100 * value:.0f} %", va="center", fontsize=8)


def shares_of(soft: Tensor) -> Shares:
    """The likeliest classes from above, the sum of all others last."""
    count = len(soft) if len(soft) <= _NAMED + 1 else _NAMED
    values, classes = soft.detach().float().cpu().topk(count)
    shares: Shares = [*zip(classes.tolist(), values.tolist(), strict=True)]
    shares.append((None, float(soft.sum() - values.sum())))
    return [share for share in shares if share[1] >= 0.005]  # less would read "0 %"


def _check(images: Tensor, labels: Tensor, mixed: Tensor, soft: Tensor) -> None:
    for name, given in (("images", images), ("mixed", mixed)):
        if given.ndim != 4 or given.shape[1] not in (1, 3) or len(given) == 0:
            raise ValueError(
                f"`{name}` must be (B, 1 or 3, H, W) with at least one row, got "
                f"{tuple(given.shape)}."
            )
    if soft.ndim != 2:
        raise ValueError(f"`soft` must be (B, K) probabilities, got {tuple(soft.shape)}.")
    lengths = [len(images), len(labels), len(mixed), len(soft)]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"`images`, `labels`, `mixed` and `soft` must have one row each for a sample, got "
            f"{lengths} rows."
        )
