"""What a label file says lies on an image: boxes and outlines, and what of them a mask leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from albu_learned.data.pictures import pillow

__all__ = ["Thing", "kept_lines", "outlines", "things_in"]

_MOSTLY = 0.5  # of an object's box must be kept for its label to stay, where masks ignore objects


class Thing(NamedTuple):
    """An object: its line in the file, class, x1, y1, x2, y2 of its box and points of its outline,
    as fractions of the image; a box is its own outline."""

    line: str
    label: int
    box: tuple[float, float, float, float]
    outline: tuple[tuple[float, float], ...]


def things_in(text: str) -> tuple[Thing, ...]:
    """The objects of a label file without faults."""
    return tuple(_thing(line) for line in text.splitlines() if line.strip())


def _thing(line: str) -> Thing:
    label, *numbers = (float(word) for word in line.split())
    if len(numbers) == 4:
        x, y, width, height = numbers
        left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
        numbers = [left, top, right, top, right, bottom, left, bottom]
    values = [min(max(value, 0.0), 1.0) for value in numbers]
    points = tuple(zip(values[::2], values[1::2], strict=True))
    xs, ys = zip(*points, strict=True)
    return Thing(line, int(label), (min(xs), min(ys), max(xs), max(ys)), points)


def outlines(things: Sequence[Thing], size: tuple[int, int]) -> Tensor:
    """(N, H, W) uint8, one mask an object."""
    image, _ = pillow()
    from PIL import ImageDraw

    height, width = size
    masks = []
    for thing in things:
        picture = image.new("L", (width, height))
        points = [(x * width - 0.5, y * height - 0.5) for x, y in thing.outline]
        ImageDraw.Draw(picture).polygon(points, fill=1, outline=1)
        masks.append(np.array(picture))
    return torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, *size, dtype=torch.uint8)


def kept_lines(mask: str, text: str, things: Sequence[Thing], keep: Tensor) -> str:
    """The labels of a variant: those of its source, but for masks that do not look at objects. Of
    these, the objects of which most is kept.

    Args:
        mask: one of `albu_learned.methods.psld.masks.KINDS`.
        text: the label file of the source.
        things: its objects.
        keep: (H, W), true where a pixel is kept.
    """
    if mask != "random":
        return text
    height, width = keep.shape
    lines = []
    for thing in things:
        x1, y1, x2, y2 = thing.box
        rows = slice(int(y1 * height), max(int(y1 * height) + 1, round(y2 * height)))
        columns = slice(int(x1 * width), max(int(x1 * width) + 1, round(x2 * width)))
        if keep[rows, columns].float().mean() >= _MOSTLY:
            lines.append(thing.line)
    return "".join(f"{line}\n" for line in lines)
