"""One training and one test of a detector, for comparisons of augmentation.

All trainings with the same settings, images, classes and seed have the same initial weights, the
same batches of images in the same order, the same learning rates and the same number of steps,
however their images are augmented. (A mosaic, or a mix of the host's, takes further images in.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ultralytics import YOLO

from albu_learned import checks
from albu_learned.spec import Spec
from albu_learned.ultralytics.door import install
from albu_learned.ultralytics.subset import write_subset
from albu_learned.ultralytics.trial_settings import (
    PLAIN,
    RECIPE,
    DetectorSettings,
    augmentation,
    schedule,
    shared,
)
from albu_learned.ultralytics.trial_trainer import Drawn, Painter, Plan, Tester, Trial
from albu_learned.ultralytics.undisturbed import undisturbed

__all__ = ["PLAIN", "RECIPE", "DetectorSettings", "sample_batch", "test_detector", "train_detector"]


def train_detector(
    settings: DetectorSettings,
    images: Sequence[Path],
    classes: Sequence[str],
    seed: int,
    folder: Path,
    spec: Spec | None = None,
    overrides: Mapping[str, Any] | None = None,
    plain_share: float = 0.0,
) -> Path:
    """Trains a detector, and gives the weights of its last state (as the host saves it: a moving
    average, in half precision).

    Args:
        settings: shared by all arms.
        images: in folders named `images`, with their labels in folders named `labels`.
        classes: their names.
        seed: of the initial weights, the order of images and augmentation.
        folder: where `train` is written, and nothing elsewhere.
        spec: the methods of this package.
        overrides: the host's own augmentation, such as {"mixup": 0.5}, on top of PLAIN. `RECIPE` is
            what users of YOLO have by default.
        plain_share: the share of samples that get neither the host's augmentation nor the spec's
            on images and samples; of its mixes they are a part. Drawn for each anew.
    """
    place = Path(folder).absolute() / "train"
    with undisturbed():
        asked = partial(_train, settings, images, classes, seed, place, spec, overrides or {})
        trainer = asked(plain_share, Trial)
    if trainer.taken != settings.steps:
        raise RuntimeError(
            f"A training must take {settings.steps} steps, but this one took {trainer.taken}: "
            "Ultralytics has ended it in another way."
        )
    return Path(trainer.last)


def sample_batch(
    settings: DetectorSettings,
    images: Sequence[Path],
    classes: Sequence[str],
    seed: int,
    folder: Path,
    spec: Spec | None = None,
    overrides: Mapping[str, Any] | None = None,
    plain_share: float = 0.0,
) -> Path:
    """A picture of the first batch of the training that `train_detector` would do, with its boxes;
    of its first 16 images. Written to `sample` in the folder."""
    place = Path(folder).absolute() / "sample"
    with undisturbed():
        asked = partial(_train, settings, images, classes, seed, place, spec, overrides or {})
        try:
            asked(plain_share, Painter, plots=True)
        except Drawn as drawn:
            return Path(drawn.args[0])
    raise RuntimeError("Ultralytics has trained without drawing its first batch.")


def test_detector(
    weights: Path,
    images: Sequence[Path],
    classes: Sequence[str],
    settings: DetectorSettings,
    folder: Path,
) -> dict[str, float]:
    """The mean average precision of a detector on images, and its F1: at an overlap of half, the
    mean over classes, at the confidence where that is best. `test` is written in the folder."""
    place = Path(folder).absolute() / "test"
    with undisturbed():
        data = write_subset(place, images, classes)
        model = YOLO(str(_local(weights)))
        found = model.val(
            validator=Tester,
            data=str(data),
            split="val",
            batch=settings.batch,
            single_cls=False,
            **shared(settings, place),
        )
    f1 = sum(found.box.f1) / max(len(found.box.f1), 1)  # of the classes that are there
    return {"map50": float(found.box.map50), "map50_95": float(found.box.map), "f1": float(f1)}


test_detector.__test__ = False  # type: ignore[attr-defined]  # its name is no test's


def _train(
    settings: DetectorSettings,
    images: Sequence[Path],
    classes: Sequence[str],
    seed: int,
    place: Path,
    spec: Spec | None,
    overrides: Mapping[str, Any],
    plain_share: float,
    trial: type[Trial],
    **more: Any,
) -> Any:
    share = checks.between("plain_share", plain_share, "[0, 1]")
    data = write_subset(place, images, classes)
    model = YOLO(str(_local(settings.model)), verbose=False)
    if model.task != "detect":
        raise ValueError(f"`model` must be a detector, got {settings.model!r}: {model.task}.")
    if spec is not None:
        install(model, spec)
    batch = min(settings.batch, len(images))
    batches = math.ceil(len(images) / batch)
    epochs = math.ceil(settings.steps / batches)
    given = augmentation(overrides, epochs) | shared(settings, place) | more
    model.train(
        trainer=partial(trial, Plan(settings.steps, share, PLAIN)),
        data=str(data),
        seed=checks.integer("seed", seed, 0),
        epochs=epochs,
        batch=batch,
        nbs=batch,  # so that each batch is a step, also while it warms up
        amp="bf16" if settings.amp else False,
        **schedule(settings, batches),
        **given,
    )
    return model.trainer


def _local(model: str | Path) -> str | Path:
    """The host would download weights that are not there."""
    if Path(model).suffix not in (".yaml", ".yml") and not Path(model).is_file():
        raise FileNotFoundError(
            f"`model` must be the path of weights that are here, or a YAML file, got {str(model)!r}"
            ". Download them before, so that all arms have the same."
        )
    return model
