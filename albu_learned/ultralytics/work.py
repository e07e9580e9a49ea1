"""What a training data set does to its samples, in every worker, and what it tells of it.

Evidence rides in each sample: how many images every entry was shown while the sample was made, and
how many it changed (a mosaic is made of four). It is a NumPy array, since each tensor of a batch
would cost a file handle on its way out of a worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from albu_learned.spec import Step
from albu_learned.ultralytics.sample import change_labels, change_picture

__all__ = ["KEY", "LabelStage", "PictureStage", "Work", "total"]

KEY = "albu_learned"


class Work:
    """The steps of the stages image and sample; and of the current sample, its evidence, label and
    file.

    Args:
        steps: all of them; the number of a step is its place here.
        active: the numbers of those that are used in this epoch.
    """

    def __init__(self, steps: Sequence[Step], active: Iterable[int]) -> None:
        self.steps = steps
        self.active = frozenset(active)
        self.begin()

    def begin(self, label: int = 0, file: str | None = None) -> None:
        """A new sample."""
        self.label = label
        self.file = file
        self.evidence = np.zeros((len(self.steps), 2), dtype=np.int64)

    def at(self, stage: str) -> Iterator[tuple[int, Step]]:
        for number, step in enumerate(self.steps):
            if step.entry.stage == stage and number in self.active:
                yield number, step

    def note(self, number: int, changed: bool) -> None:
        self.evidence[number] += (1, changed)

    def change_labels(self, stage: str, labels: dict[str, Any], oriented: bool) -> None:
        for number, step in self.at(stage):
            self.note(number, change_labels(step, labels, oriented))


class LabelStage:
    """A transform of Ultralytics' own: takes and returns a dictionary of image and instances."""

    def __init__(self, work: Work, oriented: bool) -> None:
        self.work = work
        self.oriented = oriented

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        self.work.change_labels("sample", labels, self.oriented)
        return labels


class PictureStage:
    """A transform of torchvision's kind, of a PIL image."""

    def __init__(self, work: Work, stage: str) -> None:
        self.work = work
        self.stage = stage

    def __call__(self, image: Any) -> Any:
        file = self.work.file if self.stage == "image" else None
        for number, step in self.work.at(self.stage):
            image, changed = change_picture(step, image, self.work.label, file)
            self.work.note(number, changed)
        return image


def total(evidence: Any) -> npt.NDArray[np.int64]:
    """The sums over a batch, as one of the two collate functions has gathered it."""
    return np.asarray(evidence, dtype=np.int64).sum(axis=0)
