"""The door: a model whose trainings are augmented, and that does not train without.

A callback can be lost: a trainer may drop those it is given, and a model can be told to forget its
own. So the model's `train` looks for the hook before, and for its traces after.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from albu_learned.spec import Spec, as_spec
from albu_learned.ultralytics import find
from albu_learned.ultralytics.given import check
from albu_learned.ultralytics.hook import AUGMENTED, EVENTS, Hook
from albu_learned.ultralytics.host import Model

__all__ = ["install"]

M = TypeVar("M")


def install(model: M, spec: str | os.PathLike[str] | Spec | None = None) -> M:
    """Brings the methods of a spec into every training of a YOLO model.

    Args:
        model: a model of Ultralytics, such as `YOLO("yolo11n.pt")`.
        spec: the YAML file that says which methods, where and when (see `albu_learned.spec`). May
            be left out if the model is the checkpoint `last.pt` of a run that had one.

    Returns:
        The same model.

    Example:
        >>> from ultralytics import YOLO                                  # doctest: +SKIP
        >>> model = install(YOLO("yolo11n-cls.pt"), "augment.yaml")       # doctest: +SKIP
        >>> model.train(data="flowers", epochs=100)                       # doctest: +SKIP
    """
    if not isinstance(model, Model):
        raise TypeError(
            f"`model` must be a model of Ultralytics, got {type(model).__name__}. "
            'Write YOLO("yolo11n.pt").'
        )
    found = find.of_run(getattr(model, "ckpt_path", None)) if spec is None else as_spec(spec)
    if found is None:
        raise ValueError(
            f"`spec` must be given: {find.RUN_FILE}, which a run with one leaves beside its "
            f"weights, was not found for the model {model.model_name!r}."
        )
    check(found, model.task)
    hook = Hook(found)
    hook.register(model.callbacks)
    before = vars(model).get("train")
    model.train = _Train(model, hook, before.inner if isinstance(before, _Train) else before)
    model.tune = _refuse_to_tune
    return model


class _Train:
    """`train` of one model. An object, so that the model can be copied and pickled with it.

    Args:
        model: the model.
        hook: what must be among its callbacks.
        inner: a `train` of its own that the model has in the place of its class's, if it has one.
    """

    def __init__(self, model: Any, hook: Hook, inner: Callable[..., Any] | None) -> None:
        self.model = model
        self.hook = hook
        self.inner = inner

    def __call__(self, *args: Any, **settings: Any) -> Any:
        lost = [event for event in EVENTS if not self._hooked(event)]
        if lost:
            raise RuntimeError(
                f"The callbacks of a model with a spec must have its hook, but {', '.join(lost)} "
                "lost it. Call install() again; to train without a spec, make a new model."
            )
        inner = self.inner or type(self.model).train.__get__(self.model)
        result = inner(*args, **settings)
        if not _augmented(self.model.trainer, self.hook.spec):
            raise RuntimeError(
                f"The training must be augmented by the spec {self.hook.spec.path!r}, but "
                f"{type(self.model.trainer).__name__} has trained without it: it dropped the "
                "callbacks that it was given. Let it pass `_callbacks` on, and train again."
            )
        return result

    def _hooked(self, event: str) -> bool:
        listed = self.model.callbacks.get(event, [])
        return any(getattr(each, "__self__", None) is self.hook for each in listed)


def _augmented(trainer: Any, spec: Spec) -> bool:
    if getattr(trainer, "ddp", False):
        return True  # other processes have trained, with the callbacks of this trainer
    if not hasattr(trainer, "trainers"):
        return bool(getattr(trainer, AUGMENTED, None) == spec)
    # Several data sets, one after the other: the host keeps the folders of the trainings alone.
    return all(_left_its_spec(Path(run.save_dir)) for run in trainer.trainers)


def _left_its_spec(run: Path) -> bool:
    return (run / find.RUN_FILE).is_file() and not find.is_stale(run)


def _refuse_to_tune(*_: Any, **__: Any) -> None:
    """Both ways of tuning drop callbacks: in processes of the `yolo` command, and in Ray's."""
    raise NotImplementedError(
        "`tune` cannot be used on a model with a spec: Ultralytics tunes in other processes, which "
        "would train without it. Tune a model without install(), or call train() in a loop."
    )
