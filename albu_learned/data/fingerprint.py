"""A short text that tells data sets apart, and is the same on every machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from albu_learned.data import label_file
from albu_learned.data.files import content
from albu_learned.data.rows import Boxes, Data

__all__ = ["fingerprint"]


def fingerprint(data: Data | Boxes) -> str:
    """16 hexadecimal digits of class names, labels, groups, names and contents of files.

    Nothing of the place on this machine or of the size to which images are resized.
    """
    digest = hashlib.sha256()
    parts = [data.kind.encode(), *(name.encode() for name in data.classes)]
    parts += _boxes(data) if isinstance(data, Boxes) else _rows(data)
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part)
    return digest.hexdigest()[:16]


def _rows(data: Data) -> list[bytes]:
    return [data.train.identity(), data.test.identity()]


def _boxes(data: Boxes) -> list[bytes]:
    top = Path(os.path.commonpath([*data.train, *data.test]))
    parts = [data.tested_on.encode(), data.present.numpy().tobytes()]
    if data.groups is not None:
        parts.append(data.groups.numpy().astype("<i8").tobytes())
    for images in (data.train, data.test):
        lines = [f"{p.relative_to(top).as_posix()} {content(p)} {_labels(p)}" for p in images]
        parts.append("\n".join(lines).encode())
    return parts


def _labels(image: Path) -> str:
    file = label_file.of(image)
    return content(file) if file.is_file() else "none"
