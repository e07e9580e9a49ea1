"""The hook: callbacks that bring the methods of a spec into whatever trainer calls them.

A callback is all that Ultralytics takes along to another process. So the hook holds the spec alone,
plain values, and what belongs to a running training hangs on its trainer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from albu_learned.spec import Spec
from albu_learned.ultralytics.listed import Callbacks, owner
from albu_learned.ultralytics.session import Session

__all__ = ["AUGMENTED", "EVENTS", "Callbacks", "Hook", "installed", "remove"]

EVENTS = ("on_pretrain_routine_end", "on_train_epoch_start", "on_train_epoch_end", "teardown")
SESSION = "albu_learned"  # the trainer's attribute, while it trains
AUGMENTED = "albu_learned_spec"  # and the one that stays: the spec that it had


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
        setattr(trainer, AUGMENTED, self.spec)

    def on_train_epoch_start(self, trainer: Any) -> None:
        _session(trainer).begin(trainer.epoch)

    def on_train_epoch_end(self, trainer: Any) -> None:
        _session(trainer).end()

    def teardown(self, trainer: Any) -> None:
        session = vars(trainer).pop(SESSION, None)
        if session is not None:
            session.detach()


def _session(trainer: Any) -> Session:
    session = vars(trainer).get(SESSION)
    if session is None:
        raise RuntimeError(
            "A training with a spec must run `on_pretrain_routine_end` of its hook, but an epoch "
            "began without it, so nothing would be augmented. Leave that callback where it is, and "
            "give the spec before the training starts."
        )
    assert isinstance(session, Session)
    return session


def installed(callbacks: Callbacks) -> Hook | None:
    """The hook among callbacks, if there is one."""
    return owner(callbacks, Hook)


def remove(callbacks: Callbacks) -> None:
    """Takes every hook out of callbacks."""
    for listed in callbacks.values():
        listed[:] = [x for x in listed if not isinstance(getattr(x, "__self__", None), Hook)]
