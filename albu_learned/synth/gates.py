"""How good a variant is, told by figures.

The sharpness cue: where what is made is softer than what is kept, "sharp" tells objects from
background, and a detector learns that instead of the objects.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.engine.task import environment

__all__ = [
    "auc",
    "finder",
    "nearest",
    "patches",
    "psnr",
    "sharpness",
    "thumb",
    "told_apart",
    "unpacked",
]

SIDE = 16  # pixels of a thumbnail
_TRIES = 20  # places that are tried for a patch of background
_SMALLEST = 4  # pixels of the side of a patch that has a sharpness


def finder(weights: str, classes: Sequence[str], device: str) -> Any:
    """A YOLO model that says which objects it finds. Ultralytics is imported as if there were no
    network, so that it does not look for one; where it was imported before, it has done so."""
    with environment(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false"):
        from albu_learned.ultralytics.finding import Finder
    return Finder(weights, classes, device)


def psnr(made: Tensor, original: Tensor, keep: Tensor) -> float | None:
    """How near what was made has come to what is kept, before that is glued in, in decibels: the
    higher, the better they fit together. None where nothing is kept.

    Args:
        made: (C, H, W), in [0, 1].
        original: the same.
        keep: (1, H, W).
    """
    kept = keep.expand_as(original)
    if not kept.any():
        return None
    error = (made.clamp(0, 1) - original)[kept].double().square().mean().clamp(min=1e-10)
    return float(-10 * error.log10())


def patches(
    boxes: Sequence[tuple[float, float, float, float]],
    size: tuple[int, int],
    generator: torch.Generator,
) -> tuple[list[tuple[slice, slice]], list[tuple[slice, slice]]]:
    """Where objects are, and places as large in the background, as rows and columns; too small ones
    are left out.

    Args:
        boxes: x1, y1, x2, y2, as fractions of the image.
        size: (H, W).
        generator: of the CPU.
    """
    height, width = size
    taken = torch.zeros(size, dtype=torch.bool)
    inside, around = [], []
    for x1, y1, x2, y2 in boxes:
        top, bottom = int(y1 * height), round(y2 * height)
        left, right = int(x1 * width), round(x2 * width)
        taken[top:bottom, left:right] = True
        if min(bottom - top, right - left) >= _SMALLEST:
            inside.append((slice(top, bottom), slice(left, right)))
    for rows, columns in inside:
        along, across = rows.stop - rows.start, columns.stop - columns.start
        room = torch.tensor([height - along + 1, width - across + 1])
        places = (torch.rand(_TRIES, 2, generator=generator) * room).long().tolist()
        for top, left in places:
            here = (slice(top, top + along), slice(left, left + across))
            if not taken[here].any():
                around.append(here)
                break
    return inside, around


def sharpness(image: Tensor, places: Sequence[tuple[slice, slice]]) -> list[float]:
    """How sharp each place of an image is: the deviation of its second differences.

    Args:
        image: (C, H, W), in [0, 1].
        places: rows and columns.
    """
    grey = image.float().mean(dim=0)
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    found = []
    for place in places:
        edges = F.conv2d(grey[place][None, None], kernel)
        found.append(round(float(edges.std(correction=0)), 6))
    return found


def auc(inside: Sequence[float], around: Sequence[float]) -> float | None:
    """The chance that one of the first is larger than one of the second; ties count half.

    Example:
        >>> auc([3, 4], [1, 2]), auc([1, 2], [1, 2])
        (1.0, 0.5)
    """
    if not inside or not around:
        return None
    one, other = np.asarray(inside), np.sort(np.asarray(around))
    below = np.searchsorted(other, one, side="left") + np.searchsorted(other, one, side="right")
    return float(below.mean() / 2 / len(other))


def told_apart(inside: Sequence[float], around: Sequence[float]) -> float | None:
    """How well objects are told from background by their being sharper, or softer: 0.5 to 1."""
    share = auc(inside, around)
    return None if share is None else max(share, 1 - share)


def thumb(image: Tensor) -> str:
    """A tiny grey picture of (C, H, W) in [0, 1], as a text."""
    grey = image.float().mean(dim=0)[None, None]
    small = F.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)
    return base64.b64encode((small * 255).round().to(torch.uint8).numpy().tobytes()).decode()


def unpacked(thumbs: Sequence[str]) -> Tensor:
    """(N, 256) numbers in [0, 1] of tiny pictures."""
    content = b"".join(base64.b64decode(text) for text in thumbs)
    flat = np.frombuffer(content, np.uint8).reshape(len(thumbs), SIDE * SIDE)
    return torch.from_numpy(flat.astype(np.float32) / 255)


def nearest(
    given: Tensor, own: Sequence[int], real: Tensor, rows: int = 4096
) -> tuple[list[float], list[int]]:
    """The distance of each tiny picture from the nearest real one but its own, and which that is;
    infinite where there is no other. A distance is the root of the mean squared difference.

    Args:
        given: (N, D).
        own: of each, the number of its own real picture.
        real: (M, D).
        rows: that are worked on at a time.
    """
    distances, numbers = [], []
    for first in range(0, len(given), rows):
        part = torch.cdist(given[first : first + rows], real) / real.shape[1] ** 0.5
        part[torch.arange(len(part)), torch.tensor(own[first : first + rows])] = torch.inf
        least = part.min(dim=1)
        distances += least.values.tolist()
        numbers += least.indices.tolist()
    return distances, numbers
