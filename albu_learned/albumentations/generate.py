"""Generators: new pixels for an image; its label, boxes and masks stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from albu_learned.albumentations import host
from albu_learned.albumentations.convert import image_from, image_to, unit_range
from albu_learned.albumentations.door import Door
from albu_learned.albumentations.record import from_record
from albu_learned.batch import Batch
from albu_learned.kinds import Generate

__all__ = ["GenerateTransform"]


class GenerateTransform(Door, host.ImageOnly):
    """Replaces pixels by learned ones, made for the image's class and boxes.

    Made pixels lie in [0, 1] (0 to 255 for uint8). So a float image outside of [0, 1] is refused:
    put this before Normalize.

    Args:
        method: the folder of an artifact, or a live `Generate` (which cannot be saved in a
            pipeline).
        label_key: where the class number is, for generators that read it.
        classes: the names of your classes in the order of your numbers, matched by name with those
            of the artifact; None if the numbers are the artifact's own.
        resize: fit made pixels of another size to the image; without it another size raises.
        p: the probability of applying it.

    Targets:
        image, volume

    Image types:
        uint8, float32
    """

    _live: Generate

    class InitSchema(host.BaseTransformInitSchema):
        method: Any
        label_key: str
        classes: list[str] | None
        resize: bool

    def __init__(
        self,
        method: Any,
        label_key: str = "label",
        classes: Sequence[str] | None = None,
        resize: bool = False,
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.hold(method, Generate, label_key, classes)
        self.resize = resize
        self._live = self._live.resized() if resize else self._live

    @torch.no_grad()
    def apply(self, img: np.ndarray, plan: dict[str, Any], **params: Any) -> np.ndarray:
        rows = image_to(unit_range(img, "image", type(self).__name__))
        made = self._live.apply(Batch(images=rows), from_record(plan)).images
        assert made is not None
        return image_from(made, img)
