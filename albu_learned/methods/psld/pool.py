"""The method that shows variants which were made before, in the place of real images."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.batch import Batch
from albu_learned.data.pictures import Pixels
from albu_learned.kinds import Generate
from albu_learned.method import Plan
from albu_learned.methods.psld.method import PSLDInpaint
from albu_learned.methods.psld.ready import MANIFEST, NONE, Ready

__all__ = ["PSLDPool", "in_channels"]

_LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue, as decoders make grey of colour
_ONE_IN_A_MILLION = 13.8  # expected hits, when there is none


class PSLDPool(Generate):
    """Shows a variant of an image, which `albu-learned synth` has made before, in its place.

    Objects and labels are the same, the background is another; which of the variants is drawn anew
    every time. An image is found as it was read, by its file where the batch names `files`, else by
    its pixels: so this comes first, before anything is resized, cropped or coloured. Images without
    variants stay as they are, and are counted.

    For 640 x 480 in colour a file takes 0.1 milliseconds to find, and 0.1 microseconds the next
    time, pixels 0.6 milliseconds. To decode the variant, a PNG, takes 10; a JPEG takes 1 to 3.

    Args:
        pool: the folder that `albu-learned synth DATA.yaml` has written.
        must_hit: raise where so many images were looked for, and none found, that it is no
            accident: they were changed before, or are others. False where but few have variants.

    Attributes:
        hits: how many images were found, here and in the workers of a DataLoader.
        misses: how many were not.

    Example:
        >>> import albu_learned as al                                          # doctest: +SKIP
        >>> ready = al.PSLDPool("more_cells")                                  # doctest: +SKIP
        >>> ready(images), ready.hits                                          # doctest: +SKIP
    """

    citation = PSLDInpaint.citation
    needs = frozenset({"images"})
    stages = ("image",)
    paths = MappingProxyType({"pool": MANIFEST})
    idle = (
        "None of the images it was shown has a variant in its pool. Train on the data that the "
        "pool was made of, or make one of your data with `albu-learned synth`. Where but few of "
        "your images have variants, say must_hit: false"
    )

    def __init__(self, pool: str | os.PathLike[str], must_hit: bool = True) -> None:
        super().__init__()
        if not isinstance(pool, (str, os.PathLike)):
            raise TypeError(
                f"`pool` must be the folder of a pool of variants, got {type(pool).__name__}."
            )
        if not isinstance(must_hit, bool):
            raise TypeError(f"`must_hit` must be True or False, got {must_hit!r}.")
        self.pool = os.fspath(pool)
        self.must_hit = must_hit
        counts = torch.zeros(2, dtype=torch.int64)  # hits and misses, in memory shared with workers
        self._counts: Tensor = counts.share_memory_()  # type: ignore[no-untyped-call]
        self.ready  # noqa: B018  # now, lest what is wrong with it comes up within a training

    @property
    def hits(self) -> int:
        return int(self._counts[0])

    @property
    def misses(self) -> int:
        return int(self._counts[1])

    @cached_property
    def ready(self) -> Ready:
        """The variants, read anew in every process."""
        return Ready(Path(self.pool))

    def draw(
        self,
        rows: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Plan:
        return {"share": torch.rand(rows, generator=generator, device=device)}

    def plan(self, batch: Batch, noise: Plan) -> Plan:
        """The number of each image in the pool, -1 for none, and of its variant."""
        assert batch.images is not None
        found = [self._find(image, file) for image, file in _rows(batch)]
        plan = self.planned_for(found, noise)
        return {name: values.to(batch.images.device) for name, values in plan.items()}

    def planned_for(self, found: Sequence[int], noise: Plan) -> Plan:
        """The plan for images whose numbers in the pool are known."""
        self._count(found)
        shares = noise["share"].tolist()
        variants = [
            NONE if key == NONE else self.ready.pick(key, share)
            for key, share in zip(found, shares, strict=True)
        ]
        return {"image": torch.tensor([*found]), "variant": torch.tensor(variants)}

    @torch.no_grad()
    def pixels(self, images: Tensor, plan: Plan) -> Tensor:
        made = images.clone()
        for row, (key, variant) in enumerate(
            zip(plan["image"].tolist(), plan["variant"].tolist(), strict=True)
        ):
            if key != NONE:
                made[row] = _fitted(self.ready.read(key, variant), images[row])
        return made

    def changed(self, plan: Plan) -> int:
        return int((plan["image"] != NONE).sum())

    def reach(self, rows: int) -> float:
        known = len(self.ready.originals)
        return min(rows * known / self.ready.total, known) if self.must_hit else 0.0

    def _find(self, image: Tensor, file: str | None) -> int:
        found = NONE if file is None else self.ready.of_file(file)
        # Whose labels are known must be found with them: variants are made for these.
        if found != NONE or (file is not None and self.ready.has_labels(file)):
            return found
        if image.shape[1:] not in self.ready.shapes:
            return NONE
        own = image.detach().float() if image.is_floating_point() else image
        return self.ready.of_pixels(own.cpu().permute(1, 2, 0).numpy())

    def _count(self, found: Sequence[int]) -> None:
        hits = sum(key != NONE for key in found)
        self._counts += torch.tensor([hits, len(found) - hits])
        if self.must_hit and not self.hits and self.misses >= self._patience():
            raise RuntimeError(
                f"`pool` must have variants of the images it is shown, but {str(self.pool)!r} has "
                f"none of the first {self.misses}. They must come as they were read: put this "
                "first, before anything is resized, cropped or coloured. Or they are not those "
                "that it was made of, or decoded otherwise (then read them with Pillow). Where but "
                "few of your images have variants, give must_hit=False."
            )

    def _patience(self) -> int:
        """After how many misses it is no accident that all were: an epoch, of which a door with a p
        may show us a part."""
        share = len(self.ready.originals) / self.ready.total
        return math.ceil(max(_ONE_IN_A_MILLION / share, self.ready.total / 4))

    def __getstate__(self) -> dict[str, Any]:
        """Without what it has read: another process reads that itself."""
        return {name: value for name, value in vars(self).items() if name != "ready"}

    def extra_repr(self) -> str:
        return repr(self.pool)


def in_channels(pixels: Pixels, channels: int) -> Pixels:
    """(H, W, channels) floats or integers of (H, W) or (H, W, 3)."""
    found = pixels[..., None] if pixels.ndim == 2 else pixels
    if found.shape[2] == channels:
        return found
    if channels not in (1, 3):
        raise ValueError(
            f"`images` must have 1 or 3 channels to be shown variants, got {channels}. Convert "
            "them, or leave the pool out."
        )
    if channels == 3:
        return np.broadcast_to(found, (*found.shape[:2], 3))
    grey: Pixels = np.rint(found @ _LUMA)[..., None].astype(pixels.dtype)
    return grey


def _rows(batch: Batch) -> list[tuple[Tensor, str | None]]:
    assert batch.images is not None
    files = batch.files or (None,) * len(batch.images)
    return list(zip(batch.images, files, strict=True))


def _fitted(pixels: Pixels, like: Tensor) -> Tensor:
    """The variant as (C, H, W) floats, in the channels and, as trainings resize images that they
    read, the size of an image."""
    _check_turned(pixels.shape, like.shape)
    own = in_channels(pixels, like.shape[0])
    largest = np.iinfo(pixels.dtype).max
    found = torch.from_numpy(np.ascontiguousarray(own).astype(np.float32)) / largest
    found = found.permute(2, 0, 1).to(like)
    if found.shape != like.shape:
        size = (like.shape[1], like.shape[2])
        found = F.interpolate(found[None], size, mode="bilinear", align_corners=False)[0]
    return found


def _check_turned(shape: Sequence[int], like: Sequence[int]) -> None:
    high, wide, height, width = *shape[:2], *like[1:]
    if (high - wide) * (height - width) < 0:
        raise ValueError(
            f"`images` must be turned the way the camera was held, as variants are, got {height} x "
            f"{width} for a variant of {high} x {wide}. Apply PIL.ImageOps.exif_transpose to what "
            "is read, or save the images upright."
        )
