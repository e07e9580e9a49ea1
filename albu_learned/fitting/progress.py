"""How a fit tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Progress", "told"]

Progress = bool | Callable[[int, int], object] | None


@contextmanager
def told(
    progress: Progress, done: int, total: int, doing: str, unit: str
) -> Iterator[Callable[[int], object]]:
    """What is to be told of so many more: to a function, or to a bar, if tqdm is there."""
    bar = _bar(done, total, doing, unit) if progress is True else None

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if bar is not None:
            bar.update(more)
        elif callable(progress):
            progress(done, total)

    try:
        yield tell
    finally:
        if bar is not None:
            bar.close()


def _bar(done: int, total: int, doing: str, unit: str) -> Any:
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return None
    return tqdm(initial=done, total=total, desc=doing, unit=unit, disable=None)
