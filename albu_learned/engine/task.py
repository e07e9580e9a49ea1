"""What is to be done, and what those who do it elsewhere have in common."""

from __future__ import annotations

import functools
import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

__all__ = ["Crew", "Died", "Task", "Work", "call", "environment", "failure", "unpacked"]

Work = Callable[[Any], Any]


@dataclass(frozen=True)
class Task:
    """One call of `work`: with the payload, or with what `load` returns when its turn has come."""

    key: str
    what: str  # for people: "zeta-mixup, 10 a class, seed 3"
    payload: Any = None
    load: Callable[[], Any] | None = None

    def open(self) -> Any:
        return self.payload if self.load is None else self.load()


@dataclass(frozen=True)
class Died:
    """How a process ended that had a task."""

    how: str


class Crew(Protocol):
    """Those who work elsewhere."""

    def room(self) -> bool:
        """Whether a task can be given now."""

    def give(self, task: Task, payload: Any) -> None: ...

    def wait(self) -> list[tuple[Task, bytes | Died]]:
        """Waits until something happens; the tasks that have ended since, with their replies."""

    def stop(self, at_once: bool) -> None: ...


class _Remote(Exception):  # noqa: N818
    """The traceback of another process, to be shown as the cause."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def call(work: bytes, payload: bytes, threads: int) -> bytes:
    """Runs in the other process. Bytes go in and out, whatever happens, so that every engine brings
    results and exceptions home in the same way. They are made by plain pickle: that of
    multiprocessing would leave tensors in shared memory, where they end with their process."""
    try:
        torch.set_num_threads(threads)
        return pickle.dumps((_unpickled(work)(pickle.loads(payload)), None, ""))
    except BaseException as error:
        return failure(error)


@functools.lru_cache(maxsize=1)  # what it has opened serves the next task as well
def _unpickled(work: bytes) -> Work:
    loaded: Work = pickle.loads(work)
    return loaded


def failure(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        reply = pickle.dumps((None, error, text))
        pickle.loads(reply)  # many exceptions go in but not out
        return reply
    except Exception:
        return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), text))


def unpacked(reply: bytes) -> Any:
    result, error, text = pickle.loads(reply)
    if error is not None:
        raise error from _Remote(text)
    return result


@contextmanager
def environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
