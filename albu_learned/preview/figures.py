"""Figures, and how they are saved. Needs matplotlib, from the extra `cli`.

Figures are made without pyplot: nothing is global, no window is opened, any thread may draw.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from albu_learned.artifact import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

__all__ = ["COLOURS", "INK", "MARKERS", "Look", "draw_image", "literal", "name_rows", "new_figure"]
__all__ += ["save", "tidy"]

Look = tuple[str, str]  # colour and marker
INK = "#3b4248"  # what others are compared with, and the zero line
# Told apart by the colour-blind too (Okabe and Ito, then Tol, without those too light on white).
# 11 colours and 7 markers share no divisor, so 77 arms have a pair of their own.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
COLOURS += ["#882255", "#332288", "#999933", "#8c564b", "#44aa99"]
MARKERS = ["s", "^", "D", "v", "P", "X", "o"]


def save(figure: Figure, path: str | Path, colours: int | None = None) -> Path:
    """Writes a figure as PNG, the whole file or none of it; makes the folder if there is none.

    Args:
        figure: what to write.
        path: of the file, ending in .png.
        colours: so many at most, for a smaller file; None for all.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"`path` must end in .png, got {str(path)!r}.")
    content = io.BytesIO()
    # Without the version of matplotlib in it, the same figure gives the same bytes.
    figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
    if colours is not None:
        content = _with_few_colours(content, colours)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())
    return path


def _with_few_colours(content: io.BytesIO, colours: int) -> io.BytesIO:
    from PIL import Image  # matplotlib needs it itself

    small = io.BytesIO()
    with Image.open(content) as picture:
        picture.convert("RGB").quantize(colours).save(small, format="PNG", optimize=True)
    return small


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


def name_rows(figure: FigureBase, first: Iterable[Axes], texts: Sequence[str]) -> None:
    """Writes beside each row of a table of axes what it shows."""
    column = list(first)
    for axes, text in zip(column, texts, strict=True):
        axes.set_ylabel(text, fontsize=10, color="#52606d", labelpad=6)
    figure.align_ylabels(column)


def tidy(axes: Axes, grid: Literal["both", "x"]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color("#9aa5b1")
    axes.grid(axis=grid, color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
