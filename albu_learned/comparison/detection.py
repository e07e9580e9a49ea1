"""The work of one cell of detection, which Ultralytics does, by the door to it.

The steps are those of `cells`: a strength is chosen on images held out of the subset, a detector is
trained on all of it, and tested once all are trained. The sizes are of images in all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from albu_learned.artifact import write_atomically
from albu_learned.comparison import subsets
from albu_learned.comparison.arms import Arm
from albu_learned.comparison.cells import best, mean
from albu_learned.comparison.result import ALL, Outcome
from albu_learned.comparison.study import Cell, Study
from albu_learned.data import Boxes, check_rows
from albu_learned.spec import Entry, Spec

if TYPE_CHECKING:
    from albu_learned.ultralytics.trial import DetectorSettings

__all__ = ["check", "draw_samples", "test_cell", "train_cell"]

SIDE = 640  # of images, as YOLO has it
TRIED = 8  # images that every arm is tried on
FILE = "file"  # the name under which a detector's file is kept among weights


def check(study: Study, data: Boxes) -> str:
    """Raises if a subset asks for more images than there are, a file cannot be read, or an arm
    cannot be used. What is to be said of images in both parts, if there are any."""
    from albu_learned.ultralytics import trial

    most = max(study.settings.sizes)
    if most > len(data.train):
        raise ValueError(
            f'`sizes` must be at most {len(data.train)}, the training images, or "all", got {most}.'
        )
    twins = check_rows(data)
    for arm in study.arms:
        if arm.skipped:
            continue
        with tempfile.TemporaryDirectory() as folder:  # its first batch shows what it breaks
            try:
                given = _training(arm, next(iter(arm.candidates), {}), Path(folder))
                images = data.train[:TRIED]
                trial.sample_batch(_detector(study), images, data.classes, 0, Path(folder), **given)
            except (ValueError, TypeError, RuntimeError, OSError) as error:
                note = f"The arm {arm.name!r} cannot be used on {data.name}: {error}"
                raise type(error)(note) from error
    return twins


def train_cell(study: Study, cell: Cell) -> dict[str, Any]:
    """The strength that validation chooses, what it was chosen from, and the detector's file."""
    data = _boxes(study)
    rows = _subset(data, cell.size, cell.seed)
    with tempfile.TemporaryDirectory() as folder:
        strength, tried = _choose(study, cell, rows, Path(folder))
        weights = _train(study, cell, rows, strength, Path(folder, "last"))
        content = np.frombuffer(weights.read_bytes(), np.uint8)
    return {"strength": strength, "tried": tried, "weights": {FILE: torch.tensor(content)}}


def test_cell(study: Study, cell: Cell, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The measures on the test images, used here and nowhere else."""
    data = _boxes(study)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "detector.pt")
        file.write_bytes(weights[FILE].numpy().tobytes())
        return {"measures": _test(study, file, data.test, Path(folder))}


test_cell.__test__ = False  # type: ignore[attr-defined]  # its name is no test's


def _choose(
    study: Study, cell: Cell, rows: Tensor, folder: Path
) -> tuple[dict[str, Any], list[Any]]:
    data, settings, candidates = _boxes(study), study.settings, cell.arm.candidates
    groups = None if data.groups is None else data.groups[rows]
    one_class = torch.zeros(len(rows), dtype=torch.long)
    shows = data.present[rows].any(dim=1)
    masks = subsets.validations(one_class, groups, cell.size, cell.seed, settings.holdouts)
    masks = [mask for mask in masks if shows[mask].any() and shows[~mask].any()]
    if len(candidates) < 2 or not masks:
        return dict(candidates[0]) if candidates else {}, []
    tried = []
    for number, candidate in enumerate(candidates):
        found = []
        for fold, mask in enumerate(masks):
            place = folder / f"{number}_{fold}"
            weights = _train(study, cell, rows[~mask], candidate, place)
            found.append(_test(study, weights, _paths(data, rows[mask]), place))
        tried.append((dict(candidate), mean(found)))
    return best(tried, settings.measure or "map50_95"), tried


def _train(
    study: Study, cell: Cell, rows: Tensor, strength: Mapping[str, Any], folder: Path
) -> Path:
    from albu_learned.ultralytics import trial

    data = _boxes(study)
    given = _training(cell.arm, strength, folder)
    images = _paths(data, rows)
    return trial.train_detector(_detector(study), images, data.classes, cell.seed, folder, **given)


def _test(study: Study, weights: Path, images: Sequence[Path], folder: Path) -> dict[str, float]:
    from albu_learned.ultralytics import trial

    return trial.test_detector(weights, images, _boxes(study).classes, _detector(study), folder)


def _training(arm: Arm, strength: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What an arm does, in the words of Ultralytics."""
    from albu_learned.ultralytics import trial

    overrides: dict[str, Any] = {}
    share, entries = 0.0, list[Entry]()
    for atom in arm.atoms:
        own = atom.strong(strength)
        if atom.entry:
            entry = atom.entry.with_strength(own)
            if entry.artifact and entry.arguments:  # a spec names artifacts as they are
                place = folder / f"{entry.name}_{len(entries)}"
                entry.build().save_pretrained(place)
                entry = replace(entry, artifact=str(place), arguments={})
            entries.append(entry)
        elif atom.name == "recipe":
            overrides = {**trial.RECIPE, **overrides}
        elif atom.name == "mixup":
            overrides.update(own)
        elif atom.name == "dilution":
            share = own["share"]
    spec = None
    if entries:
        spec = replace(arm.spec or Spec(()), entries=tuple(entries))
    return {"spec": spec, "overrides": overrides, "plain_share": share}


@cache
def _subset(data: Boxes, size: int, seed: int) -> Tensor:
    """The numbers of so many images, those of smaller sizes among them; the first shows something,
    for Ultralytics does not train on nothing."""
    order = torch.randperm(len(data.train), generator=subsets.generator("subset", seed))
    first = int(data.present[order].any(dim=1).int().argmax())
    order = torch.cat([order[first : first + 1], order[:first], order[first + 1 :]])
    return order if size == ALL else order[:size]


def _paths(data: Boxes, rows: Tensor) -> list[Path]:
    return [data.train[row] for row in rows.tolist()]


def _detector(study: Study) -> DetectorSettings:
    from albu_learned.ultralytics.trial import DetectorSettings

    settings = study.settings
    if settings.precision == "float16":
        raise ValueError('`precision` must be "float32" or "bfloat16" for detection, got float16.')
    return DetectorSettings(
        model=settings.model,
        image_size=settings.image_size or SIDE,
        steps=settings.steps,
        batch=settings.batch,
        device=settings.device or "cpu",
        amp=settings.precision != "float32",
        learning_rate=study.learning_rate,
    )


def draw_samples(study: Study, outcome: Outcome, folder: Path) -> dict[str, Path]:
    """A training batch of each arm that ran, with its boxes."""
    from albu_learned.comparison.pictures import chosen
    from albu_learned.comparison.samples import as_png
    from albu_learned.ultralytics import trial

    data = _boxes(study)
    rows = _subset(data, study.settings.sizes[-1], 0)
    pictures = {}
    folder.mkdir(parents=True, exist_ok=True)
    for number, arm in enumerate(arm for arm in study.arms if not arm.skipped):
        with tempfile.TemporaryDirectory() as place:
            given = _training(arm, chosen(outcome, arm.name), Path(place))
            images = _paths(data, rows)
            drawn = trial.sample_batch(
                _detector(study), images, data.classes, 0, Path(place), **given
            )
            pictures[arm.name] = folder / f"arm_{number}.png"
            write_atomically(pictures[arm.name], as_png(drawn))
    return pictures


def _boxes(study: Study) -> Boxes:
    data = study.data
    assert isinstance(data, Boxes)
    return data
