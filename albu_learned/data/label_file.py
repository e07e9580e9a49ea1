"""The label files of YOLO: a line an object, its class and then its box or outline."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["Shown", "digest", "of", "read", "text"]

_SLACK = 0.01  # outside of the image, which Ultralytics takes


class Shown(NamedTuple):
    """An object: its class, and x1, y1, x2, y2 of its box as fractions of the image."""

    label: int
    box: tuple[float, float, float, float]


def of(image: Path) -> Path:
    """The label file of an image: the last folder `images` of its path becomes `labels`."""
    images, labels = f"{os.sep}images{os.sep}", f"{os.sep}labels{os.sep}"
    return Path(labels.join(str(image).rsplit(images, 1))).with_suffix(".txt")


def digest(image: bytes, labels: str | None = None) -> str:
    """What tells an image file, and its labels if they are given, from others."""
    found = hashlib.sha256(image)
    if labels is not None:
        found.update(b"\n" + labels.encode())
    return found.hexdigest()[:16]


def text(file: Path) -> str:
    """What a label file says, without the mark that Windows puts first; nothing without a file."""
    return file.read_text(encoding="utf-8-sig") if file.is_file() else ""


def read(file: Path, count: int) -> tuple[list[Shown], list[str]]:
    """The objects, of `count` classes, in a label file, and what is wrong with its lines.

    Without a file the image shows no object.
    """
    try:
        lines = [line.split() for line in text(file).splitlines()]
    except (OSError, ValueError) as error:
        return [], [f"{str(file)!r} cannot be read ({error})"]
    found, problems = [], []
    for number, words in enumerate(lines, 1):
        if not words:
            continue
        try:
            found.append(_shown(words, count))
        except ValueError as error:
            problems.append(f"{str(file)!r}, line {number}: {error}")
    boxes = [len(words) == 5 for words in lines if words]
    if not problems and len(set(boxes)) > 1:
        problems.append(
            f"{str(file)!r} mixes boxes and outlines, which Ultralytics leaves out: make all of "
            "its lines one of the two"
        )
    return found, problems


def _shown(words: list[str], count: int) -> Shown:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise ValueError(f"not numbers: {' '.join(words)!r}") from None
    # A box has four numbers after the class, an outline at least three points.
    if len(numbers) != 5 and (len(numbers) < 7 or len(numbers) % 2 == 0):
        raise ValueError(f"a class and 4 numbers, or 3 points and more, but {len(numbers)} numbers")
    if not 0 <= numbers[0] < count or numbers[0] != int(numbers[0]):
        raise ValueError(f"class {words[0]} is not in 0..{count - 1}")
    box = _centred(numbers[1:])
    if not _is_inside(box):
        raise ValueError(f"coordinates outside of [0, 1]: {' '.join(words[1:])}")
    x, y, width, height = box
    sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    left, top, right, bottom = (min(max(side, 0.0), 1.0) for side in sides)
    return Shown(int(numbers[0]), (left, top, right, bottom))


def _centred(numbers: list[float]) -> list[float]:
    """Centre and size of a box, or of that around an outline."""
    if len(numbers) == 4:
        return numbers
    x, y = numbers[::2], numbers[1::2]
    if not all(map(math.isfinite, numbers)):
        return [math.nan] * 4
    return [
        (min(x) + max(x)) / 2,
        (min(y) + max(y)) / 2,
        max(x) - min(x),
        max(y) - min(y),
    ]


def _is_inside(box: list[float]) -> bool:
    """Whether Ultralytics takes it."""
    least = (-_SLACK, -_SLACK, 0, 0)
    return all(low <= value <= 1 + _SLACK for low, value in zip(least, box, strict=True))
