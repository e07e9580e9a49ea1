"""What a comparison has found so far, in a folder, so that a run that was stopped goes on.

    cells.jsonl     a line for every stage of a cell that is finished
    weights/        the weights of cells between two stages
    lock            held by the process that works here

A line is appended whole and is on disk before `append` returns. A process may be killed at any
moment: the line it was writing is dropped, the others stay.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from albu_learned.artifact import write_atomically
from albu_learned.lock import alone

__all__ = ["Store"]

CELLS = "cells.jsonl"
LOCK = "lock"
WEIGHTS = "weights"
LINE = {"key": str, "stage": str, "values": dict}


class Store:
    """The results in a folder, which is locked until `close`, or until the process ends."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        (self.folder / WEIGHTS).mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            held.enter_context(alone(self.folder, self.folder / LOCK, "running a comparison"))
            self._file = os.open(self.folder / CELLS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            held.callback(os.close, self._file)
            self._drop_unfinished()
            self._held = held.pop_all()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets others work in the folder."""
        self._held.close()

    def read(self) -> dict[str, dict[str, dict[str, Any]]]:
        """For every cell its stages, and for each of them its values. The first line counts."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for number, line in enumerate(self._lines(), start=1):
            cell = _parse(line)
            if cell is None:
                raise ValueError(
                    f"{str(self.folder / CELLS)!r} must have a cell in every line, got "
                    f"{line[:60]!r} in line {number}. Something else wrote it: delete the line."
                )
            found.setdefault(cell["key"], {}).setdefault(cell["stage"], cell["values"])
        return found

    def append(self, key: str, stage: str, values: Mapping[str, Any]) -> None:
        """Keeps the values of a stage: JSON, and finite numbers."""
        cell = {"key": key, "stage": stage, "values": dict(values)}
        try:
            line = json.dumps(cell, sort_keys=True, allow_nan=False).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"`values` must be JSON with finite numbers, got {cell['values']} for the stage "
                f"{stage!r} of {key!r} ({error}). If the training diverged, give a lower learning "
                "rate."
            ) from error
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(f"{str(self.folder / CELLS)!r} cannot grow: the disk is full.")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, size)  # half a line would spoil the next
            raise

    def weights(self, key: str) -> Path:
        """The file of a cell's weights, whether it is there or not."""
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", key)[:60]
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]  # names alone may be the same
        return self.folder / WEIGHTS / f"{name}-{digest}.safetensors"

    def put_weights(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        write_atomically(self.weights(key), to_safetensors(plain))

    def take_weights(self, key: str) -> dict[str, Tensor]:
        """The weights of a cell, which stay in the folder."""
        path = self.weights(key)
        try:
            return from_safetensors(path.read_bytes())
        except (FileNotFoundError, SafetensorError) as error:
            raise ValueError(
                f"`key` must be a cell whose weights are kept, got {key!r}, but {str(path)!r} "
                f"cannot be read ({error}). Delete its lines in {CELLS} to train it again."
            ) from error

    def drop_weights(self, key: str) -> None:
        self.weights(key).unlink(missing_ok=True)

    def _lines(self) -> list[bytes]:
        return (self.folder / CELLS).read_bytes().splitlines(keepends=True)

    def _drop_unfinished(self) -> None:
        """Removes what a process that was killed has left half-written."""
        lines = self._lines()
        if lines and _parse(lines[-1]) is None:
            os.ftruncate(self._file, sum(map(len, lines[:-1])))
        for path in (self.folder / WEIGHTS).glob(".*.safetensors.*"):  # of write_atomically
            path.unlink()


def _parse(line: bytes) -> dict[str, Any] | None:
    """The cell of a line, or None if it is not a whole one."""
    if not line.endswith(b"\n"):
        return None
    try:
        cell = json.loads(line)
    except ValueError:
        return None
    if not isinstance(cell, dict) or {name: type(part) for name, part in cell.items()} != LINE:
        return None
    return cell
