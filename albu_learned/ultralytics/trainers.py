"""Trainer classes, for who gives Ultralytics a trainer, and for processes that import one.

They are made here, at the top of a module, so that they can be named in another process.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.utils import DEFAULT_CFG
from ultralytics.utils.files import get_latest_run

from albu_learned.spec import VARIABLE, Spec, as_spec, of_environment
from albu_learned.ultralytics import find
from albu_learned.ultralytics.given import check
from albu_learned.ultralytics.hook import Hook, installed
from albu_learned.ultralytics.listed import Callbacks, copied

__all__ = [
    "LearnedClassificationTrainer",
    "LearnedDetectionTrainer",
    "LearnedOBBTrainer",
    "LearnedPoseTrainer",
    "LearnedSegmentationTrainer",
]


class _Learned:
    """Finds its spec, and has its callbacks before the host's trainer is made."""

    task: ClassVar[str]

    def __init__(
        self,
        cfg: Any = DEFAULT_CFG,
        overrides: dict[str, Any] | None = None,
        _callbacks: Callbacks | None = None,
    ) -> None:
        overrides, listed = copied(overrides, _callbacks)
        spec = _find(overrides, listed)
        check(spec, self.task)
        Hook(spec).register(listed)
        super().__init__(cfg, overrides, listed)  # type: ignore[call-arg]


def _find(overrides: dict[str, Any], listed: Callbacks) -> Spec:
    """Takes the argument `spec` out, which Ultralytics does not know, or looks elsewhere."""
    given = overrides.pop("spec", None)
    hook = installed(listed)  # in a process that the host has started, for one
    if given is not None:
        return _only(as_spec(given), hook)
    spec = hook.spec if hook else of_environment() or _resumed(overrides.get("resume"))
    if spec is None:
        raise ValueError(
            f"`spec` must be given to a learned trainer: train(..., spec='augment.yaml'), or as "
            f"the environment variable {VARIABLE}."
        )
    return spec


def _only(given: Spec, hook: Hook | None) -> Spec:
    if hook is not None and hook.spec != given:
        raise ValueError(
            f"A training must have one spec, got {given.path!r} as `spec`, but the model has "
            f"{hook.spec.path!r} from install(). Use either."
        )
    return given


def _resumed(resume: Any) -> Spec | None:
    return find.of_run(get_latest_run() if resume is True else resume) if resume else None


class LearnedDetectionTrainer(_Learned, DetectionTrainer):
    """Trains a detector with the methods of a spec: `train(trainer=..., spec="augment.yaml")`."""

    task = "detect"


class LearnedSegmentationTrainer(_Learned, SegmentationTrainer):
    """Trains instance segmentation with the methods of a spec."""

    task = "segment"


class LearnedPoseTrainer(_Learned, PoseTrainer):
    """Trains pose estimation with the methods of a spec."""

    task = "pose"


class LearnedOBBTrainer(_Learned, OBBTrainer):
    """Trains a detector of oriented boxes with the methods of a spec."""

    task = "obb"


class LearnedClassificationTrainer(_Learned, ClassificationTrainer):
    """Trains a classifier with the methods of a spec."""

    task = "classify"
