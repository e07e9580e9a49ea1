"""Pictures of a warp: originals above some of what it makes of them, with the lines of a grid that
moves along, and boxes that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch, Rows
from albu_learned.kinds import Warp
from albu_learned.preview.figures import draw_image, literal, name_rows, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

__all__ = ["draw_row", "draw_warped", "grid_lines", "warped_samples"]

_LINES, _POINTS = 9, 65  # of the grid, along each side; and of each of them
_GRID, _BOX, _FAINT = "#1f8fd6", "#ffb000", "#b4bfc9"
_MANY = 5  # boxes
_CHANNELS = ["#0b4f8a", "#d1495b", "#2e933c", "#8e44ad"]


def warped_samples(
    warp: Warp,
    batch: Batch | Tensor,
    versions: int = 3,
    class_names: Sequence[str] | None = None,
    title: str = "",
    generator: torch.Generator | None = None,
) -> Figure:
    """Originals above several warps of each. Series are drawn as lines.

    Args:
        warp: the method.
        batch: (B, 1 or 3, H, W) images or (B, C, T) series, alone or with labels and boxes.
        versions: how many warps of each.
        class_names: a name for each class, written above the originals if the batch has labels.
        title: a line above the picture.
        generator: of the noise.
    """
    given = batch if isinstance(batch, Batch) else Batch(images=batch)
    versions = checks.integer("versions", versions, 1)
    images = _check(given, class_names)
    tall = images.shape[2] / images.shape[3] if images.ndim == 4 else 0.7
    width = 1.35 if images.ndim == 4 else 1.8
    height = min(2.0, max(0.5, tall)) * width
    figure = new_figure(
        width * len(images) + 0.4, (height + 0.05) * (1 + versions) + 0.3 + 0.35 * bool(title)
    )
    draw_warped(figure, warp, given, versions, class_names, title, generator)
    return figure


def draw_warped(
    figure: FigureBase,
    warp: Warp,
    batch: Batch,
    versions: int = 3,
    class_names: Sequence[str] | None = None,
    title: str = "",
    generator: torch.Generator | None = None,
) -> None:
    """The same into a figure, or a part of one."""
    images = _check(batch, class_names)
    table = figure.subplots(1 + versions, len(images), squeeze=False)
    lines = grid_lines(images.ndim - 2, images)
    draw_row(table[0], batch, lines.expand(len(images), -1, -1, -1), None)
    for row in table[1:]:
        with torch.no_grad():
            plan = warp.planned(batch, generator)
            moved = warp.field(plan).points(lines.flatten(1, 2).expand(len(images), -1, -1))
            warped = warp.apply(batch, plan)
        draw_row(row, warped, moved.view(len(images), *lines.shape[1:]), images)
    if class_names is not None and batch.labels is not None:
        for axes, label in zip(table[0], batch.labels.tolist(), strict=True):
            axes.set_title(literal(class_names[label]), fontsize=10)
    name_rows(figure, table[:, 0], ["original", *["warped"] * versions])
    if title:
        figure.suptitle(literal(title), fontsize=12, fontweight="bold")


def grid_lines(ndim: int, like: Tensor) -> Tensor:
    """(1, lines, points, ndim): a grid from border to border; of series, places in time."""
    kind = like.dtype if like.dtype == torch.float64 else torch.float32
    at = torch.linspace(0, 1, _LINES, dtype=kind, device=like.device)
    if ndim == 1:
        return at.view(1, _LINES, 1, 1)
    along = torch.linspace(0, 1, _POINTS, dtype=kind, device=like.device)
    down = torch.stack(torch.meshgrid(at, along, indexing="ij"), dim=-1)
    return torch.cat([down, down.flip(-1)])[None]


def draw_row(table: Sequence[Axes], batch: Batch, lines: Tensor, before: Tensor | None) -> None:
    assert batch.images is not None
    for number, axes in enumerate(table):
        image, own = batch.images[number].detach().cpu(), lines[number].detach().cpu()
        if image.ndim == 2:
            _draw_series(axes, image, own, None if before is None else before[number])
            continue
        draw_image(axes, image)
        height, width = image.shape[1:]
        for line in own:
            x, y = (line * torch.tensor([width, height]) - 0.5).T.tolist()
            axes.plot(x, y, color=_GRID, linewidth=0.6, alpha=0.75)
        if batch.boxes is not None:
            _draw_boxes(axes, batch.boxes, number, (width, height))
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))  # what has left is not drawn


def _draw_boxes(axes: Axes, boxes: Rows, image: int, size: tuple[int, int]) -> None:
    from matplotlib.patches import Rectangle

    shown = boxes.values[(boxes.image == image) & boxes.valid].detach().cpu().double()
    thin = len(shown) > _MANY  # which would hide the picture
    for x1, y1, x2, y2 in (shown * torch.tensor(size * 2)).tolist():
        axes.add_patch(
            Rectangle(
                (x1 - 0.5, y1 - 0.5),
                x2 - x1,
                y2 - y1,
                fill=False,
                edgecolor=_BOX,
                linewidth=0.7 if thin else 1.6,
            )
        )


def _draw_series(axes: Axes, series: Tensor, places: Tensor, before: Tensor | None) -> None:
    """Every step at its centre, so that a series spans from 0 to 1 as places in time do."""
    steps: Any = (torch.arange(series.shape[1]) + 0.5) / series.shape[1]
    for place in places.flatten().tolist():
        axes.axvline(place, color=_GRID, linewidth=0.5, alpha=0.5)
    for channel, colour in zip(range(len(series)), _CHANNELS, strict=False):
        if before is not None:
            old: Any = before[channel].detach().cpu().float()
            axes.plot(steps.tolist(), old.tolist(), color=_FAINT, linewidth=1.8)
        axes.plot(steps.tolist(), series[channel].float().tolist(), color=colour, linewidth=1.1)
    axes.set(xticks=[], yticks=[], xlim=(0, 1))
    axes.spines[:].set_color("#cbd2d9")


def _check(batch: Batch, class_names: Sequence[str] | None) -> Tensor:
    images = batch.images
    shape = None if images is None else tuple(images.shape)
    series = images is not None and images.ndim == 3 and images.shape[1] > 0
    pictures = images is not None and images.ndim == 4 and images.shape[1] in (1, 3)
    if images is None or len(images) == 0 or not (series or pictures):
        raise ValueError(
            "`batch` must have images (B, 1 or 3, H, W), or series (B, C, T), and at least one, "
            f"got {shape}."
        )
    labels = batch.labels if class_names is not None else None
    if labels is not None and (labels.ndim != 1 or int(labels.max()) >= len(class_names or ())):
        raise ValueError(f"`class_names` must name the class of every label, got {class_names!r}.")
    return images
