"""The hook: callbacks that bring the methods of a spec into whatever trainer calls them.

A callback is all that Ultralytics takes along to another process. So the hook holds the spec alone,
plain values, and what belongs to a running training hangs on its trainer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from albu_learned.spec import Spec
from albu_learned.ultralytics import find
from albu_learned.ultralytics.given import check
from albu_learned.ultralytics.host import Model
from albu_learned.ultralytics.session import Session

__all__ = ["Hook", "install"]

EVENTS = ("on_pretrain_routine_end", "on_train_epoch_start", "on_train_epoch_end", "teardown")
SESSION = "albu_learned"  # the trainer's attribute
Callbacks = dict[str, list[Callable[..., Any]]]
M = TypeVar("M")


@dataclass(frozen=True, eq=False)
class Hook:
    """Augments every training that runs its callbacks."""

    spec: Spec

    def register(self, callbacks: Callbacks) -> None:
        """Adds the callbacks, in the place of those of any other hook."""
        remove(callbacks)
        for event in EVENTS:
            callbacks.setdefault(event, []).append(getattr(self, event))

    def on_pretrain_routine_end(self, trainer: Any) -> None:
        """In every process of a training, once its model and loaders are there."""
        if hasattr(trainer, SESSION):
            raise RuntimeError(
                "A training must have one spec, but two hooks are among its callbacks. Use either "
                "install(), or a trainer class, or the command `albu-learned yolo`."
            )
        session = Session(trainer, self.spec)
        session.attach()
        setattr(trainer, SESSION, session)

    def on_train_epoch_start(self, trainer: Any) -> None:
        getattr(trainer, SESSION).begin(trainer.epoch)

    def on_train_epoch_end(self, trainer: Any) -> None:
        getattr(trainer, SESSION).end()

    def teardown(self, trainer: Any) -> None:
        session = vars(trainer).pop(SESSION, None)
        if session is not None:
            session.detach()


def installed(callbacks: Callbacks) -> Hook | None:
    """The hook among callbacks, if there is one."""
    for listed in callbacks.values():
        for each in listed:
            if isinstance(getattr(each, "__self__", None), Hook):
                return each.__self__  # type: ignore[attr-defined]
    return None


def remove(callbacks: Callbacks) -> None:
    """Takes every hook out of callbacks."""
    for listed in callbacks.values():
        listed[:] = [x for x in listed if not isinstance(getattr(x, "__self__", None), Hook)]


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
    found = find.of_run(getattr(model, "ckpt_path", None)) if spec is None else find.as_spec(spec)
    if found is None:
        raise ValueError(
            f"`spec` must be given: {find.RUN_FILE}, which a run with one leaves beside its "
            f"weights, was not found for the model {model.model_name!r}."
        )
    check(found, model.task)
    Hook(found).register(model.callbacks)
    model.tune = _refuse_to_tune
    return model


def _refuse_to_tune(*_: Any, **__: Any) -> None:
    """Both ways of tuning drop callbacks: in processes of the `yolo` command, and in Ray's."""
    raise NotImplementedError(
        "`tune` cannot be used on a model with a spec: Ultralytics tunes in other processes, which "
        "would train without it. Tune a model without install(), or call train() in a loop."
    )
