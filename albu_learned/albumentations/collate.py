"""Mixes of whole batches: a collate function for a DataLoader behind any pipeline."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from albu_learned import checks
from albu_learned.albumentations.convert import channels_first
from albu_learned.albumentations.door import hold, needed
from albu_learned.batch import Batch
from albu_learned.kinds import Mix
from albu_learned.method import Plan

__all__ = ["MixCollate"]

_MASKS = ("mask", "masks")
# A mix would have to gather these from several images; stacked tensors cannot hold them.
_REFUSED = (
    *("bboxes", "boxes", "keypoints", "instances", "mask3d", "masks3d"),
    *("images", "volume", "volumes"),
)
_READABLE = frozenset({"images", "labels"})


class MixCollate:
    """Collates samples as torch does, then mixes the batch.

    Samples are dicts, as a Compose returns them, or (image, label) pairs. Images keep their layout,
    H x W x C arrays or C x H x W tensors: mixing is elementwise. Labels become soft, (B, K), in
    every batch, also where p does not fire. Float masks ("mask", "masks") are mixed, integer masks
    refused; boxes, keypoints and arrays of the image's height and width under any other key are
    refused; every other key is collated and left alone.

    Randomness is torch's own in the worker: workers differ, and `torch.manual_seed` before the
    DataLoader makes an epoch again.

    Args:
        method: a `Mix`, or the folder of one.
        p: the probability of mixing a batch.
        image_key: where the image of a dict is.
        label_key: where its label is.
    """

    def __init__(
        self,
        method: Mix | str | os.PathLike[str],
        p: float = 1.0,
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        live = hold(method, Mix, type(self).__name__, _READABLE)
        assert isinstance(live, Mix)
        self.method = live
        self.p = checks.between("p", p, "[0, 1]")
        self.image_key = image_key
        self.label_key = label_key

    @torch.no_grad()
    def __call__(self, samples: list[Any]) -> Any:
        """The mixed batch, in the form of the samples."""
        if len(samples) == 0:
            raise ValueError(
                "`samples` must hold at least one sample, got none. Skip empty batches."
            )
        if isinstance(samples[0], dict):
            return self._mix_dict(samples)
        if isinstance(samples[0], (tuple, list)) and len(samples[0]) == 2:
            images, labels = default_collate([tuple(map(_in_order, pair)) for pair in samples])
            is_array = isinstance(samples[0][0], np.ndarray)
            mixed = self._mix({"image": images, "label": labels}, "image", "label", is_array)
            return [mixed["image"], mixed["label"]]
        raise TypeError(
            "Samples must be dicts or (image, label) pairs, got "
            f"{type(samples[0]).__name__}. Let the dataset return one of the two."
        )

    def _mix_dict(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        for key in (self.image_key, self.label_key):
            if key not in samples[0]:
                raise ValueError(
                    f"Samples must have the key {key!r}, got {sorted(samples[0])}. Return it from "
                    "the dataset, or name yours in `image_key` and `label_key`."
                )
        refused = [key for key in _REFUSED if key in samples[0]]
        if refused:
            raise ValueError(
                f"Samples must not have {refused} for {type(self).__name__}: a mixed batch cannot "
                "carry them. Drop them in the dataset; to mix boxes use "
                "albu_learned.kornia.LearnedAugmentationSequential."
            )
        ordered = [{key: _in_order(value) for key, value in s.items()} for s in samples]
        batch = default_collate(ordered)
        is_array = isinstance(samples[0][self.image_key], np.ndarray)
        mixed = {self.image_key, self.label_key, *_MASKS}
        others = {key: value for key, value in batch.items() if key not in mixed}
        _refuse_images(others, batch[self.image_key], is_array)
        return self._mix(batch, self.image_key, self.label_key, is_array)

    def _mix(
        self, batch: dict[str, Any], image_key: str, label_key: str, is_array: bool
    ) -> dict[str, Any]:
        images, labels = batch[image_key], _labels(batch[label_key], label_key)
        plan = self._plan(images, labels, is_array)
        mixed = self.method.apply(Batch(images=images, labels=labels), plan)
        assert mixed.labels is not None
        masks = {key: self._masks(key, batch[key], plan) for key in _MASKS if key in batch}
        return {**batch, **masks, image_key: mixed.images, label_key: mixed.labels.float()}

    def _plan(self, images: Tensor, labels: Tensor, is_array: bool) -> Plan:
        first = channels_first(images) if is_array and images.ndim in (3, 4) else images
        given = needed(self.method, first, labels)  # in every batch, lest errors come at random
        if torch.rand(()) >= self.p:
            return self.method.identity(len(images))
        return self.method.plan(given, self.method.draw(len(images)))

    def _masks(self, key: str, masks: Any, plan: Plan) -> Tensor:
        if not isinstance(masks, Tensor):
            raise TypeError(
                f"`{key}` must be one array a sample to be mixed, got a list. Stack its masks."
            )
        flat = masks.flatten(1)[:, None]  # masks of any rank: mixing is elementwise
        mixed = self.method.apply(Batch(masks=flat), plan).masks
        assert mixed is not None
        return mixed.view(masks.shape)


def _in_order(value: Any) -> Any:
    """AlbumentationsX flips by negative strides, which torch cannot collate."""
    return np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value


def _refuse_images(others: dict[str, Any], images: Tensor, is_array: bool) -> None:
    """Raises if another key has arrays of the images' height and width: they would stay unmixed."""
    if images.ndim < 3:
        return
    size = images.shape[1:3] if is_array else images.shape[-2:]
    for key, value in others.items():
        for part in value if isinstance(value, (list, tuple)) else [value]:
            shape = part.shape if isinstance(part, Tensor) else ()
            if any(shape[i : i + 2] == size for i in range(1, len(shape) - 1)):
                raise ValueError(
                    f"`{key}` must not have the height and width of the images, {tuple(size)}, for "
                    f"it would stay unmixed, got {tuple(shape)}. Name it 'mask' to mix it, or drop "
                    "it."
                )


def _labels(labels: Any, key: str) -> Tensor:
    if isinstance(labels, Tensor) and labels.ndim in (1, 2):
        return labels
    got = f"shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
    raise TypeError(
        f"`{key}` must be a class number or a vector of class probabilities in each sample, got "
        f"{got} after collating. Encode class names as numbers first."
    )
