"""Image files as RGB tensors, by Pillow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albu_learned.data.files import listed
from albu_learned.data.pictures import opened

__all__ = ["alike", "native", "squares", "unreadable", "usual_size"]

THREADS = min(8, os.cpu_count() or 1)


def squares(paths: Sequence[Path], size: int) -> Tensor:
    """The images as (n, 3, size, size) uint8: shorter side resized, then cropped at the centre."""
    _pillow()
    result = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)

    def put(i: int) -> None:
        result[i] = _square(paths[i], size)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, range(len(paths))))  # a list, so that errors are raised here
    return result


def usual_size(paths: Sequence[Path], most: int) -> int:
    """The largest of the shorter sides, that none is enlarged; no more than `most`. What cannot be
    opened is left to `unreadable`."""
    _pillow()
    largest = 0
    for path in paths:
        try:
            with opened(path) as file:
                largest = max(largest, min(file.size))
        except Exception:  # a broken file makes Pillow raise anything
            continue
        if largest >= most:
            break
    return min(largest, most) or most


def alike(paths: Sequence[Path], longest: int) -> Tensor:
    """The images as (n, 3, H, W) uint8: all in the shape of the first, with so many pixels along
    the longer side, so that what has another is stretched."""
    pictures = [_load(path) for path in paths]
    scale = longest / max(pictures[0].size)
    size = [max(1, round(scale * pixels)) for pixels in pictures[0].size]
    bilinear = _pillow()[0].Resampling.BILINEAR
    arrays = [np.array(picture.resize(size, bilinear)) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def native(paths: Sequence[Path]) -> list[Tensor]:
    """The images as they are, each (3, H, W) uint8."""
    _pillow()

    def read(path: Path) -> Any:
        try:
            return np.array(_load(path)).transpose(2, 0, 1).copy()
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(read, paths))
    problems = [one for one in found if isinstance(one, str)]
    if problems:
        raise ValueError(
            f"Every image must be readable, but {listed(problems)}. Mend these files or leave "
            "them out."
        )
    return [torch.from_numpy(image) for image in found]


def unreadable(paths: Sequence[Path]) -> list[str]:
    """What is wrong with those of the images that cannot be decoded."""
    _pillow()

    def problem(path: Path) -> str | None:
        try:
            _load(path)
        except ValueError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        return [found for found in pool.map(problem, paths) if found is not None]


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        if error.name != "PIL":
            raise
        raise ImportError(
            "Image files are read by Pillow, which is not installed. "
            'Install it with: pip install "albu_learned[cli]"'
        ) from error
    return Image, ImageOps


def _square(path: Path, size: int) -> Tensor:
    image, ops = _pillow()
    picture = ops.fit(_load(path), (size, size), method=image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _load(path: Path) -> Any:
    """The picture in RGB, turned the way its camera was held."""
    _, ops = _pillow()
    try:
        with opened(path) as file:
            return _rgb(ops.exif_transpose(file), file.format)
    except Exception as error:  # a broken file makes Pillow's decoders raise anything
        reason = str(error).removesuffix(".") or type(error).__name__
        raise ValueError(f"{str(path)!r} cannot be read as an image ({reason})") from error


def _rgb(picture: Any, form: str) -> Any:
    # Pillow cuts grey values off at 255 where a file has 16 bits; older ones open it as mode I.
    if picture.mode.startswith("I;16") or (picture.mode == "I" and form == "PNG"):
        image, _ = _pillow()
        picture = image.fromarray(np.round(np.asarray(picture) / 257).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"mode {picture.mode}, 32 bits, has no range; save it with 8 or 16 bits")
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")
