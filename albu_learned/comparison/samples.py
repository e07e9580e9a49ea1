"""What an arm does to samples: originals above, what became of them below, labels as bars."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from albu_learned.preview import Shares, draw_bars, draw_image, literal, new_figure, shares_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["as_png", "sample_picture"]

_SAMPLES, _CHANNELS, _LETTERS = 8, 4, 11  # as many are shown
_ORIGINAL, _CHANGED, _TEXT = "#b4bfc9", "#0b4f8a", "#52606d"


def sample_picture(
    images: Tensor,
    changed: Tensor,
    soft: Tensor | None = None,
    class_names: Sequence[str] | None = None,
    title: str = "",
    labels: Tensor | None = None,
) -> Figure:
    """The first samples of a batch, and what an arm makes of them.

    Args:
        images: the originals: (B, 1 or 3, H, W) images, float in [0, 1] or uint8, or (B, C, T)
            series.
        changed: what became of each of them.
        soft: (B, K) class probabilities of `changed`, drawn as bars if any of them is soft.
        class_names: a name for each of the K classes; their numbers if None.
        title: a line above the picture.
        labels: (B,) class numbers of the originals; those that lead in `soft` if None.
    """
    _check(images, changed, soft, labels)
    images, changed = images[:_SAMPLES].detach().cpu(), changed[:_SAMPLES].detach().cpu()
    leads = _leads(labels, soft)[:_SAMPLES]
    bars = [] if soft is None or _hard(soft) else [shares_of(row) for row in soft[:_SAMPLES]]
    number = max([*leads, -1 if soft is None else soft.shape[1] - 1], default=-1) + 1
    names = [_short(name) for name in class_names or map(str, range(number))]
    if len(names) < number:
        raise ValueError(f"`class_names` must name each of the {number} classes, got {len(names)}.")
    rows = 2 if images.ndim == 4 else min(_CHANNELS, images.shape[1])
    most = max([2, *map(len, bars)])
    heights = [1.0] * rows + [0.21 * most] * bool(bars)
    width = (1.5 if images.ndim == 4 else 1.8) * max(3, len(images)) + 0.5
    figure = new_figure(width, 1.35 * sum(heights) + 0.4 + 0.35 * bool(title))
    grid = figure.subplots(len(heights), len(images), height_ratios=heights, squeeze=False)
    for column, axes in enumerate(grid.T):
        if images.ndim == 4:
            draw_image(axes[0], images[column])
            draw_image(axes[1], changed[column])
        else:
            _draw_series(axes[:rows], grid[:rows, 0], images[column], changed[column])
            axes[rows - 1].tick_params(labelbottom=True)
        if leads:
            axes[0].set_title(literal(names[leads[column]]), fontsize=9)
        if bars:
            _draw_label(axes[-1], bars[column], leads[column], names)
            axes[-1].set_ylim(most - 0.4, -0.6)
    texts = ["original", "changed"] if images.ndim == 4 else _channels(images.shape[1])
    for axes, text in zip(grid[:, 0], [*texts, *["label"] * bool(bars)], strict=True):
        axes.set_ylabel(text, fontsize=9, color=_TEXT, labelpad=6)
    figure.align_ylabels(grid[:, 0])
    if images.ndim == 3:
        lines = grid[0, 0].lines[:2]
        figure.legend(
            lines,
            ["original", "changed"],
            loc="outside lower center",
            ncols=2,
            frameon=False,
            fontsize=9,
        )
    if title:
        figure.suptitle(literal(title), fontsize=11, fontweight="bold")
    return figure


def as_png(path: str | Path, longest: int = 1600) -> bytes:
    """A JPEG or PNG picture, such as a mosaic of YOLO, as PNG with sides of at most `longest`."""
    from PIL import Image  # matplotlib needs it itself

    content = io.BytesIO()
    with Image.open(path) as picture:
        shown = picture.convert("RGB")
        shown.thumbnail((longest, longest))
        shown.save(content, format="PNG", optimize=True)
    return content.getvalue()


def _draw_series(
    column: Iterable[Axes], first: Iterable[Axes], original: Tensor, changed: Tensor
) -> None:
    """One channel below the other, on the scales of the first column."""
    for channel, (axes, scale) in enumerate(zip(column, first, strict=True)):
        if axes is not scale:
            axes.sharey(scale)
            axes.tick_params(labelleft=False)
        axes.plot(original[channel].float().numpy(), color=_ORIGINAL, linewidth=2.2)
        axes.plot(changed[channel].float().numpy(), color=_CHANGED, linewidth=1.1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color("#cbd2d9")
        axes.tick_params(labelsize=7, colors=_TEXT, labelbottom=False)
        axes.margins(x=0)


def _draw_label(axes: Axes, shares: Shares, lead: int, names: Sequence[str]) -> None:
    """With the names inside of the axes: outside, long ones would push the images apart."""
    draw_bars(axes, shares, lead, names)
    left, right = -1.75, 1.9
    axes.set_xlim(left, right)
    for text in axes.get_yticklabels():
        text.set_x(-left / (right - left) - 0.02)


def _channels(count: int) -> list[str]:
    if count == 1:
        return [""]
    last = f"channel {_CHANNELS} of {count}" if count > _CHANNELS else f"channel {count}"
    return [*(f"channel {i}" for i in range(1, min(count, _CHANNELS))), last]


def _leads(labels: Tensor | None, soft: Tensor | None) -> list[int]:
    """The class of every original, as far as known."""
    if labels is None:
        return [] if soft is None else [int(c) for c in soft.argmax(dim=1)]
    return [int(c) for c in labels]


def _hard(soft: Tensor) -> bool:
    """Whether bars would all read 100 %."""
    return bool((soft.amax(dim=1) >= 0.995).all())


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else name[: _LETTERS - 1].rstrip() + "…"


def _check(images: Tensor, changed: Tensor, soft: Tensor | None, labels: Tensor | None) -> None:
    series = images.ndim == 3 and images.shape[1] > 0
    pictures = images.ndim == 4 and images.shape[1] in (1, 3)
    if len(images) == 0 or not (series or pictures):
        raise ValueError(
            "`images` must be (B, 1 or 3, H, W) or (B, C, T) with at least one row, got "
            f"{tuple(images.shape)}."
        )
    if changed.ndim != images.ndim or changed.shape[:2] != images.shape[:2]:
        raise ValueError(
            f"`changed` must have a row for each of `images` {tuple(images.shape)}, got "
            f"{tuple(changed.shape)}."
        )
    for name, given, ndim in (("soft", soft, 2), ("labels", labels, 1)):
        if given is not None and (given.ndim != ndim or len(given) != len(images)):
            raise ValueError(
                f"`{name}` must have {ndim} dimension(s) and {len(images)} rows, got "
                f"{tuple(given.shape)}."
            )
