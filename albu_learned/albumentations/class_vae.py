"""ClassVAE in Albumentations: new images of a class in the place of some."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from albu_learned import checks
from albu_learned.albumentations import host
from albu_learned.albumentations.convert import unit_range
from albu_learned.albumentations.generate import GenerateTransform
from albu_learned.albumentations.pictures import Pictures, Plans
from albu_learned.method import hold
from albu_learned.methods import class_vae

__all__ = ["ClassVAE"]


class ClassVAE(GenerateTransform):
    """Puts a new image of its class in the place of an image, made by a fitted `ClassVAE`.

    Its label stays. Masks, boxes and keypoints stay as well, and no longer fit: use it where images
    have a class and nothing else. Put it first, and before Normalize.

    To decode a picture takes longer than most augmentations. So codes come from a pool: `pool` of
    them for each class, the same in every process, each decoded when it is first drawn. A process
    keeps 256 MB of pictures, in the shape and dtype of your images; where classes times pixels need
    more the oldest are made again. With `pool=0` every call draws and decodes a code of its own.

    Args:
        method: the folder of a fitted `ClassVAE`, or a live one (which cannot be saved in a
            pipeline).
        label_key: where the class number is.
        classes: the names of your classes in the order of your numbers, matched by name with those
            of the artifact; None if the numbers are the artifact's own.
        sampler: where codes come from: "prior", "posterior", "mixture" or "convex"; None for the
            artifact's own.
        temperature: multiplies the spread of codes; None likewise.
        reject: draw again what is doubtful, such as 0.05; None likewise.
        pool: how many codes there are for each class; 0 for no pool.
        resize: fit pictures to images of another size; without it another size raises.
        p: the share of images that are replaced. Above 0.4 real ones become few.

    Targets:
        image, volume

    Image types:
        uint8, float32

    Example:
        >>> import albu_learned, numpy as np
        >>> of_no_data = albu_learned.ClassVAE((3, 32, 32), num_classes=2)
        >>> made = ClassVAE(of_no_data, p=1)(image=np.zeros((32, 32, 3), np.uint8), label=1)
        >>> made["image"].shape, made["label"]
        ((32, 32, 3), 1)
    """

    class InitSchema(host.BaseTransformInitSchema):
        method: Any
        label_key: str
        classes: list[str] | None
        sampler: str | None
        temperature: float | None
        reject: float | None
        pool: int
        resize: bool

    def __init__(
        self,
        method: Any,
        label_key: str = "label",
        classes: Sequence[str] | None = None,
        sampler: str | None = None,
        temperature: float | None = None,
        reject: float | None = None,
        pool: int = 256,
        resize: bool = False,
        p: float = 0.4,
    ) -> None:
        facts = {"sampler": sampler, "temperature": temperature, "reject": reject}
        vae = hold(method, class_vae.ClassVAE, **facts)
        super().__init__(vae, label_key, classes, resize, p)
        self.method = os.fspath(method) if isinstance(method, (str, os.PathLike)) else method
        self.sampler, self.temperature, self.reject = sampler, temperature, reject
        self.pool = checks.integer("pool", pool, 0)
        self._plans = Plans(self._live, self.pool) if self.pool else None
        self._pictures = Pictures()

    def sample(self, data: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The plan of one image, from the pool if there is one."""
        if self._plans is None:
            return super().sample(data, rng)
        self.refuse_tensors(data)
        row = int(rng.integers(self.pool))
        return {"plan": self._plans.record(row, self._labels(data))}

    def apply(self, img: np.ndarray, plan: dict[str, Any], **params: Any) -> np.ndarray:
        if self._plans is None:
            return super().apply(img, plan, **params)
        unit_range(img, "image", type(self).__name__)
        kept = self._pictures.get(plan, img)
        if kept is None:
            kept = super().apply(img, plan, **params)
            self._pictures.keep(plan, kept)
        return kept.copy()
