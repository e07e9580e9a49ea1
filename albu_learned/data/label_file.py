"""The label files of YOLO: a line an object, its class and then its box or outline."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["Shown", "digest", "of", "read"]


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


def read(file: Path, count: int) -> tuple[list[Shown], list[str]]:
    """The objects, of `count` classes, in a label file, and what is wrong with its lines.

    Without a file the image shows no object.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return [], []
    except (OSError, ValueError) as error:
        return [], [f"{str(file)!r} cannot be read ({error})"]
    found, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(_shown(line.split(), count))
        except ValueError as error:
            problems.append(f"{str(file)!r}, line {number}: {error}")
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
    if not all(0 <= value <= 1 for value in numbers[1:]):
        raise ValueError(f"coordinates outside of [0, 1]: {' '.join(words[1:])}")
    return Shown(int(numbers[0]), _box(numbers[1:]))


def _box(numbers: list[float]) -> tuple[float, float, float, float]:
    if len(numbers) > 4:
        x, y = numbers[::2], numbers[1::2]
        return min(x), min(y), max(x), max(y)
    centre_x, centre_y, width, height = numbers
    return (
        max(0.0, centre_x - width / 2),
        max(0.0, centre_y - height / 2),
        min(1.0, centre_x + width / 2),
        min(1.0, centre_y + height / 2),
    )
