"""PSLDInpaint in Albumentations: variants that were made before, in the place of images."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from albu_learned.albumentations import host
from albu_learned.albumentations.convert import unit_range
from albu_learned.albumentations.generate import GenerateTransform
from albu_learned.albumentations.record import from_record, generator_from, to_record
from albu_learned.methods.psld.pool import PSLDPool, in_channels
from albu_learned.methods.psld.ready import NONE

__all__ = ["PSLDInpaint"]

_MANY = ("images", "volume", "volumes")


class PSLDInpaint(GenerateTransform):
    """Shows a variant of an image, with another background around the same objects, in its place.

    Variants are made before, by `albu-learned synth`. Boxes, masks, keypoints and labels stay, and
    fit. An image is found by its pixels, so this must be the first transform, and the image as it
    was read: of 8 bits as it is or divided by 255, of 16 divided by 65535. One without variants
    stays as it is. Pixels say nothing of labels: when these change, run `synth` again. To find an
    image of 640 x 480 in colour takes 0.6 milliseconds, for the hash of its pixels, and to decode
    its variant, a PNG, 10.

    Args:
        pool: the folder that `albu-learned synth DATA.yaml` has written.
        must_hit: raise where a process has found none of so many images that it is no accident:
            they have been changed before, or are others. False where but few have variants.
        p: the share of images that are replaced, of those that have variants.

    Attributes:
        hits: how many images were found, here and in the workers of a DataLoader.
        misses: how many were not.

    Targets:
        image

    Image types:
        uint8, float32
    """

    _live: PSLDPool

    class InitSchema(host.BaseTransformInitSchema):
        pool: Any
        must_hit: bool

    def __init__(self, pool: str | os.PathLike[str], must_hit: bool = True, p: float = 0.5) -> None:
        super().__init__(PSLDPool(pool, must_hit), p=p)
        self.pool, self.must_hit = self._live.pool, must_hit

    @property
    def hits(self) -> int:
        return self._live.hits

    @property
    def misses(self) -> int:
        return self._live.misses

    @torch.no_grad()
    def sample(self, data: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The plan of one image."""
        self.refuse_tensors(data)
        self._refuse_many(data)
        if data.get("image") is None:
            raise ValueError(self._missing("image", "its picture"))
        image = unit_range(data["image"], "image", type(self).__name__)
        found = self._live.ready.of_pixels(image)
        noise = self._live.draw(1, generator_from(rng))
        return {"plan": to_record(self._live.planned_for([found], noise))}

    def apply(self, img: np.ndarray, plan: dict[str, Any], **params: Any) -> np.ndarray:
        own = from_record(plan)
        key, variant = int(own["image"]), int(own["variant"])
        if key == NONE:
            return img
        made = self._live.ready.read(key, variant)
        shown = in_channels(made, 1 if img.ndim == 2 else img.shape[2])
        same = img.dtype.kind == "f" or img.dtype == made.dtype
        if made.shape[:2] != img.shape[:2] or not same:  # of a plan that is replayed on another
            raise ValueError(
                f"`image` must be of the size {made.shape[:2]} and type {made.dtype} of the one "
                f"that was planned for, got {img.shape} {img.dtype}. Replay it on that."
            )
        if img.dtype.kind == "f":
            shown = shown.astype(img.dtype) / img.dtype.type(np.iinfo(made.dtype).max)
        return np.array(shown, img.dtype).reshape(img.shape)

    def _refuse_many(self, data: dict[str, Any]) -> None:
        """Raises where a plan would be for several images: each has variants of its own."""
        more = [key for key in _MANY if data.get(key) is not None]
        extra = getattr(self, "_additional_targets", None) or {}
        more += [key for key, kind in extra.items() if kind == "image" and key in data]
        if more:
            raise ValueError(
                f"`{more[0]}` must not be given to {type(self).__name__}, which knows one `image` "
                "by its pixels. Call it for each image."
            )
