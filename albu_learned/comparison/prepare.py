"""Everything that can be wrong is found here, before the first training."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from albu_learned.batch import as_floats
from albu_learned.comparison import networks
from albu_learned.comparison.arms import Arm, arms_of
from albu_learned.comparison.pipeline import Learned, Pipeline
from albu_learned.comparison.result import ALL, size_name
from albu_learned.comparison.settings import OWN, Settings
from albu_learned.comparison.study import Source, Study
from albu_learned.comparison.subsets import subset
from albu_learned.data import Boxes, Data, check_rows

__all__ = ["prepare"]

FEWEST = 3  # images a class, of which a hold-out leaves two
TRIED = 8  # rows that every arm is tried on
NEEDED = ("matplotlib", "scipy", "torchmetrics", "tqdm")  # before the end, or at it


def prepare(
    source: Source,
    settings: Settings,
    arms: Sequence[str] | None,
    specs: Sequence[str | Path],
    against: Mapping[str, Sequence[str]] | None = None,
) -> Study:
    """A study that can run, or an error that names what has to be put right."""
    _check_extras()
    data = source.open()
    if isinstance(data, Data):
        _check_model(settings, data)
    _check_pretrained(settings, data)
    side = _image_size(settings) if data.kind == "images" else None
    if data.kind == "series" and settings.image_size is not None:
        raise ValueError(f"`image_size` must be None for series, got {settings.image_size}.")
    if source.opened is not None and settings.image_size is not None and data.kind == "images":
        raise ValueError(
            f"`image_size` must be None for data that are open, got {settings.image_size}. Give "
            "it to open_data."
        )
    if source.opened is None and data.kind == "images" and side is not None:
        source = replace(source, image_size=side)
        data = source.open()
    settings = settings.for_kind(data.kind)
    listed = arms_of(arms, specs, data.kind, against)
    study = Study(source, settings, listed)
    if isinstance(data, Boxes):
        from albu_learned.comparison.detection import check

        twins = check(study, data)
    else:
        _check_sizes(data, settings.sizes)
        twins = check_rows(data)
        _try_network(study, data)
        rows = subset(data.train.labels, math.ceil(TRIED / len(data.classes)), 0)[: 2 * TRIED]
        images, labels = as_floats(data.train.read(rows)), data.train.labels[rows]
        for arm in listed:
            if not arm.skipped:
                _check_epochs(arm, study, data)
                _try(arm, study, images, labels)
    return replace(study, remarks=tuple(filter(None, (twins, _too_few(study)))))


def _too_few(study: Study) -> str:
    fits = [
        arm.name
        for arm in study.arms
        if not arm.skipped and any(atom.fits and atom.kind == "warp" for atom in arm.atoms)
    ]
    few = [str(size) for size in study.settings.sizes if 0 < size < FEWEST]
    if not fits or not few:
        return ""
    return (
        f"With {' and '.join(few)} images a class there may be a single one of each to train on "
        f"while strengths are chosen. Then {' and '.join(fits)} cannot be fitted, and is used as "
        "it is without a fit."
    )


def _check_extras() -> None:
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'A comparison needs {name}. Install it with pip install "albu_learned[cli]".',
                name=error.name,
            ) from error


def _image_size(settings: Settings) -> int | None:
    """Images are left as they are opened unless a size is asked for, or the model has one."""
    if settings.image_size is not None or settings.model in OWN:
        return settings.image_size
    return networks.default_size(settings.model)


def _check_pretrained(settings: Settings, data: Data | Boxes) -> None:
    if settings.pretrained and (settings.model in OWN or isinstance(data, Boxes)):
        raise ValueError(
            "`pretrained` must be left out but for models of timm, got True with the model "
            f"{settings.model!r}. For detection, give the path of weights as `model`."
        )


def _check_model(settings: Settings, data: Data) -> None:
    if settings.model in OWN:
        return
    if data.kind == "series":
        raise ValueError(f"`model` must be small or nearest for series, got {settings.model!r}.")
    from albu_learned.timm.model import check

    check(settings.model)


def _check_sizes(data: Data, sizes: Sequence[int]) -> None:
    counts = torch.bincount(data.train.labels, minlength=len(data.classes))
    rarest = int(counts.argmin())
    most, name = int(counts[rarest]), data.classes[rarest]
    if max(sizes) > most:
        fitting = [str(size) for size in sizes if size != ALL and size <= most]
        advice = f" Of these fit: {', '.join(fitting)}." if fitting else ""
        raise ValueError(
            f"`sizes` must be at most {most}, the training images of class {name!r}, or "
            f'"all", got {max(sizes)}.{advice}'
        )


def _check_epochs(arm: Arm, study: Study, data: Data) -> None:
    """An entry of a spec whose epochs never come would be plain training under another name."""
    settings = study.settings
    for size in settings.sizes:
        count = len(subset(data.train.labels, size, 0))
        epochs = -(-settings.steps * min(settings.batch, count) // count)
        for entry in (atom.entry for atom in arm.atoms if atom.entry):
            if entry.from_epoch >= epochs:
                raise ValueError(
                    f"{entry.where}: `from_epoch` must be below {epochs}, the epochs that "
                    f"{settings.steps} steps are at size {size_name(size)}, got "
                    f"{entry.from_epoch}. Take more `steps`."
                )


def _try(arm: Arm, study: Study, images: Tensor, labels: Tensor) -> None:
    """Every strength of an arm on a few rows: what it needs and what it breaks."""
    data = study.data
    shape = images.shape[1:]
    # A few rows are too few to fit to.
    arm = arm.with_fits(lambda entry: entry.unfitted(shape, len(data.classes)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for strength in arm.candidates or ({},):
            try:
                pipeline = arm.pipeline(strength, study.given(arm))
                for changes in _forced(pipeline):
                    pipeline.changes = changes
                    changed, soft = pipeline(images, labels, 0)
            except (ValueError, TypeError, RuntimeError, OSError, LookupError) as error:
                note = f"The arm {arm.name!r} cannot be used on {data.name}: {error}"
                raise type(error)(note) from error
            if changed.shape != images.shape or not changed.isfinite().all():
                raise ValueError(
                    f"The arm {arm.name!r} must keep images finite and of their size, "
                    f"{tuple(images.shape[1:])}, got {tuple(changed.shape[1:])}."
                )
            assert soft.shape == (len(labels), len(data.classes))


def _forced(pipeline: Pipeline) -> list[list[Any]]:
    """Its changes, with every entry of a spec in every epoch and row; mixes that have epochs of
    their own one at a time."""
    mixes: list[Any] = []
    for change in pipeline.changes:
        for step in change.steps if isinstance(change, Learned) else ():
            step.entry = replace(step.entry, p=1.0, from_epoch=0, until_epoch=None)
            mixes += [change] if step.entry.kind == "mix" else []
    return [
        [change for change in pipeline.changes if change not in mixes or change is alone]
        for alone in mixes or [None]
    ]


def _try_network(study: Study, data: Data) -> None:
    """Whether the model takes rows of this shape."""
    rows = as_floats(data.train.read(torch.arange(2)))
    try:
        with torch.no_grad():
            logits = study.network(rows, 0).eval()(rows)
    except (ValueError, TypeError, RuntimeError, AssertionError, LookupError) as error:
        raise ValueError(
            f"`model` must take {data.kind} of {tuple(rows.shape[1:])}, got "
            f"{study.settings.model!r}: {error} Set `image_size`, or take another."
        ) from error
    assert logits.shape == (2, len(data.classes))
