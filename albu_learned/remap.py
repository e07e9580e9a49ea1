"""How a field moves arrays of a host: pixels by OpenCV, class maps exactly, boxes and points.

The core moves tensors with torch; one picture of 640 x 640 takes OpenCV a fraction of that time.
Conventions stay the core's: see `albu_learned.batch` for where a pixel's centre is.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from albu_learned import resample
from albu_learned.batch import Rows
from albu_learned.kinds import Field

__all__ = ["Motion", "move_boxes", "move_image", "move_mask", "move_points"]

_BORDER = {
    "border": cv2.BORDER_REPLICATE,
    "zeros": cv2.BORDER_CONSTANT,
    "reflection": cv2.BORDER_REFLECT,
}
_NATIVE = {np.dtype(name) for name in ("uint8", "uint16", "int16", "float32", "float64")}
_MOST_CHANNELS = 4  # OpenCV's border value has four entries, and hundreds of channels lose the axis


class Motion:
    """A field for one image, with the maps of the sizes that were asked for."""

    def __init__(self, field: Field, padding: str) -> None:
        self.field = field
        self.padding = padding
        self._corners: dict[tuple[int, int], np.ndarray] = {}
        self._centres: dict[tuple[int, int], np.ndarray] = {}
        self._nearest: dict[tuple[int, int], np.ndarray] = {}

    def centres(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W, 2): the place that each new pixel shows, 0 at the centre of the first pixel."""
        if size not in self._centres:
            self._centres[size] = self._from_corner(size) - np.float32(0.5)
        return self._centres[size]

    def nearest(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W, 2): the pixel that each new pixel shows, as OpenCV's whole numbers."""
        if size not in self._nearest:
            pixels = np.floor(self._from_corner(size))
            limits = np.iinfo(np.int16)
            self._nearest[size] = pixels.clip(limits.min, limits.max).astype(np.int16)
        return self._nearest[size]

    def _from_corner(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W, 2): the place that each new pixel shows, 0 at the corner of the first pixel."""
        if size not in self._corners:
            height, width = size
            grid = self.field.grid(size, torch.empty(0))[0].reshape(height, -1).numpy()
            # x and y side by side in one row: numpy is slow along an axis of two
            scale = np.tile(np.array([width, height], dtype=np.float32), width)
            self._corners[size] = (grid.astype(np.float32, copy=False) * scale).reshape(*size, 2)
        return self._corners[size]


def move_image(image: np.ndarray, motion: Motion) -> np.ndarray:
    """(H, W) or (H, W, C) of any dtype, bilinearly."""
    if image.size == 0:
        return image.copy()
    native = image.dtype in _NATIVE
    source = image if native else image.astype(np.float64)
    moved = _remap(source, motion.centres(source.shape[:2]), cv2.INTER_LINEAR, motion.padding)
    if native:
        return moved
    return (moved if image.dtype.kind == "f" else np.rint(moved)).astype(image.dtype)


def _remap(array: np.ndarray, places: np.ndarray, how: int, padding: str) -> np.ndarray:
    channels = array.reshape(*array.shape[:2], -1)
    chunks = [
        cv2.remap(  # type: ignore[call-overload]  # its types leave out an absent second map
            np.ascontiguousarray(channels[..., start : start + _MOST_CHANNELS]),
            places,
            None,
            how,
            borderMode=_BORDER[padding],
            borderValue=(0, 0, 0, 0),
        ).reshape(*array.shape[:2], -1)  # OpenCV drops a last axis of one
        for start in range(0, channels.shape[2], _MOST_CHANNELS)
    ]
    moved = chunks[0] if len(chunks) == 1 else np.concatenate(chunks, axis=2)
    return np.ascontiguousarray(moved).reshape(array.shape)


def move_mask(mask: np.ndarray, motion: Motion) -> np.ndarray:
    """(H, W) or (H, W, C): floats bilinearly; integers, class numbers, to the nearest pixel.

    OpenCV knows few integer types. Here their bytes are moved, which is exact for all of them.
    """
    if mask.dtype.kind == "f" or mask.size == 0:
        return move_image(mask, motion)
    size = mask.shape[:2]
    bytes_ = np.ascontiguousarray(mask).reshape(-1).view(np.uint8).reshape(*size, -1)
    moved = _remap(bytes_, motion.nearest(size), cv2.INTER_NEAREST, motion.padding)
    return moved.reshape(-1).view(mask.dtype).reshape(mask.shape)


def move_boxes(boxes: np.ndarray, motion: Motion) -> np.ndarray:
    """(N, 4+): fractions of the image, then the host's own columns. Boxes that left are dropped."""
    if len(boxes) == 0:
        return boxes.copy()
    values = torch.from_numpy(boxes[:, :4].astype(np.float32))
    moved = resample.boxes(Rows.at(values, _first_image(len(values)), 1), motion.field)
    assert moved is not None
    moved = moved.take(moved.valid.nonzero()[:, 0])
    rows: np.ndarray = _as_float(boxes)[moved.source[:, 1].numpy()]
    rows[:, :4] = moved.values.numpy()
    return rows


def move_points(points: np.ndarray, motion: Motion, size: Sequence[int]) -> np.ndarray:
    """(N, 2+): x and y in pixels, whole numbers at centres; other columns, order and count stay.

    The host drops a point at -1e-7. So rounding must not push one off the border: a displacement is
    added to the given place, and what is off by no more than rounding is put back.
    """
    if len(points) == 0:
        return points.copy()
    scale = np.array([size[1], size[0]], dtype=np.float64)
    before = ((points[:, :2] + 0.5) / scale).astype(np.float32)
    after = motion.field.points(torch.from_numpy(before)[None])[0].numpy()
    moved = _as_float(points)
    places = moved[:, :2] + (after.astype(np.float64) - before) * scale
    rounding = 4 * np.finfo(np.float32).eps * scale
    moved[:, :2] = np.where((places < 0) & (places > -rounding), 0, places)
    return moved


def _as_float(table: np.ndarray) -> np.ndarray:
    """A copy; whole numbers, which come where no Compose has prepared them, as floats."""
    return table.astype(np.result_type(table.dtype, np.float32))


def _first_image(rows: int) -> torch.Tensor:
    return torch.zeros(rows, dtype=torch.long)
