"""A batch on its device, between the host's `preprocess_batch` and the model.

The batch's images are RGB in [0, 1]; its boxes and keypoints are normalised, which makes them the
fractions of the core. It is changed in place, by new tensors.
"""

from __future__ import annotations

from typing import Any

import torch

from albu_learned.batch import Batch
from albu_learned.kinds import Mix, Warp
from albu_learned.spec import Step
from albu_learned.ultralytics.device_mix import mix
from albu_learned.ultralytics.device_warp import warp
from albu_learned.ultralytics.targets import boxes_of

__all__ = ["change_batch", "change_classified"]

_TASKS = ("detect", "segment", "pose", "obb")
# Their classes or prompts are numbered anew in each image, so objects cannot be exchanged.
_PROMPTED = ("texts", "text_feats", "visuals")


@torch.no_grad()
def change_batch(step: Step, batch: dict[str, Any], task: str, overlap: bool | None = None) -> int:
    """Applies a method to a batch of detection, segmentation, pose or oriented boxes.

    Classes stay hard: an object is kept in every mixture in which its image weighs enough.

    Args:
        step: the method at work.
        batch: what `preprocess_batch` returns. Objects must be in the order of their images.
        task: "detect", "segment", "pose" or "obb".
        overlap: whether masks are one map an image, of its objects' numbers, as `overlap_mask`
            says. None finds out from their number.

    Returns:
        How many images it changed.
    """
    if task not in _TASKS:
        raise ValueError(f"`task` must be one of {_TASKS}, got {task!r}.")
    with step.naming_errors(), torch.autocast(batch["img"].device.type, enabled=False):
        if isinstance(step.method, Mix):
            _refuse_prompts(step, batch)
            return mix(step, batch, task == "obb", overlap)
        if isinstance(step.method, Warp):
            return warp(step, batch, task == "obb", overlap)
        boxes = boxes_of(batch, task == "obb") if "boxes" in step.method.needs else None
        made, changed = step(Batch(images=batch["img"], boxes=boxes))
        batch["img"] = made.images
    return changed


@torch.no_grad()
def change_classified(step: Step, batch: dict[str, Any]) -> int:
    """Applies a method to a batch of a classifier.

    Args:
        step: the method at work.
        batch: images and their classes, as numbers or (B, K) probabilities. A mix leaves
            probabilities.

    Returns:
        How many images it changed.
    """
    images, labels = batch["img"], batch["cls"]
    with torch.autocast(images.device.type, enabled=False):
        result, changed = step(Batch(images=images, labels=labels))
    batch["img"] = result.images
    if isinstance(step.method, Mix):
        batch["cls"] = result.labels
    return changed


def _refuse_prompts(step: Step, batch: dict[str, Any]) -> None:
    for key in _PROMPTED:
        if key in batch:
            raise ValueError(
                f"{step.entry.where}: {step.entry.name} cannot mix images that have each their own "
                f"classes, but the batch has {key!r}. Train without prompts, or without mixing."
            )
