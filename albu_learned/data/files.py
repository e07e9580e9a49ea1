"""Image files below a folder, how many of them a message names, and what tells files apart."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["EXTENSIONS", "OTHERS", "content", "contents", "folders_in", "images_below"]
__all__ += ["is_image", "listed"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
OTHERS = (".avif", ".dng", ".heic", ".heif", ".jp2", ".mpo")  # that Ultralytics reads, and we not


def is_image(path: Path, extensions: Sequence[str] = EXTENSIONS) -> bool:
    """Whether the name is an image's. Hidden files are none: archives of a Mac are full of them."""
    return path.suffix.lower() in extensions and not path.name.startswith(".")


def images_below(folder: Path, extensions: Sequence[str] = EXTENSIONS) -> list[Path]:
    """Every image in a folder and in its folders, in the same order on every machine."""
    found = [path for path in _below(folder) if is_image(path, extensions)]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _below(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """The files in a folder and in its folders; links are followed, but not in circles."""
    real = os.path.realpath(folder)
    if real in above:
        return
    _, folders, names = next(os.walk(folder), ("", [], []))
    yield from (folder / name for name in names)
    for name in folders:
        if not name.startswith("."):
            yield from _below(folder / name, (*above, real))


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, sorted by name."""
    found = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return sorted(found, key=lambda path: path.name)


def listed(problems: Sequence[str], most: int = 5) -> str:
    """The number of problems and the first of them."""
    shown = "; ".join(problems[:most])
    if len(problems) <= most:
        return f"{len(problems)} of them: {shown}" if len(problems) > 1 else shown
    return f"{len(problems)} of them, the first {most}: {shown}"


def content(path: Path) -> str:
    """What tells the content of a file from others, in 16 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()[:16]


def contents(paths: Sequence[Path]) -> list[bytes]:
    """What tells the contents of files apart."""
    return [content(path).encode() for path in paths]
