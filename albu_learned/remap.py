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
from albu_learned.kinds import Field

__all__ = ["Motion", "move_boxes", "move_image", "move_mask", "move_oriented", "move_points"]

_BORDER = {
    "border": cv2.BORDER_REPLICATE,
    "zeros": cv2.BORDER_CONSTANT,
    "reflection": cv2.BORDER_REFLECT,
}
# Of the box from 0 to 1: to make it anew would take longer than to move it.
_OUTLINES = {
    how: resample.outline(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), how)[0]
    for how in ("outline", "ellipse")
}
_NATIVE = {np.dtype(name) for name in ("uint8", "uint16", "int16", "float32", "float64")}
Maps = tuple[np.ndarray, "np.ndarray | None"]
_LARGEST_FIXED = 16_000  # pixels: fixed points are of 16 bits
_WHOLE = 1e-6
_MOST_CHANNELS = 4  # OpenCV's border value has four entries, and hundreds of channels lose the axis


class Motion:
    """A field for one image, with the maps of the sizes that were asked for.

    Args:
        field: of one row.
        padding: what is beyond the border, see `kinds.Warp`.
        box: what a box is taken for, see `kinds.Warp`.
        min_visible: the share of a moved box that must be inside the frame.
    """

    def __init__(
        self, field: Field, padding: str, box: str = "outline", min_visible: float = 0.0
    ) -> None:
        self.field = field
        self.padding = padding
        self.box = box
        self.min_visible = min_visible
        self._corners: dict[tuple[int, int], np.ndarray] = {}
        self._centres: dict[tuple[int, int], np.ndarray] = {}
        self._nearest: dict[tuple[int, int], np.ndarray] = {}
        self._lattices: dict[tuple[int, int], torch.Tensor | None] = {}
        self._fixed: dict[tuple[int, int], Maps] = {}

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

    def maps(self, image: np.ndarray) -> Maps:
        """What OpenCV shall read for an image. Bytes cannot show the 1/64 px by which its fixed
        points are off, so a field that has a lattice gives them those: they are a little faster."""
        size = image.shape[:2]
        if image.dtype != np.uint8 or max(size) > _LARGEST_FIXED:
            return self.centres(size), None
        if size not in self._fixed:
            lattice = self._lattice(size)
            if lattice is None:
                return self.centres(size), None
            places = between(lattice - np.float32(0.5), size)
            self._fixed[size] = cv2.convertMaps(places, None, cv2.CV_16SC2)  # type: ignore[call-overload]
        return self._fixed[size]

    def _from_corner(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W, 2): the place that each new pixel shows, 0 at the corner of the first pixel."""
        if size not in self._corners:
            lattice = self._lattice(size)
            self._corners[size] = self._whole(size) if lattice is None else between(lattice, size)
        return self._corners[size]

    def _whole(self, size: tuple[int, int]) -> np.ndarray:
        height, width = size
        grid = self.field.grid(size, torch.empty(0))[0].reshape(height, -1).numpy()
        # x and y side by side in one row: numpy is slow along an axis of two
        scale = np.tile(np.array([width, height], dtype=np.float32), width)
        return (grid.astype(np.float32, copy=False) * scale).reshape(*size, 2)

    def _lattice(self, size: tuple[int, int]) -> np.ndarray | None:
        """(rows, columns, 2): the field's lattice, in pixels, where that is the sparser one."""
        if size not in self._lattices:
            self._lattices[size] = self.field.lattice(size)
        lattice = self._lattices[size]
        if lattice is None or any(2 * n > m for n, m in zip(lattice.shape[1:3], size, strict=True)):
            return None
        scale = np.array([size[1], size[0]], dtype=np.float32)
        return lattice[0].numpy().astype(np.float32, copy=False) * scale


def between(lattice: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 2): the values at the centres of pixels of a lattice from border to border.

    OpenCV's resize is the fastest there is, but puts nodes at the centres of cells, from which the
    wanted place is off by part of a pixel. Across, where rows are few, two neighbouring pixels are
    blended; downwards the nodes are shifted instead, which is exact but for the kinks at nodes. In
    all, 99 of 100 pixels are within 0.03 px of the core's grid at the default strength, and every
    one within 0.05.
    """
    height, width = size
    wide = _across(_extended(lattice), width)
    rows = len(wide)
    pixels = height / (rows - 3)  # from node to node
    first = 1.5 * pixels  # of the picture, in the one that resize makes
    start = round(first)
    wide = _shifted(wide, (first - start) / pixels)
    tall = cv2.resize(wide, None, fx=1, fy=pixels, interpolation=cv2.INTER_LINEAR)
    return tall[start : start + height]


def _extended(lattice: np.ndarray) -> np.ndarray:
    """With one more node beyond each border, in a straight line."""
    tall = np.concatenate(
        [2 * lattice[:1] - lattice[1:2], lattice, 2 * lattice[-1:] - lattice[-2:-1]]
    )
    left, right = 2 * tall[:, :1] - tall[:, 1:2], 2 * tall[:, -1:] - tall[:, -2:-1]
    return np.concatenate([left, tall, right], axis=1)


def _across(lattice: np.ndarray, width: int) -> np.ndarray:
    pixels = width / (lattice.shape[1] - 3)
    start, off = divmod(1.5 * pixels, 1)
    wide = cv2.resize(lattice, None, fx=pixels, fy=1, interpolation=cv2.INTER_LINEAR)
    left = wide[:, int(start) : int(start) + width]
    if off < _WHOLE:
        return left
    right = wide[:, int(start) + 1 : int(start) + 1 + width]
    return cv2.addWeighted(left, 1 - off, right, off, 0)


def _shifted(lattice: np.ndarray, by: float) -> np.ndarray:
    """The lattice whose rows stand at places off by a part of a node's distance."""
    if abs(by) < _WHOLE:
        return np.ascontiguousarray(lattice)
    step = np.diff(lattice, axis=0)
    step = np.concatenate([step, step[-1:]] if by > 0 else [step[:1], step])
    shifted: np.ndarray = lattice + np.float32(by) * step
    return shifted


def move_image(image: np.ndarray, motion: Motion) -> np.ndarray:
    """(H, W) or (H, W, C) of any dtype, bilinearly."""
    if image.size == 0:
        return image.copy()
    native = image.dtype in _NATIVE
    source = image if native else image.astype(np.float64)
    moved = _remap(source, motion.maps(source), cv2.INTER_LINEAR, motion.padding)
    if native:
        return moved
    return (moved if image.dtype.kind == "f" else np.rint(moved)).astype(image.dtype)


def _remap(array: np.ndarray, maps: Maps, how: int, padding: str) -> np.ndarray:
    channels = array.reshape(*array.shape[:2], -1)
    chunks = [
        cv2.remap(
            np.ascontiguousarray(channels[..., start : start + _MOST_CHANNELS]),
            *maps,  # type: ignore[arg-type]  # its types leave out an absent second map
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
    moved = _remap(bytes_, (motion.nearest(size), None), cv2.INTER_NEAREST, motion.padding)
    return moved.reshape(-1).view(mask.dtype).reshape(mask.shape)


def move_boxes(boxes: np.ndarray, motion: Motion) -> np.ndarray:
    """(N, 4+): fractions of the image, then the host's own columns. Boxes that left are dropped."""
    if len(boxes) == 0:
        return boxes.copy()
    if motion.box == "mask":
        raise ValueError(
            '`box` of the warp must be "outline" or "ellipse" here, got "mask", which needs the '
            "mask of every object beside its box. Choose one of those."
        )
    values = torch.from_numpy(np.ascontiguousarray(boxes[:, :4], dtype=np.float32))
    low, high = values[:, None, :2], values[:, None, 2:]
    outlines = low + _OUTLINES[motion.box] * (high - low)
    moved = motion.field.points(outlines.reshape(1, -1, 2)).view(outlines.shape)
    around, visible = resample.enclosure(moved, motion.min_visible)
    kept = visible.numpy()
    rows: np.ndarray = _as_float(boxes)[kept]
    rows[:, :4] = around.numpy()[kept]
    return rows


def move_oriented(boxes: np.ndarray, motion: Motion, size: Sequence[int]) -> np.ndarray:
    """(N, 5+): x1, y1, x2, y2 as fractions of a picture of this height and width, of a box that is
    turned about its centre by so many degrees, then the host's own columns.

    The new box is the smallest one around the moved outline, whichever way it lies; of its sides
    that one is its width whose angle is next to the given one. Boxes that left are dropped.
    """
    if len(boxes) == 0:
        return boxes.copy()
    scale = np.array([size[1], size[0]], dtype=np.float64)
    middle = (boxes[:, None, :2] + boxes[:, None, 2:4]) / 2 * scale
    extent = (boxes[:, None, 2:4] - boxes[:, None, :2]) * scale
    straight = (_OUTLINES["outline"].numpy() - 0.5) * extent
    outlines = (middle + straight @ _turns(boxes[:, 4])) / scale
    places = torch.from_numpy(outlines.astype(np.float32))
    moved = motion.field.points(places.view(1, -1, 2)).view(places.shape)
    kept = resample.enclosure(moved, motion.min_visible)[1].numpy()
    rows: np.ndarray = _as_float(boxes)[kept]
    for row, points in zip(rows, moved[kept].numpy() * np.float32(scale), strict=True):
        (x, y), (width, height), angle = cv2.minAreaRect(points)
        quarters = round((row[4] - angle) / 90)
        if quarters % 2:
            width, height = height, width
        half = np.array([width, height]) / 2
        centre = np.array([x, y])
        low, high = (centre - half) / scale, (centre + half) / scale
        angle = (angle + 90 * quarters + 90) % 180 - 90
        row[:5] = [*low, *high, angle]
    return rows


def _turns(degrees: np.ndarray) -> np.ndarray:
    """(N, 2, 2): what turns points, as rows, clockwise on the screen."""
    angle = np.deg2rad(degrees.astype(np.float64))
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, sin], axis=1), np.stack([-sin, cos], axis=1)], axis=1)


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
