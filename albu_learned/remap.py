"""How a field moves arrays of a host: pixels by OpenCV, class maps exactly, boxes and points.

The core moves tensors with torch; one picture of 640 x 640 takes OpenCV a fraction of that time.
Conventions stay the core's: see `albu_learned.batch` for where a pixel's centre is. (Maps of fixed
points, with which this was first meant to be faster, are slower than those of floats in OpenCV 5
where the motion turns; four channels of bytes are what it is fast at.)
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from albu_learned import resample
from albu_learned.kinds import Field

__all__ = [
    "Motion",
    "move_boxes",
    "move_boxes_and_points",
    "move_image",
    "move_mask",
    "move_oriented",
    "move_points",
]

_BORDER = {
    "border": cv2.BORDER_REPLICATE,
    "zeros": cv2.BORDER_CONSTANT,
    "reflection": cv2.BORDER_REFLECT,
}
# (2, 1, P), of the box from 0 to 1: to make it anew would take longer than to move it. Here and
# below x and y are apart: arithmetic along an axis of two is slow.
_OUTLINES = {
    how: resample.outline(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), how).permute(2, 0, 1).numpy().copy()
    for how in ("outline", "ellipse")
}
_NATIVE = {np.dtype(name) for name in ("uint8", "uint16", "int16", "float32", "float64")}
_WHOLE = 1e-6
_ROUNDING = 4 * np.finfo(np.float32).eps
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
        self._centres: dict[tuple[int, int], np.ndarray] = {}
        self._nearest: dict[tuple[int, int], np.ndarray] = {}

    def centres(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W, 2): the place that each new pixel shows, 0 at the centre of the first pixel."""
        if size not in self._centres:
            lattice = self._lattice(size)
            half = np.float32(0.5)
            self._centres[size] = (
                self._whole(size) - half if lattice is None else between(lattice - half, size)
            )
        return self._centres[size]

    def nearest(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W, 2): the pixel that each new pixel shows, as OpenCV's whole numbers."""
        if size not in self._nearest:
            pixels = np.floor(self.centres(size) + np.float32(0.5))
            limits = np.iinfo(np.int16)
            self._nearest[size] = pixels.clip(limits.min, limits.max).astype(np.int16)
        return self._nearest[size]

    def _whole(self, size: tuple[int, int]) -> np.ndarray:
        height, width = size
        grid = self.field.grid(size, torch.empty(0))[0].reshape(height, -1).numpy()
        # x and y side by side in one row: numpy is slow along an axis of two
        scale = np.tile(np.array([width, height], dtype=np.float32), width)
        return (grid.astype(np.float32, copy=False) * scale).reshape(*size, 2)

    def _lattice(self, size: tuple[int, int]) -> np.ndarray | None:
        """(rows, columns, 2): the field's lattice, in pixels, where that is the sparser one."""
        lattice = self.field.lattice(size)
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
    places = motion.centres(source.shape[:2])
    if source.dtype == np.uint8 and source.shape[2:] == (3,):
        # OpenCV 5 moves four channels of bytes twice as fast as three, and to the same values.
        four = cv2.cvtColor(np.ascontiguousarray(source), cv2.COLOR_RGB2RGBA)
        four = _remap(four, places, cv2.INTER_LINEAR, motion.padding)
        return cv2.cvtColor(four, cv2.COLOR_RGBA2RGB)
    moved = _remap(source, places, cv2.INTER_LINEAR, motion.padding)
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
    outlines = _outlines(boxes, motion.box)
    return _put_around(boxes, _moved(outlines, motion), motion)


def move_points(points: np.ndarray, motion: Motion, size: Sequence[int]) -> np.ndarray:
    """(N, 2+): x and y in pixels, whole numbers at centres; other columns, order and count stay."""
    if len(points) == 0:
        return points.copy()
    before = _as_fractions(points, size)
    return _put_at(points, before, _moved(before, motion), size)


def move_boxes_and_points(
    boxes: np.ndarray, points: np.ndarray, motion: Motion, size: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Both in one go, which takes little more than one of them."""
    if len(boxes) == 0 or len(points) == 0:
        return move_boxes(boxes, motion), move_points(points, motion, size)
    outlines, before = _outlines(boxes, motion.box), _as_fractions(points, size)
    moved = _moved(np.concatenate([outlines.reshape(2, -1), before], axis=1), motion)
    around, after = moved[:, : -len(points)], moved[:, -len(points) :]
    return (
        _put_around(boxes, around.reshape(outlines.shape), motion),
        _put_at(points, before, after, size),
    )


def _moved(places: np.ndarray, motion: Motion) -> np.ndarray:
    """(2, ...): where places, x and y apart, go."""
    points = torch.from_numpy(places.reshape(2, -1)).mT[None]
    return motion.field.points(points)[0].mT.numpy().reshape(places.shape)


def _outlines(boxes: np.ndarray, how: str) -> np.ndarray:
    """(2, N, P): points around boxes."""
    if how == "mask":
        raise ValueError(
            '`box` of the warp must be "outline" or "ellipse" here, got "mask", which needs the '
            "mask of every object beside its box. Choose one of those."
        )
    low, high = boxes[:, :4].astype(np.float32).T.reshape(2, 2, -1, 1)
    outlines: np.ndarray = low + _OUTLINES[how] * (high - low)
    return outlines


def _put_around(boxes: np.ndarray, outlines: np.ndarray, motion: Motion) -> np.ndarray:
    around, kept = _enclosure(outlines, motion.min_visible)
    rows: np.ndarray = _as_float(boxes)[kept]
    rows[:, :4] = around[kept]
    return rows


def _enclosure(outlines: np.ndarray, min_visible: float) -> tuple[np.ndarray, np.ndarray]:
    """`resample.enclosure`, (N, 4) and (N,), of outlines (2, N, P): numpy is faster for so few."""
    whole = np.stack([outlines.min(axis=2), outlines.max(axis=2)])
    shown = np.minimum(np.maximum(whole, 0), 1)
    (width, height), (all_width, all_height) = shown[1] - shown[0], whole[1] - whole[0]
    share = width * height >= min_visible * (all_width * all_height)
    return shown.reshape(4, -1).T, (width > 0) & (height > 0) & share


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
    straight = (_OUTLINES["outline"].transpose(1, 2, 0) - 0.5) * extent
    outlines = (middle + straight @ _turns(boxes[:, 4])) / scale
    moved = _moved(outlines.astype(np.float32).transpose(2, 0, 1), motion)
    kept = _enclosure(moved, motion.min_visible)[1]
    rows: np.ndarray = _as_float(boxes)[kept]
    pixels = np.ascontiguousarray(moved.transpose(1, 2, 0)[kept] * np.float32(scale))
    for row, points in zip(rows, pixels, strict=True):
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


def _as_fractions(points: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(2, N): x and y of points in pixels."""
    return ((points[:, :2] + 0.5) / (size[1], size[0])).T.astype(np.float32)


def _put_at(
    points: np.ndarray, before: np.ndarray, after: np.ndarray, size: Sequence[int]
) -> np.ndarray:
    """Points that go from one place to another.

    The host drops a point at -1e-7. So rounding must not push one off the border: a displacement is
    added to the given place, and what is off by no more than rounding is put back.
    """
    scale = np.array([size[1], size[0]], dtype=np.float64)
    moved = _as_float(points)
    places = moved[:, :2] + (after.astype(np.float64) - before).T * scale
    moved[:, :2] = np.where((places < 0) & (places > -_ROUNDING * scale), 0, places)
    return moved


def _as_float(table: np.ndarray) -> np.ndarray:
    """A copy; whole numbers, which come where no Compose has prepared them, as floats."""
    return table.astype(np.result_type(table.dtype, np.float32))
