"""Pictures of a generator of classes: real images beside samples, the real image nearest to each
sample below it, and what its codes mean."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.batch import Batch, as_floats
from albu_learned.kinds import Generate
from albu_learned.preview.figures import literal, new_figure
from albu_learned.preview.traversal import REACH, traversal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

__all__ = ["draw_generated", "generated_samples", "some_classes"]

CLASSES = 8  # in a picture
COMPARED = 1000  # real images of a class in which the nearest is looked for
_REAL, _SAMPLES, _STEPS = 3, 5, 7  # columns
_WIDE = 0.66  # inches of an image; all else is in widths of one
_GAP, _APART = 0.08, 0.36  # between images of a panel, and between panels and classes
_GREY, _FRAME, _NEAR = "#52606d", "#cbd2d9", "#d98200"


def some_classes(labels: Sequence[int], most: int = CLASSES) -> list[int]:
    """So many of the classes, spread over all of them."""
    every = sorted(set(labels))
    if len(every) <= most:
        return every
    return [every[round(i * (len(every) - 1) / (most - 1))] for i in range(most)]


def generated_samples(
    method: Generate,
    batch: Batch,
    class_names: Sequence[str] | None = None,
    title: str = "",
    generator: torch.Generator | None = None,
) -> Figure:
    """For each of up to eight classes: real images, samples, each above the real image nearest to
    it, and images along the two directions in which the codes of the class vary most.

    Args:
        method: makes images of classes, and needs no more than labels and images.
        batch: (B,) labels of the classes to show, and images of them to compare with, up to 1000
            of each; without images samples alone are shown.
        class_names: a name for each class; their numbers if None.
        title: a line above the picture.
        generator: of the noise.
    """
    shown = _Shown.of(method, batch, class_names, generator)
    names = max(len(line) for row in shown.rows for line in _short(row.name).split("\n"))
    figure = new_figure(
        _WIDE * shown.width + 0.085 * names + 0.35,
        _WIDE * shown.height + 0.65 + 0.35 * bool(title) + 0.2 * bool(shown.others),
    )
    _draw(figure, shown, title)
    return figure


def draw_generated(
    figure: FigureBase,
    method: Generate,
    batch: Batch,
    class_names: Sequence[str] | None = None,
    title: str = "",
    generator: torch.Generator | None = None,
) -> None:
    """The same into a figure, or a part of one."""
    _draw(figure, _Shown.of(method, batch, class_names, generator), title)


@dataclass(frozen=True)
class _Row:
    """What is shown of a class: two lines of images in each panel."""

    name: str
    real: Tensor | None
    samples: Tensor
    nearest: Tensor | None
    walks: tuple[Tensor, Tensor] | None

    def lines(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What stands above and below in each panel."""
        if self.real is not None and self.nearest is not None:
            yield self.real[:_REAL], self.real[_REAL:]
            yield self.samples, self.nearest
        else:
            yield self.samples[:_SAMPLES], self.samples[_SAMPLES:]
        if self.walks is not None:
            yield self.walks


@dataclass(frozen=True)
class _Panel:
    title: str
    text: str
    colour: str
    columns: int


@dataclass(frozen=True)
class _Shown:
    """All that is in the picture.

    Args:
        rows: the classes.
        others: says that there are more; empty if there are none.
    """

    rows: list[_Row]
    others: str

    @classmethod
    def of(
        cls,
        method: Generate,
        batch: Batch,
        class_names: Sequence[str] | None,
        generator: torch.Generator | None,
    ) -> _Shown:
        labels = _checked(method, batch, class_names)
        every = sorted(set(labels.tolist()))
        rows = []
        for label in some_classes(every):
            own = (labels == label).nonzero()[:COMPARED, 0]
            real = None
            if batch.images is not None:
                real = as_floats(batch.images[own.to(batch.images.device)].detach().cpu())
            name = str(label) if class_names is None else class_names[label]
            rows.append(_row(method, label, name, real, generator))
        count = max(len(every), len(class_names or ()))
        return cls(rows, f"{len(rows)} of {count} classes" if len(rows) < count else "")

    @property
    def panels(self) -> list[_Panel]:
        """From left to right; whether there is one depends on what is known."""
        real, walks = self.rows[0].real is not None, self.rows[0].walks is not None
        panels = [_Panel("real images", "", _GREY, _REAL)] if real else []
        below = "below: the real image nearest to each" if real else ""
        panels.append(_Panel("samples", below, _NEAR, _SAMPLES))
        if walks:
            text = f"\N{MINUS SIGN}{REACH:g} to {REACH:g} deviations, in two directions"
            panels.append(_Panel("what varies most", text, _GREY, _STEPS))
        return panels

    @property
    def lefts(self) -> list[float]:
        """Where each panel begins; and, last, where one more would."""
        widths = [panel.columns * (1 + _GAP) - _GAP + _APART for panel in self.panels]
        return [sum(widths[:number]) for number in range(len(widths) + 1)]

    @property
    def tall(self) -> float:
        height, width = self.rows[0].samples.shape[2:]
        return float(height / width)

    @property
    def width(self) -> float:
        return self.lefts[-1] - _APART

    @property
    def height(self) -> float:
        return self.top(len(self.rows)) - _APART

    def top(self, row: int) -> float:
        return row * (2 * self.tall + _GAP + _APART)


@torch.no_grad()
def _row(
    method: Generate,
    label: int,
    name: str,
    real: Tensor | None,
    generator: torch.Generator | None,
) -> _Row:
    count = _SAMPLES if real is not None else 2 * _SAMPLES
    like = _like(method, count) if real is None else real[torch.arange(count) % len(real)]
    place = next((tensor.device for tensor in method.state_dict().values()), like.device)
    given = Batch(images=like.to(place), labels=torch.full((count,), label, device=place))
    plan = method.planned(given, generator)
    samples = method.pixels(like.to(place), plan).cpu()
    if real is not None and real.shape[1] != samples.shape[1]:
        raise ValueError(
            f"`batch` must have images of {samples.shape[1]} channels for this "
            f"{type(method).__name__}, got {tuple(real.shape)}."
        )
    walks = [traversal(method, plan, like.to(place), number, _STEPS) for number in (0, 1)]
    first, second = (None if walk is None else walk.cpu() for walk in walks)
    return _Row(
        name,
        None if real is None else real[: 2 * _REAL],
        samples,
        None if real is None else real[_nearest(samples, real)],
        None if first is None or second is None else (first, second),
    )


def _like(method: Generate, count: int) -> Tensor:
    """Images in the place of real ones, for a generator that reads labels alone."""
    size = method.about.image_size or [8, 8]
    return torch.zeros(count, method.about.channels or 1, *size)


def _nearest(samples: Tensor, real: Tensor) -> Tensor:
    """(B,) the number of the real image that is nearest to each sample, pixel by pixel."""
    size = list(samples.shape[2:])
    if list(real.shape[2:]) != size:
        real = F.interpolate(real, size, mode="area")
    return torch.cdist(samples.flatten(1).float(), real.flatten(1).float()).argmin(dim=1)


def _draw(figure: FigureBase, shown: _Shown, title: str) -> None:
    """All in one pair of axes: hundreds of them would be slow to lay out, and never quite even."""
    axes = figure.subplots()
    for number, row in enumerate(shown.rows):
        top = shown.top(number)
        for left, lines in zip(shown.lefts, row.lines(), strict=False):
            marked = row.nearest if lines[1] is row.nearest else None
            _draw_line(axes, lines[0], left, top, shown.tall, _FRAME)
            colour = _FRAME if marked is None else _NEAR
            _draw_line(axes, lines[1], left, top + shown.tall + _GAP, shown.tall, colour)
        middle = top + shown.tall + _GAP / 2
        axes.text(-0.15, middle, _short(row.name), fontsize=10, ha="right", va="center")
    for left, right, panel in zip(shown.lefts, shown.lefts[1:], shown.panels, strict=False):
        middle = (left + right - _APART) / 2
        axes.text(middle, -0.36, panel.title, fontsize=10, fontweight="bold", ha="center")
        axes.text(middle, -0.11, panel.text, fontsize=8.5, color=panel.colour, ha="center")
    if shown.others:
        how: Any = {"fontsize": 8.5, "color": _GREY, "va": "top"}
        axes.text(0, shown.height + 0.12, shown.others, **how)
    axes.set(xlim=(-0.02, shown.width + 0.02), ylim=(shown.height + 0.02, -0.02), aspect="equal")
    axes.axis("off")
    if title:
        figure.suptitle(literal(title), fontsize=12, fontweight="bold")


def _draw_line(
    axes: Axes, images: Tensor, left: float, top: float, tall: float, colour: str
) -> None:
    from matplotlib.patches import Rectangle

    for column, image in enumerate(images):
        x = left + column * (1 + _GAP)
        shown: Any = image.clamp(0, 1).float().permute(1, 2, 0).numpy()
        axes.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=(x, x + 1, top + tall, top))
        axes.add_patch(Rectangle((x, top), 1, tall, fill=False, edgecolor=colour, linewidth=0.9))


def _short(name: str) -> str:
    """A long name in up to four short lines."""
    return literal("\n".join(textwrap.wrap(name, 12, max_lines=4, placeholder=" …")) or name)


def _checked(method: Generate, batch: Batch, class_names: Sequence[str] | None) -> Tensor:
    others = sorted(method.needs - {"images", "labels"})
    labels = batch.labels
    if others or labels is None or labels.ndim != 1 or len(labels) == 0:
        raise ValueError(
            "`batch` must have labels (B,), of one image or more, and the method must need no more "
            f"than these and images, got a {type(method).__name__}, which needs "
            f"{', '.join(sorted(method.needs))}."
        )
    if batch.images is None and "images" in method.needs:
        raise ValueError(f"`batch` must have images for a {type(method).__name__}, got none.")
    if batch.images is not None and (batch.images.ndim != 4 or batch.images.shape[1] not in (1, 3)):
        raise ValueError(
            f"`batch` must have images (B, 1 or 3, H, W), got {tuple(batch.images.shape)}."
        )
    if class_names is not None and int(labels.max()) >= len(class_names):
        raise ValueError(f"`class_names` must name the class of every label, got {class_names!r}.")
    return labels.detach().cpu().long()
