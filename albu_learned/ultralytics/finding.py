"""Which of the known objects of an image a detector finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from ultralytics import YOLO

from albu_learned.ultralytics.undisturbed import undisturbed

__all__ = ["Finder"]

SURE = 0.25  # the least confidence that counts
OVERLAP = 0.5  # the least intersection over union that counts


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

    def __call__(self, pixels: Any, boxes: Tensor, labels: Sequence[int]) -> Tensor:
        """(N,), true for objects that are found.

        Args:
            pixels: (H, W, 3) uint8, red first.
            boxes: (N, 4) x1, y1, x2, y2, as fractions of the image.
            labels: their classes.
        """
        with undisturbed():
            (result,) = self.model.predict(
                np.ascontiguousarray(pixels[..., ::-1]),  # it wants blue first
                conf=SURE,
                device=self.device,
                verbose=False,
                save=False,
            )
        found, numbers = result.boxes.xyxyn.cpu().float(), result.boxes.cls.cpu()
        wanted = [self.own[label] for label in labels]
        right = torch.tensor(
            [[own is None or own == n for n in numbers.tolist()] for own in wanted],
            dtype=torch.bool,
        )
        right = right.view(len(labels), len(numbers))
        return ((_overlap(boxes.float(), found) >= OVERLAP) & right).any(dim=1)


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """(N, M), intersection over union."""
    low = torch.maximum(one[:, None, :2], other[None, :, :2])
    high = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    both = (high - low).clamp(min=0).prod(dim=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (one, other)]
    return both / (areas[0][:, None] + areas[1] - both).clamp(min=1e-12)
