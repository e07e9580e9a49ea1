"""Work that may be stopped, and is gone on with by the same command: how the user is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

__all__ = ["Say", "fitted", "stoppable"]

Say = Callable[[str], object]
T = TypeVar("T")


@contextmanager
def stoppable(out: Path, what: str, say: Say) -> Iterator[None]:
    """Tells a user who stops the block how to go on.

    Args:
        out: the folder.
        what: of the work is in the folder, such as "finished".
        say: tells the user.
    """
    try:
        yield
    except KeyboardInterrupt:
        say(f"\nStopped. What is {what} is kept in {out}: the same command goes on from here.")
        raise


def fitted(fit: Callable[[], T], out: Path, size: tuple[str, str], say: Say) -> T:
    """What a fit returns, after what it warns of.

    Args:
        fit: the fit.
        out: its folder.
        size: the argument of a size that it may refuse, and the remedy, which is here another than
            in Python.
        say: tells the user.
    """
    name, remedy = size
    with stoppable(out, "finished", say), warnings.catch_warnings(record=True) as careful:
        warnings.simplefilter("always", UserWarning)
        try:
            found = fit()
        except ValueError as error:
            if not str(error).startswith(f"`{name}`"):
                raise
            raise ValueError(f"{error} {remedy}") from error
    for warning in careful:
        say(f"Careful: {warning.message}")
    return found
