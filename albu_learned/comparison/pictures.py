"""Pictures of what each arm does to training images of these data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from albu_learned import preview
from albu_learned.batch import as_floats
from albu_learned.comparison.cells import fitted
from albu_learned.comparison.pipeline import Pipeline
from albu_learned.comparison.result import Outcome
from albu_learned.comparison.samples import sample_picture
from albu_learned.comparison.study import Cell, Study
from albu_learned.comparison.subsets import derived, subset
from albu_learned.comparison.words import strength_words
from albu_learned.data import Data

__all__ = ["draw_samples"]

SHOWN = 8
DRAWS = 20
BATCH = 32  # mixes look different in batches of another size


def draw_samples(
    study: Study, outcome: Outcome, folder: Path, classes: Sequence[str]
) -> dict[str, Path]:
    """One picture for each arm that ran, by its name, in which classes have these names."""
    data = study.data
    if not isinstance(data, Data):
        from albu_learned.comparison.detection import draw_samples as draw_boxes

        return draw_boxes(study, outcome, folder)
    each = -(-BATCH // len(data.classes))
    rows = subset(data.train.labels, each, seed=0)
    # Classes in turn, so that the first few images show many of them.
    rows = torch.cat([rows[start::each] for start in range(each)])[: max(BATCH, SHOWN)]
    images, labels = as_floats(data.train.read(rows)), data.train.labels[rows]
    pictures = {}
    for number, arm in enumerate(arm for arm in study.arms if not arm.skipped):
        strength = chosen(outcome, arm.name) or next(iter(arm.candidates), {})
        cell = Cell(arm, study.settings.sizes[-1], study.settings.seed_numbers[0])
        pipeline = fitted(study, cell).pipeline(strength, study.given(arm))
        changed, soft = _changed(pipeline, images, labels)
        how = strength_words(strength)
        title = f"{arm.name} ({how})" if how else arm.name
        low, high = _range(data, images)
        before, after = ((part[:SHOWN] - low) / (high - low) for part in (images, changed))
        figure = sample_picture(before, after, soft[:SHOWN], classes, title, labels[:SHOWN])
        pictures[arm.name] = preview.save(figure, folder / f"arm_{number}.png")
    return pictures


def _changed(pipeline: Pipeline, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The first draw that changes one of the images that are shown: not all batches need to be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived("pictures"))
        for _ in range(DRAWS):
            changed, soft = pipeline(images, labels, 0)
            if not torch.equal(changed[:SHOWN], images[:SHOWN]):
                break
    return changed, soft


def chosen(outcome: Outcome, arm: str) -> dict[str, Any]:
    """The strength that was chosen most often."""
    found = {json.dumps(r.strength): r.strength for r in outcome.results if r.arm == arm}
    counts = Counter(json.dumps(r.strength) for r in outcome.results if r.arm == arm)
    return found[counts.most_common(1)[0][0]] if found else {}


def _range(data: Data, images: Tensor) -> tuple[float, float]:
    return (0.0, 1.0) if data.kind == "images" else (float(images.min()), float(images.max()))
