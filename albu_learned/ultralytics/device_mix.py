"""A mix of a batch: sums of its images, with the objects of all that weigh enough."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from albu_learned.batch import Batch, Rows
from albu_learned.spec import Step
from albu_learned.ultralytics import overlap as masks
from albu_learned.ultralytics.targets import boxes_of, image_of, keep

__all__ = ["mix"]


def mix(step: Step, batch: dict[str, Any], oriented: bool, overlap: bool | None) -> int:
    """Mixes the batch, in place. Returns how many images it changed."""
    given = boxes_of(batch, oriented)
    mixed, changed = step(Batch(images=batch["img"], boxes=given))
    if not changed:
        return 0
    assert mixed.boxes is not None
    batch["img"] = mixed.images
    image = image_of(batch)
    first = torch.searchsorted(image, torch.arange(len(batch["img"]), device=image.device))
    rows = first[mixed.boxes.source[:, 0]] + mixed.boxes.source[:, 1]
    gathered = None
    if "masks" in batch:
        gathered = _gather(batch, mixed.boxes, rows, masks.are_maps(batch, image, overlap))
    keep(batch, rows, mixed.boxes.image)
    if gathered is not None and "sem_masks" in batch:
        classes = masks.semantic(gathered, mixed.boxes.image, batch["cls"])
        batch["sem_masks"] = classes.to(batch["sem_masks"].dtype)
    return changed


def _gather(batch: dict[str, Any], objects: Rows, rows: Tensor, are_maps: bool) -> Tensor:
    """Replaces the masks of the batch. Returns them as maps."""
    given = batch["masks"]
    if are_maps:
        maps = masks.union(given.long(), objects)
        batch["masks"] = masks.store(maps, given.dtype)
        return maps
    batch["masks"] = given[rows]
    return masks.as_maps(batch["masks"], objects.image, objects.count)
