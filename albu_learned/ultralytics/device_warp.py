"""A warp of a batch: some of its images, with everything that lies on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from ultralytics.utils.instance import Instances
from ultralytics.utils.ops import xyxy2xywh, xyxyxyxy2xywhr

from albu_learned.batch import Batch, Rows
from albu_learned.kinds import Warp
from albu_learned.spec import Step
from albu_learned.ultralytics import overlap as masks
from albu_learned.ultralytics import tight
from albu_learned.ultralytics.objects import box_outline, clip, enclosure, outline
from albu_learned.ultralytics.targets import corners_of, image_of, keep, scale_of

__all__ = ["warp"]


@dataclass(frozen=True)
class _Chosen:
    """Numbers of the chosen images (b,), of the objects on them (m,), and which of the chosen
    images, 0 to b - 1, each of those lies on (m,)."""

    images: Tensor
    objects: Tensor
    image: Tensor


def warp(step: Step, batch: dict[str, Any], oriented: bool, overlap: bool | None) -> int:
    """Moves some of the images, in place; the others keep every bit. Returns how many it moved."""
    chosen = _choose(batch, step)
    if len(chosen.images) == 0:
        return 0
    are_maps = "masks" in batch and masks.are_maps(batch, image_of(batch), overlap)
    method = step.method
    assert isinstance(method, Warp)
    given = _as_batch(batch, chosen, oriented, are_maps, method)
    moved = method.apply(given, step.plan(given))
    _put(batch, "img", chosen.images, moved.images)
    image = image_of(batch)
    kept = torch.ones(len(image), dtype=torch.bool, device=image.device)
    before = batch["bboxes"]
    if moved.points is not None:
        kept[chosen.objects] = _place(
            batch, chosen.objects, moved.points.values, oriented, method.min_visible
        )
    if "masks" in batch:
        _tighten(batch, before, given, moved, chosen)
        _put_masks(batch, moved, chosen, kept)
    keep(batch, kept, image[kept])
    return len(chosen.images)


def _choose(batch: dict[str, Any], step: Step) -> _Chosen:
    count, image = len(batch["img"]), image_of(batch)
    images = step.choose(count).to(image.device)
    number = torch.full((count,), -1, device=image.device)
    number[images] = torch.arange(len(images), device=image.device)
    objects = (number[image] >= 0).nonzero()[:, 0]
    return _Chosen(images, objects, number[image[objects]])


def _as_batch(
    batch: dict[str, Any], chosen: _Chosen, oriented: bool, are_maps: bool, method: Warp
) -> Batch:
    count, objects, image = len(chosen.images), chosen.objects, chosen.image
    corners = corners_of(batch, oriented)[objects]
    upright = enclosure(corners)
    outlines = outline(corners) if oriented else box_outline(upright, method.box)
    boxes = points = maps = instances = None
    if "boxes" in method.needs:
        boxes = Rows.at(upright.clamp(0, 1), image, count)
    if len(objects):
        parts = [outlines]  # of each object its outline, then its keypoints
        if "keypoints" in batch:
            parts.append(batch["keypoints"][objects, :, :2].float())
        each = torch.cat(parts, dim=1)
        points = Rows.at(each.flatten(0, 1), image.repeat_interleave(each.shape[1]), count)
    if are_maps:
        maps = batch["masks"][chosen.images].long()
    elif "masks" in batch and len(objects):
        inside = (batch["masks"][objects] > 0.5).to(torch.uint8)  # integers go to the nearest pixel
        instances = Rows.at(inside, image, count)
    return Batch(
        images=batch["img"][chosen.images],
        boxes=boxes,
        points=points,
        masks=maps,
        instances=instances,
    )


def _place(
    batch: dict[str, Any], objects: Tensor, points: Tensor, oriented: bool, min_visible: float
) -> Tensor:
    """Puts objects where their points are now. Returns which of them (m,) are kept."""
    scale = scale_of(batch)
    width, height = (int(side) for side in scale.tolist())
    points = points.view(len(objects), -1, 2) * scale
    joints = batch["keypoints"].shape[1] if "keypoints" in batch else 0
    outlines, ends = points.split([points.shape[1] - joints, joints], dim=1)
    moved = Instances(
        _array(enclosure(outlines)),
        _array(outlines) if oriented else None,
        _seen(batch["keypoints"][objects], ends) if joints else None,
        bbox_format="xyxy",
        normalized=False,
    )
    kept = clip(moved, width, height, oriented, min_visible)
    boxes = xyxyxyxy2xywhr(moved.segments) if oriented else xyxy2xywh(moved.bboxes)
    boxes[:, :4] /= np.array([width, height] * 2, dtype=np.float32)
    _put(batch, "bboxes", objects, torch.from_numpy(boxes))
    if joints:
        moved.keypoints[..., :2] /= np.array([width, height], dtype=np.float32)
        columns = batch["keypoints"].shape[2]
        _put(batch, "keypoints", objects, torch.from_numpy(moved.keypoints[..., :columns]))
    return torch.from_numpy(kept).to(objects.device)


def _tighten(
    batch: dict[str, Any], before: Tensor, given: Batch, moved: Batch, chosen: _Chosen
) -> None:
    """Cuts boxes to the masks in them, of the objects whose box was that of their mask before."""
    if len(chosen.objects) == 0:
        return
    objects, image, size = chosen.objects, chosen.image, batch["masks"].shape[1:]
    filled = tight.agree(before[objects], tight.around(given, image), size)
    boxes = batch["bboxes"][objects]
    cut = tight.tighten(boxes, tight.around(moved, image), filled, size)
    _put(batch, "bboxes", objects, cut)


def _seen(given: Tensor, moved: Tensor) -> np.ndarray:
    """(N, K, 3): moved keypoints with their visibility, which the host may leave out here."""
    seen = given[..., 2:] if given.shape[2] > 2 else torch.ones_like(given[..., :1])
    return _array(torch.cat([moved, seen.to(moved.dtype)], dim=2))


def _put_masks(batch: dict[str, Any], moved: Batch, chosen: _Chosen, kept: Tensor) -> None:
    """Puts moved masks, and what the host makes of them, in the place of the given ones."""
    left = kept[chosen.objects]
    image = chosen.image[left]
    if moved.masks is not None:
        maps = masks.renumber(moved.masks, chosen.image, left)
        _put(batch, "masks", chosen.images, maps)
    elif moved.instances is not None:
        own = moved.instances.values
        maps = masks.as_maps(own[left], image, len(chosen.images))
        _put(batch, "masks", chosen.objects, own)
        batch["masks"] = batch["masks"][kept]
    else:
        return  # no object, no mask
    if "sem_masks" in batch:
        classes = masks.semantic(maps, image, batch["cls"][chosen.objects[left]])
        _put(batch, "sem_masks", chosen.images, classes)


def _put(batch: dict[str, Any], key: str, rows: Tensor, values: Tensor) -> None:
    """A new tensor with other values in some rows."""
    old = batch[key]
    batch[key] = old.index_copy(0, rows, values.to(old.dtype).to(old.device))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy().copy()
