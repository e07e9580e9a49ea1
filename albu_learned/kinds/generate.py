"""Generators: new pixels in the place of old ones."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from albu_learned import checks, resample
from albu_learned.batch import Batch, as_floats
from albu_learned.method import Method, Plan


class Generate(Method):
    """Makes new pixels for the images it is given; never changes a label or moves anything.

    Args:
        resize: whether pixels of another size than the images are resized to fit.
    """

    _base = True
    kind = "generate"
    stage: ClassVar[str] = "image"  # of a training where a spec has it work, unless told

    def __init__(self, resize: bool = False) -> None:
        super().__init__()
        self.resize = resize

    def resized(self) -> Generate:
        """The same generator, sharing its parameters, that fits its pixels to any image."""
        twin = copy.copy(self)
        twin.resize = True
        return twin

    @abstractmethod
    def pixels(self, images: Tensor, plan: Plan) -> Tensor:
        """The one primitive: (B, C, H, W) float pixels in [0, 1] in place of the images, which are
        floats in [0, 1] too, whatever they were given as."""

    def check(self, batch: Batch) -> None:
        checks.needs(self, batch)
        checks.hard_labels(self, batch)

    def change(self, batch: Batch, plan: Plan) -> Batch:
        if batch.images is None:
            return batch
        made = self.pixels(as_floats(batch.images), plan)
        if len(made) != len(batch.images):
            raise ValueError(
                f"`pixels` must return one image for each it is given, {len(batch.images)}, got "
                f"{tuple(made.shape)} from {type(self).__name__}."
            )
        if made.shape[1] != batch.images.shape[1]:
            raise ValueError(
                f"`images` must have {made.shape[1]} channels for this {type(self).__name__}, got "
                f"{tuple(batch.images.shape)}. Convert the images, or fit it to some that have as "
                "many."
            )
        checks.require(  # here: images of integers would hide a NaN, which turns into black
            made.isfinite().all(),
            f"`pixels` of {type(self).__name__} must be finite, got NaN or infinity. Look at what "
            "it was fitted to, or at its `pixels`.",
        )
        size = batch.images.shape[2:]
        if made.shape[2:] != size:
            if not self.resize:
                raise ValueError(
                    f"`images` must have the size {tuple(made.shape[2:])} of this "
                    f"{type(self).__name__}, got {tuple(size)}. Resize them, or set resize=True."
                )
            made = F.interpolate(made, tuple(size), mode="bilinear", antialias=True)
        return batch.with_images(resample.to_dtype(made, batch.images.dtype))
