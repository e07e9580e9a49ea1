"""Arrays in .npy and .npz files, of which only the rows are read that are asked for."""

from __future__ import annotations

import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Member", "Npy", "Source", "refused"]

WHOLE = 2**30  # bytes: larger arrays of an archive are not loaded whole
BLOCK = 2**24  # bytes of them that are read at a time

Array = npt.NDArray[Any]
_BROKEN = (OSError, ValueError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile)


class Source(ABC):
    """Rows of numbers in a file.

    Attributes:
        path: of the file.
        where: how messages call it.
        shape: of all rows together.
        dtype: of a number.
        size: of the file, in bytes.
    """

    path: Path
    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int

    @abstractmethod
    def rows(self, indices: Array) -> Array:
        """The rows of those numbers, in that order."""

    @abstractmethod
    def blocks(self) -> Iterator[Array]:
        """All rows, some at a time."""

    def whole(self) -> Array:
        """All rows at once."""
        return self.rows(np.arange(self.shape[0]))

    def _read_header(self, file: IO[bytes], length: int) -> None:
        self.offset, self.shape, self.dtype, self.in_columns = _header(file, self.where)
        self.row_bytes = int(np.prod(self.shape[1:], dtype=object)) * self.dtype.itemsize
        if self.offset + self.shape[0] * self.row_bytes != length:
            raise ValueError(
                f"{self.where} is not as long as its header says, so it was cut off or damaged. "
                "Copy the file again."
            )

    @property
    def step(self) -> int:
        """The rows of a block."""
        return max(1, BLOCK // max(1, self.row_bytes))


class Npy(Source):
    """A .npy file, of which the system holds no more in memory than it likes."""

    def __init__(self, path: Path) -> None:
        self.path, self.where, self.size = path, repr(str(path)), path.stat().st_size
        with refused(self.where), path.open("rb") as file:
            self._read_header(file, self.size)

    def rows(self, indices: Array) -> Array:
        found: Array = self._mapped()[indices]
        return found

    def blocks(self) -> Iterator[Array]:
        mapped = self._mapped()
        for start in range(0, self.shape[0], self.step):
            yield mapped[start : start + self.step]

    def _mapped(self) -> Array:
        with refused(self.where):
            found: Array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return found


class Member(Source):
    """An array of a .npz archive: loaded at the first use if small, or else streamed each time."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key, self.size = path, key, path.stat().st_size
        self.where = f"`{key}` of {str(path)!r}"
        self._loaded: Array | None = None
        with self._open() as (file, length):
            self._read_header(file, length)
        if self.in_columns and self._is_large():
            raise ValueError(
                f"{self.where} must be stored row by row, to be read in parts. Save "
                "np.ascontiguousarray of it."
            )

    def rows(self, indices: Array) -> Array:
        if not self._is_large():
            return self._load()[indices]
        wanted, back = np.unique(indices, return_inverse=True)
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        with self._open() as (file, _):
            for first in (np.unique(wanted // self.step) * self.step).tolist():
                here = (wanted >= first) & (wanted < first + self.step)
                file.seek(self.offset + first * self.row_bytes)
                found[here] = self._block(file, first)[wanted[here] - first]
        return found[back]

    def blocks(self) -> Iterator[Array]:
        if not self._is_large():
            yield self._load()
            return
        with self._open() as (file, _):
            file.read(self.offset)  # not `seek`, which can end the archive's checksum
            for first in range(0, self.shape[0], self.step):
                yield self._block(file, first)

    def _is_large(self) -> bool:
        return self.shape[0] * self.row_bytes > WHOLE

    def __getstate__(self) -> dict[str, Any]:
        """Other processes read the file themselves."""
        return {**self.__dict__, "_loaded": None}

    def _load(self) -> Array:
        if self._loaded is None:
            with self._open() as (file, _):
                self._loaded = np.lib.format.read_array(file, allow_pickle=False)
        return self._loaded

    def _block(self, file: IO[bytes], first: int) -> Array:
        count = min(self.step, self.shape[0] - first)
        content = file.read(count * self.row_bytes)
        return np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])

    @contextmanager
    def _open(self) -> Iterator[tuple[IO[bytes], int]]:
        with (
            refused(self.where),
            zipfile.ZipFile(self.path) as archive,
            archive.open(f"{self.key}.npy") as file,
        ):
            yield file, archive.getinfo(f"{self.key}.npy").file_size


@contextmanager
def refused(where: str) -> Iterator[None]:
    """Turns what a broken file makes numpy and zipfile raise into an error that names the file."""
    try:
        yield
    except _BROKEN as error:
        if isinstance(error, ValueError) and where in str(error):
            raise
        reason = str(error).removesuffix(".") or type(error).__name__
        raise ValueError(f"{where} cannot be read ({reason}). Copy the file again.") from error


_HEADERS: dict[tuple[int, int], Callable[[IO[bytes]], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _header(file: IO[bytes], where: str) -> tuple[int, tuple[int, ...], np.dtype[Any], bool]:
    """Where the numbers start, their shape, their dtype, and whether columns come first."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{where} must be a plain array of numbers or texts.")
    shape, in_columns, dtype = _HEADERS[version](file)
    if dtype.hasobject or dtype.fields is not None:
        raise ValueError(
            f"{where} must be a plain array of numbers or texts, got Python objects, pickled, "
            "which are not read because they can run code. Save it with a dtype of numpy."
        )
    if not shape:
        raise ValueError(f"{where} must have rows, got a single number.")
    return file.tell(), shape, dtype, in_columns
