"""The callbacks that a trainer is made with: copied before they are changed, and looked through."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from albu_learned.ultralytics.host import callbacks

__all__ = ["Callbacks", "copied", "owner"]

Callbacks = dict[str, list[Callable[..., Any]]]
T = TypeVar("T")


def copied(
    overrides: dict[str, Any] | None, given: Callbacks | None
) -> tuple[dict[str, Any], Callbacks]:
    """Overrides and callbacks for a trainer to change: those of its model stay as they are."""
    listed = copy.copy(given) if given else callbacks.get_default_callbacks()
    for event, functions in listed.items():
        listed[event] = list(functions)
    return dict(overrides or {}), listed


def owner(listed: Callbacks, kind: type[T]) -> T | None:
    """The object of this class to which a callback belongs, if there is one."""
    for functions in listed.values():
        for each in functions:
            found = getattr(each, "__self__", None)
            if isinstance(found, kind):
                return found
    return None
