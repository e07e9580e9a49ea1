"""Pictures of what a method does. Needs matplotlib, from the extra `cli`.

Figures are made without pyplot: nothing is global, no window is opened, any thread may draw.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from albu_learned.artifact import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Shares", "draw_bars", "draw_image", "literal", "mixed_samples", "new_figure", "save"]
__all__ += ["shares_of"]

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
    names = [str(c) for c in range(soft.shape[1])] if class_names is None else list(class_names)
    if len(names) != soft.shape[1]:
        raise ValueError(
            f"`class_names` must name each of the {soft.shape[1]} classes, got {len(names)} names."
        )
    count = len(images)
    shares = [shares_of(row) for row in soft]
    bars = max(2, *map(len, shares))
    figure = new_figure(1.35 * count + 0.3, 2.6 + 0.24 * bars + 0.35 * bool(title))
    axes = figure.subplots(3, count, height_ratios=[1, 1, 0.21 * bars], squeeze=False)
    classes = labels if labels.ndim == 1 else labels.argmax(dim=1)
    for column, lead in enumerate(classes.tolist()):
        draw_image(axes[0, column], images[column], names[lead])
        draw_image(axes[1, column], mixed[column])
        draw_bars(axes[2, column], shares[column], lead, names)
        axes[2, column].set_ylim(bars - 0.4, -0.6)
    for row, text in enumerate(["original", "mixed", "label"]):
        axes[row, 0].set_ylabel(text, fontsize=10, color="#52606d", labelpad=6)
    figure.align_ylabels(axes[:, 0])
    if title:
        figure.suptitle(literal(title), fontsize=12, fontweight="bold")
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Writes a figure as PNG, the whole file or none of it; makes the folder if there is none."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"`path` must end in .png, got {str(path)!r}.")
    content = io.BytesIO()
    # Without the version of matplotlib in it, the same figure gives the same bytes.
    figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())
    return path


def literal(text: str) -> str:
    """The text as it is: matplotlib would read what stands between two dollars as mathematics."""
    return text.replace("$", r"\$")


def new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'Pictures need matplotlib. Install it with pip install "albu_learned[cli]".',
            name=error.name,
        ) from error
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def draw_image(axes: Axes, image: Tensor, title: str = "") -> None:
    pixels = image.detach().cpu()
    pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
    shown: Any = pixels.clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#cbd2d9")
    if title:
        axes.set_title(literal(title), fontsize=10)


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
