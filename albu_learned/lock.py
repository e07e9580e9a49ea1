"""A folder that one process works in at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["alone"]


@contextmanager
def alone(folder: Path, file: Path, doing: str) -> Iterator[None]:
    """Refuses the folder to others until the end of the block, or of the process, however it ends.

    Args:
        folder: for the message.
        file: the lock, which stays; that it is there does not mean that it is held.
        doing: what another process would be at, for the message: "fitting".
    """
    try:
        import fcntl
    except ImportError:  # Windows: nobody is refused
        yield
        return
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"`folder` must be used by one process at a time, got {str(folder)!r}, in which "
                f"another is {doing}. Wait for it, or choose another."
            ) from error
        yield
    finally:
        os.close(handle)
