"""What a fit of a diffusion model learns from: images of any size, as they are, and crops of them.

No image is made smaller: a network learns things at the size that they have in pixels, which is
the size at which it will be asked for them.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from albu_learned.batch import as_floats
from albu_learned.data import Boxes, Data, hold_out, label_file, open_data
from albu_learned.data.decode import native
from albu_learned.data.files import images_below, is_image, listed
from albu_learned.data.folder import FolderRows
from albu_learned.data.yolo import FILE
from albu_learned.fitting import collect, seeded
from albu_learned.fitting.sample import checked

__all__ = ["Images", "pictures"]

FEWEST = 4  # images, of which one is held out


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one number of channels, on the CPU.

    Args:
        pixels: each (C, H, W), uint8 or float32.
        names: of each, for messages.
        groups: (N,) int64, or None.
        given: how many there were, of which these were chosen.
        source: the name of the data set, or "".
        outside: each (1, H, W) bool, true where there is no object; None if nobody asks.
    """

    pixels: list[Tensor]
    names: list[str]
    groups: Tensor | None
    given: int
    source: str
    outside: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def channels(self) -> int:
        return len(self.pixels[0])

    def digest(self) -> str:
        """What tells these images from others."""
        found = hashlib.sha256()
        for image in [*self.pixels, *(self.outside or [])]:
            found.update(f"{tuple(image.shape)} {image.dtype}".encode())
            found.update(image.contiguous().numpy().tobytes())
        return found.hexdigest()[:12]

    def check_size(self, size: int, multiple: int) -> None:
        """Raises if a crop of that side cannot be taken of every image."""
        if size % multiple:
            below = max(multiple, size // multiple * multiple)
            raise ValueError(
                f"`size` must be a multiple of {multiple} for these networks, got {size}. "
                f"Take {below} or {below + multiple}."
            )
        sides = [min(image.shape[1:]) for image in self.pixels]
        small = [i for i, side in enumerate(sides) if side < size]
        if not small:
            return
        height, width = self.pixels[small[0]].shape[1:]
        most = min(sides) // multiple * multiple
        remedy = f"Give size={most}, or leave" if most else "Leave"
        raise ValueError(
            f"`size` must be at most the shorter side of every image, got {size}, but "
            f"{len(small)} of {len(self)} are smaller, the first is {self.names[small[0]]} of "
            f"{width} x {height} pixels. {remedy} these images out."
        )

    def crops(self, rows: Tensor, places: Tensor, size: int) -> Tensor:
        """(n, C, size, size) floats, one crop of each of the images of those numbers; places are
        (n, 2) in [0, 1), from the first that there is to the last."""
        return torch.stack([as_floats(one) for one in _cut(self.pixels, rows, places, size)])

    def crops_outside(self, rows: Tensor, places: Tensor, size: int) -> Tensor:
        """(n, 1, size, size) bool, true where these crops show no object."""
        assert self.outside is not None
        return torch.stack(_cut(self.outside, rows, places, size))

    def held(self, share: float, seed: int) -> Tensor:
        """(N,) which images are set aside, whole groups only."""
        same = torch.zeros(len(self), dtype=torch.int64)
        return hold_out(same, self.groups, share, seeded(seed, "validation"))


def pictures(given: Any, most: int | None, seed: int, background: bool = False) -> Images:
    """The images of whatever `fit` was given, checked; of more than `most` as many by chance. For
    the background alone it is asked where objects are."""
    if isinstance(given, (str, os.PathLike)):
        given = _opened(Path(given))
    groups, source, classes = None, "", 0
    if background:
        if not isinstance(given, Boxes):
            raise ValueError(
                "`background` must be False for images without boxes, got True. Give the data.yaml "
                "of a detection set, or images without objects."
            )
        classes = len(given.classes)
    if isinstance(given, Boxes):
        given, groups, source = given.train, given.groups, given.name
    if isinstance(given, Data):
        rows, source = given.train, given.name
        groups = rows.groups
        if given.kind != "images":
            raise ValueError(f"`images` must be images, got {given.path!r}, which holds series.")
        given = rows.paths if isinstance(rows, FolderRows) else rows.read(torch.arange(len(rows)))
    if not isinstance(given, (list, tuple)):
        given = _stacked(given)
    if len(given) < FEWEST:
        raise ValueError(
            f"`images` must be {FEWEST} or more, of which some are held out to judge by, got "
            f"{len(given)}. Give more; a large image may be cut into several."
        )
    return _chosen(given, groups, most, seed, source, classes)


def _opened(place: Path) -> Any:
    """A data set in one of the known forms, or simply a folder of images."""
    plain = place.is_dir() and not (place / FILE).is_file()
    if plain and any(is_image(file) for file in place.iterdir()):
        return images_below(place)
    return open_data(place)


def _stacked(given: Any) -> Tensor:
    """Of tensors, arrays, a Dataset or a DataLoader, whose classes do not matter."""
    plain = hasattr(given, "shape")
    labels = torch.zeros(len(given), dtype=torch.int64) if plain and len(given.shape) else None
    images = collect(given, labels, None, None, None, 0).images
    if images.ndim != 4:
        raise ValueError(f"`images` must be images (N, C, H, W), got {tuple(images.shape)}.")
    return images


def _chosen(
    given: Sequence[Any],
    groups: Tensor | None,
    most: int | None,
    seed: int,
    source: str,
    classes: int,
) -> Images:
    """Those that are learned from; and where there are no objects of so many classes, if any."""
    rows = torch.arange(len(given))
    if most is not None and most < len(given):
        rows = torch.randperm(len(given), generator=seeded(seed, "most"))[:most].sort().values
    chosen = [given[row] for row in rows.tolist()]
    if all(isinstance(one, (str, os.PathLike)) for one in chosen):
        paths = [Path(one) for one in chosen]
        names, pixels = [repr(str(path)) for path in paths], native(paths)
    else:
        names = [f"number {row}" for row in rows.tolist()]
        pixels = [_checked(one, row) for row, one in zip(rows.tolist(), chosen, strict=True)]
    counts = sorted({len(image) for image in pixels})
    if len(counts) > 1:
        raise ValueError(f"`images` must have one number of channels, got {counts}. Convert them.")
    own = None if groups is None else groups[rows]
    outside = _outside(chosen, pixels, classes) if classes else None
    return Images(pixels, names, own, len(given), source, outside)


def _outside(paths: Sequence[Path], pixels: Sequence[Tensor], classes: int) -> list[Tensor]:
    found, problems = [], []
    for path, image in zip(paths, pixels, strict=True):
        shown, wrong = label_file.read(label_file.of(path), classes)
        problems += wrong
        mask = torch.ones(1, *image.shape[1:], dtype=torch.bool)
        height, width = mask.shape[1:]
        for x1, y1, x2, y2 in (one.box for one in shown):
            rows = slice(math.floor(y1 * height), math.ceil(y2 * height))
            mask[:, rows, math.floor(x1 * width) : math.ceil(x2 * width)] = False
        found.append(mask)
    if problems:
        raise ValueError(
            f"`images` must have labels that can be read for background=True, but "
            f"{listed(problems)}. Mend these files or remove them."
        )
    if not any(mask.any() for mask in found):
        raise ValueError(
            "`images` must show something beside their objects for background=True, but boxes "
            "fill every image."
        )
    return found


def _cut(images: list[Tensor], rows: Tensor, places: Tensor, size: int) -> list[Tensor]:
    cut = []
    for row, place in zip(rows.tolist(), places.tolist(), strict=True):
        image = images[row]
        y, x = (int(u * (side - size + 1)) for u, side in zip(place, image.shape[1:], strict=True))
        cut.append(image[:, y : y + size, x : x + size])
    return cut


def _checked(one: Any, row: int) -> Tensor:
    """One image of a list, or of a tensor."""
    if not hasattr(one, "shape") or len(one.shape) != 3:
        got = f"{tuple(one.shape)}" if hasattr(one, "shape") else type(one).__name__
        raise TypeError(
            "`images` must be tensors (C, H, W) or paths of image files, all of the same kind, "
            f"got {got} as number {row}."
        )
    image = torch.as_tensor(one).detach().cpu()[None]
    none = torch.zeros(1, dtype=torch.int64)
    return checked(image, none, None, None, torch.tensor([row]), 1, "").images[0]
