"""Mixes of one image with references: row 0 of the mix of all of them.

A host's transform sees one image at a time, so its partners must come with the call. To mix whole
batches, which needs no references, give a DataLoader a collate function from `collate` instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from albu_learned.albumentations import host
from albu_learned.albumentations.convert import channels_first, label_array, tensor_of
from albu_learned.albumentations.door import Door, needed
from albu_learned.albumentations.record import from_record, generator_from, to_record
from albu_learned.batch import Batch
from albu_learned.kinds import Mix

__all__ = ["MixTransform"]

# One image of a mix cannot carry these: they would have to be gathered from its partners too.
_REFUSED = ("mask", "masks", "mask3d", "masks3d", "bboxes", "keypoints")
_NOT_ONE = ("images", "volume", "volumes")


class MixTransform(Door, host.Single):
    """Mixes an image and its label with the references that a call brings along.

    The label becomes soft, a float32 vector of class probabilities, on every call, also where p
    does not fire. For that this must stand outside OneOf, SomeOf and a Compose with p < 1, which
    may skip it: the label would then stay as it was. References are used as they are: give them the
    size, dtype and augmentation of the image at this place of the pipeline.

    Args:
        method: a `Mix`, or the folder of one (a live one cannot be saved in a pipeline).
        metadata_key: where the references are, a list of {"image": ..., "label": ...}.
        label_key: where the image's label is, a class number or a vector.
        p: the probability of mixing. With p=0 no references are needed.

    Targets:
        image

    Image types:
        uint8, float32
    """

    _live: Mix
    _readable = frozenset({"images", "labels"})

    class InitSchema(host.BaseTransformInitSchema):
        method: Any
        metadata_key: str
        label_key: str

    def __init__(
        self,
        method: Any,
        metadata_key: str = "mix_metadata",
        label_key: str = "label",
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.hold(method, Mix, label_key)
        self.metadata_key = metadata_key

    @property
    def available_keys(self) -> set[str]:
        """The keys that a strict Compose may be given."""
        return super().available_keys | {self.label_key, self.metadata_key}

    @torch.no_grad()
    def sample(self, data: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The plan of row 0, or the plan that leaves it alone."""
        self.refuse_tensors(data)
        self._check(data)
        plan = self._live.identity(1)
        if self.p > 0 or data[host.FIRES]:
            batch = self._batch(data)  # checked on every call, lest errors come at random
            assert batch.images is not None
            assert batch.labels is not None
            given = needed(self._live, channels_first(batch.images), batch.labels)
            if data[host.FIRES]:
                noise = self._live.draw(len(batch), generator_from(rng))
                plan = self._live.plan(given, noise)
        return {"plan": to_record({name: tensor[:1] for name, tensor in plan.items()})}

    @torch.no_grad()
    def change(self, data: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
        """The image and its label, mixed; all else as it was."""
        plan = from_record(params["plan"])
        alone = int(plan["index"].max()) == 0
        mixed = self._live.apply(self._batch(data, alone), plan)
        assert mixed.images is not None
        assert mixed.labels is not None
        return {
            **data,
            "image": np.ascontiguousarray(mixed.images[0].numpy()),
            self.label_key: mixed.labels[0].float().numpy(),
        }

    def _batch(self, data: dict[str, Any], alone: bool = False) -> Batch:
        """The image and its references as the rows of a batch, channels last."""
        references = [] if alone else self._references(data)
        image = data["image"]
        images = [image, *(_fitted(r["image"], image, self._at(i)) for i, r in references)]
        labels = [label_array(data[self.label_key], self.label_key)]
        labels += [label_array(r["label"], f"{self._at(i)}['label']") for i, r in references]
        if len({label.shape for label in labels}) > 1:
            raise ValueError(
                f"`{self.label_key}` and the labels in `{self.metadata_key}` must all be class "
                "numbers, or all be vectors of one length, got the shapes "
                f"{sorted({label.shape for label in labels})}."
            )
        return Batch(images=tensor_of(np.stack(images)), labels=torch.from_numpy(np.stack(labels)))

    def _references(self, data: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
        name, found = self.metadata_key, data.get(self.metadata_key)
        if not isinstance(found, (list, tuple)) or not found:
            raise ValueError(
                f"`{name}` must be a list of at least one {{'image': ..., 'label': ...}} to mix "
                f"with, got {'nothing' if found is None else repr(found)[:60]}. Call "
                f"transform(image=..., {self.label_key}=..., {name}=[...]), or mix whole batches "
                "with ZetaCollate."
            )
        for i, reference in enumerate(found):
            if not isinstance(reference, dict):
                raise TypeError(
                    f"`{self._at(i)}` must be a dict with 'image' and 'label', got "
                    f"{type(reference).__name__}. Write {{'image': ..., 'label': ...}}."
                )
            missing = [k for k in ("image", "label") if k not in reference]
            if missing:
                raise ValueError(
                    f"`{self._at(i)}` must be a dict with 'image' and 'label', got one without "
                    f"{' and '.join(missing)}. Add {' and '.join(missing)}."
                )
        return list(enumerate(found))

    def _check(self, data: dict[str, Any]) -> None:
        refused = [key for key in _REFUSED if data.get(key) is not None]
        if refused:
            raise ValueError(
                f"{type(self).__name__} must not be given {refused}: a mixture of one image cannot "
                "carry them. Leave them out, mix whole batches with ZetaCollate (float masks), or "
                "use albu_learned.kornia.LearnedAugmentationSequential (boxes)."
            )
        several = [key for key in (*_NOT_ONE, *self._additional_targets) if key in data]
        if data.get("image") is None or several:
            raise ValueError(
                f"{type(self).__name__} must be given one 'image', got {several or 'none'}. "
                "Mix each image in a call of its own."
            )
        if data.get(self.label_key) is None:
            raise ValueError(self._missing(self.label_key, "the image's label", "`label_key`"))

    def _at(self, i: int) -> str:
        return f"{self.metadata_key}[{i}]"


def _fitted(given: Any, image: np.ndarray, name: str) -> np.ndarray:
    """A reference's image, checked. AlbumentationsX gives a last axis to a grey image alone."""
    reference = np.asarray(given)
    same = (*reference.shape, 1)[:3] == (*image.shape, 1)[:3]
    if not same or reference.dtype != image.dtype:
        raise ValueError(
            f"`{name}['image']` must have the shape and type of the image, {image.shape} "
            f"{image.dtype}, got {reference.shape} {reference.dtype}. Resize and convert "
            "references as the transforms before this one do the image."
        )
    return reference.reshape(image.shape)
