"""Where a training finds its spec: given, in the environment, or beside the run it resumes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from albu_learned.spec import Spec, read

__all__ = ["RUN_FILE", "VARIABLE", "as_spec", "of_environment", "of_run"]

RUN_FILE = "albu_learned.yaml"
VARIABLE = "ALBU_LEARNED"


def as_spec(given: Any) -> Spec:
    """A spec, or the one in a file."""
    return given if isinstance(given, Spec) else read(given)


def of_environment() -> Spec | None:
    path = os.environ.get(VARIABLE)
    return read(path) if path else None


def of_run(checkpoint: Any) -> Spec | None:
    """The spec that a run was trained with, from the checkpoint `<run>/weights/last.pt`."""
    if not isinstance(checkpoint, (str, os.PathLike)):
        return None
    path = Path(checkpoint).resolve().parent.parent / RUN_FILE
    return read(path) if path.is_file() else None
