"""The spec that a run has left beside its weights, for a training that resumes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from albu_learned.method import methods
from albu_learned.spec import Spec, read
from albu_learned.spec.entry import IN_SCRIPT

__all__ = ["RUN_FILE", "is_stale", "of_run"]

RUN_FILE = "albu_learned.yaml"


def of_run(checkpoint: Any) -> Spec | None:
    """The spec that a run was trained with, from the checkpoint `<run>/weights/last.pt`."""
    if not isinstance(checkpoint, (str, os.PathLike)):
        return None
    path = Path(checkpoint).resolve().parent.parent / RUN_FILE
    if not path.is_file():
        return None
    if is_stale(path.parent):
        raise ValueError(
            f"`spec` must be given: {str(path)!r} is older than the args.yaml beside it, so a "
            "later run in this folder was trained without it."
        )
    try:
        return read(path)
    except ValueError as error:
        lost = [name for name in _in_script(path) if name not in methods()]
        if not lost:
            raise
        raise ValueError(
            f"`spec` must be given: {str(path)!r} cannot be read again, for {', '.join(lost)} was "
            "defined in the script, not in a module. Define it in a module of its own, and name "
            "that in `modules`."
        ) from error


def is_stale(run: Path) -> bool:
    """Whether what a run has left of its spec is that of an earlier one in the same folder. A
    training writes its arguments first, then its spec."""
    arguments = run / "args.yaml"
    return (
        arguments.is_file() and arguments.stat().st_mtime_ns > (run / RUN_FILE).stat().st_mtime_ns
    )


def _in_script(path: Path) -> list[str]:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix(IN_SCRIPT).split(", ") if first.startswith(IN_SCRIPT) else []
