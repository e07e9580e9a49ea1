"""One training sample in a data-loading worker: the label dict of a detector, or a picture.

The dict's images are BGR. Its boxes, polygons and keypoints are in pixels or normalised, as the
transform before left them, with edges at 0 and at the width: normalised, they are the fractions of
the core.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from albu_learned.batch import Batch, Rows
from albu_learned.kinds import Mix, Warp
from albu_learned.remap import Motion, move_image
from albu_learned.spec import Step
from albu_learned.ultralytics.objects import in_pixels, move

__all__ = ["change_labels", "change_picture"]

_REFUSED = {"semantic_mask": "semantic segmentation", "depth": "depth estimation"}


@torch.no_grad()
def change_labels(step: Step, labels: dict[str, Any], oriented: bool = False) -> bool:
    """Applies a warp or generator, with its p, to what `YOLODataset.get_image_and_label` returns.

    The image, instances and classes of the dict are replaced; the old image, which may be the
    dataset's cache, is never written to.

    Args:
        step: the method at work.
        labels: the dict, or what transforms have made of it.
        oriented: whether polygons are oriented boxes, to be kept at their angles at the frame.

    Returns:
        Whether it changed anything.
    """
    _check(step, labels)
    if len(step.choose(1)) == 0:
        return False
    image, method, changed = labels["img"], step.method, True
    with step.naming_errors(), torch.autocast("cpu", enabled=False):
        given = _as_batch(image, labels["instances"], "boxes" in method.needs)
        if step.entry.stage == "image" and "im_file" in labels:  # later, others may be in it
            given = replace(given, files=(str(labels["im_file"]),))
        plan = step.plan(given)
        if isinstance(method, Warp):
            field = method.field(plan)
            labels["img"] = move_image(image, Motion(field, method.padding))
            options = (oriented, method.box, method.min_visible)
            moved, kept = move(labels["instances"], field, image.shape[:2], *options)
            labels["instances"], labels["cls"] = moved, labels["cls"][kept]
        else:
            changed = method.changed(plan) > 0
            if changed:
                labels["img"] = _as_array(method.apply(given, plan).images, image.shape)
    return changed


@torch.no_grad()
def change_picture(
    step: Step, image: Image.Image, label: int, file: str | None = None
) -> tuple[Image.Image, bool]:
    """Applies a warp or generator, with its p, to one image of a classifier.

    Args:
        step: the method at work.
        image: a picture in mode RGB or L.
        label: the number of its class.
        file: what it was read from, if it is as it was read.

    Returns:
        The picture, and whether it was changed.
    """
    _check(step, {})
    if image.mode not in ("RGB", "L"):
        raise ValueError(
            f"`image` must be of mode RGB or L, got {image.mode}. Use image.convert('RGB')."
        )
    if len(step.choose(1)) == 0:
        return image, False
    array, method = np.array(image), step.method
    with step.naming_errors(), torch.autocast("cpu", enabled=False):
        rows = torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)[None]
        files = None if file is None else (file,)
        given = Batch(images=rows, labels=torch.tensor([int(label)]), files=files)
        plan = step.plan(given)
        if not method.changed(plan):
            return image, False
        if isinstance(method, Warp):
            changed = move_image(array, Motion(method.field(plan), method.padding))
        else:
            made = method.apply(given, plan).images
            changed = made[0].permute(1, 2, 0).reshape(array.shape).numpy()
    return Image.fromarray(np.ascontiguousarray(changed)), True


def _check(step: Step, labels: dict[str, Any]) -> None:
    if isinstance(step.method, Mix):
        raise ValueError(
            f"{step.entry.where}: {step.entry.name} mixes images, but on the {step.entry.stage} "
            'there is but one. Use stage: "batch".'
        )
    for key, task in _REFUSED.items():
        if labels.get(key) is not None:
            raise ValueError(
                f"`labels` must not have {key!r}, which would not follow the image: {task} is not "
                "supported. Train without the spec."
            )


def _as_batch(image: np.ndarray, instances: Any, with_boxes: bool) -> Batch:
    """The image in RGB and, for methods that read them, its boxes."""
    pixels = image.reshape(*image.shape[:2], -1)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if pixels.shape[2] == 3 else pixels.copy()
    rows = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    if not with_boxes:
        return Batch(images=rows)
    own = in_pixels(instances, image.shape[:2])
    own.normalize(image.shape[1], image.shape[0])
    boxes = torch.from_numpy(own.bboxes.astype(np.float32)).clamp(0, 1)
    # As `Rows`: from a tensor, a box of zeros would be taken for padding.
    first = torch.zeros(len(boxes), dtype=torch.long)
    return Batch(images=rows, boxes=Rows.at(boxes, first, 1))


def _as_array(made: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """One RGB row as the host's array."""
    pixels = made[0].permute(1, 2, 0).contiguous().numpy()
    if pixels.shape[2] == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return pixels.reshape(shape)
