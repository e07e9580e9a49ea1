"""Which of the known objects of an image a detector finds, and which others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from ultralytics import YOLO

from albu_learned.ultralytics.undisturbed import undisturbed

__all__ = ["Finder", "Found"]

SURE = 0.25  # the least confidence that counts
OVERLAP = 0.5  # the least intersection over union that counts
# An object that has no label: so sure, so far from all that have, and less of it kept than this.
SURE_OF_NEW, APART, KEPT = 0.5, 0.3, 0.5


class Found(NamedTuple):
    """(M, 4) boxes as fractions of the image, (M,) classes of the detector, (M,) how sure it is."""

    boxes: Tensor
    numbers: Tensor
    sure: Tensor


class Finder:
    """A detector that says which objects it finds.

    Args:
        weights: its file.
        classes: the names of the classes of labels. One that the detector does not know is found by
            its place alone.
        device: where.
    """

    def __init__(self, weights: str | Path, classes: Sequence[str], device: str = "cpu") -> None:
        with undisturbed():
            self.model = YOLO(str(weights), verbose=False)
        if self.model.task not in ("detect", "segment"):
            raise ValueError(
                f"`detector` must find boxes or outlines, got {str(weights)!r}: {self.model.task}."
            )
        numbers = {name: number for number, name in self.model.names.items()}
        self.own = [numbers.get(name) for name in classes]
        self.device = device

    def __call__(self, pixels: Any) -> Found:
        """What it finds in (H, W, 3) uint8, red first."""
        with undisturbed():
            (result,) = self.model.predict(
                np.ascontiguousarray(pixels[..., ::-1]),  # it wants blue first
                conf=SURE,
                device=self.device,
                verbose=False,
                save=False,
            )
        boxes = result.boxes
        return Found(boxes.xyxyn.cpu().float(), boxes.cls.cpu(), boxes.conf.cpu())

    def known(self, found: Found, boxes: Tensor, labels: Sequence[int]) -> Tensor:
        """(N,), true for objects that are among those found.

        Args:
            found: what was found.
            boxes: (N, 4) x1, y1, x2, y2, as fractions of the image.
            labels: their classes.
        """
        wanted = [self.own[label] for label in labels]
        right = torch.tensor(
            [[own is None or own == n for n in found.numbers.tolist()] for own in wanted],
            dtype=torch.bool,
        )
        right = right.view(len(labels), len(found.numbers))
        return ((_overlap(boxes.float(), found.boxes) >= OVERLAP) & right).any(dim=1)

    def invented(self, found: Found, before: Found, boxes: Tensor, keep: Tensor) -> int:
        """How many objects of known classes were found that have no label, and were not there
        before.

        Args:
            found: in the variant.
            before: in the real image.
            boxes: (N, 4), of labels.
            keep: (H, W), what is the same in both: it cannot be invented.
        """
        others = torch.cat([boxes.float(), before.boxes])
        known = torch.tensor([n in self.own for n in found.numbers.tolist()], dtype=torch.bool)
        new = (_overlap(found.boxes, others) < APART).all(dim=1) & (found.sure >= SURE_OF_NEW)
        candidates = found.boxes[known & new]
        return sum(_share(keep, box) < KEPT for box in candidates.tolist())


def _share(mask: Tensor, box: Sequence[float]) -> float:
    """How much of a box is true."""
    height, width = mask.shape
    x1, y1, x2, y2 = box
    part = mask[int(y1 * height) : round(y2 * height), int(x1 * width) : round(x2 * width)]
    return float(part.float().mean()) if part.numel() else 1.0


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """(N, M), intersection over union."""
    low = torch.maximum(one[:, None, :2], other[None, :, :2])
    high = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    both = (high - low).clamp(min=0).prod(dim=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (one, other)]
    return both / (areas[0][:, None] + areas[1] - both).clamp(min=1e-12)
