"""Mixes of whole batches: a collate function for a DataLoader behind any pipeline."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from albu_learned.albumentations.door import hold
from albu_learned.batch import Batch
from albu_learned.kinds import Mix
from albu_learned.method import Plan

__all__ = ["MixCollate"]

_MASKS = ("mask", "masks")
# A mix would have to gather these from several images; stacked tensors cannot hold them.
_REFUSED = ("bboxes", "keypoints", "mask3d", "masks3d", "images", "volume", "volumes")


class MixCollate:
    """Collates samples as torch does, then mixes the batch.

    Samples are dicts, as a Compose returns them, or (image, label) pairs. Images keep their layout,
    H x W x C arrays or C x H x W tensors: mixing is elementwise. Labels become soft, (B, K), in
    every batch, also where p does not fire. Float masks ("mask", "masks") are mixed, integer masks
    refused; boxes and keypoints are refused; every other key is collated and left alone.

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
        if not 0 <= p <= 1:
            raise ValueError(f"`p` must be in [0, 1], got {p!r}.")
        live = hold(method, Mix, type(self).__name__)
        assert isinstance(live, Mix)
        self.method = live
        self.p = p
        self.image_key = image_key
        self.label_key = label_key

    @torch.no_grad()
    def __call__(self, samples: list[Any]) -> Any:
        """The mixed batch, in the form of the samples."""
        if isinstance(samples[0], dict):
            return self._mix_dict(samples)
        if isinstance(samples[0], (tuple, list)) and len(samples[0]) == 2:
            images, labels = default_collate([tuple(map(_in_order, pair)) for pair in samples])
            mixed = self._mix({"image": images, "label": labels}, "image", "label")
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
                "carry them. Drop them in the dataset; to mix boxes use the Ultralytics door."
            )
        ordered = [{key: _in_order(value) for key, value in s.items()} for s in samples]
        return self._mix(default_collate(ordered), self.image_key, self.label_key)

    def _mix(self, batch: dict[str, Any], image_key: str, label_key: str) -> dict[str, Any]:
        images, labels = batch[image_key], _labels(batch[label_key], label_key)
        plan = self._plan(images, labels)
        mixed = self.method.apply(Batch(images=images, labels=labels), plan)
        assert mixed.labels is not None
        masks = {key: self._masks(key, batch[key], plan) for key in _MASKS if key in batch}
        return {**batch, **masks, image_key: mixed.images, label_key: mixed.labels.float()}

    def _plan(self, images: Tensor, labels: Tensor) -> Plan:
        if torch.rand(()) >= self.p:
            return self.method.identity(len(images))
        parts = {"images": images, "labels": labels}
        read = {name: part for name, part in parts.items() if name in self.method.needs}
        given = Batch(**read)  # type: ignore[arg-type]
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


def _labels(labels: Any, key: str) -> Tensor:
    if isinstance(labels, Tensor) and labels.ndim in (1, 2):
        return labels
    got = f"shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
    raise TypeError(
        f"`{key}` must be a class number or a vector of class probabilities in each sample, got "
        f"{got} after collating. Encode class names as numbers first."
    )
