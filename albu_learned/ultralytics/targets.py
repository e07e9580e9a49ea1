"""What a batch of the host says about its objects, as the core reads it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from ultralytics.utils.ops import xywh2xyxy, xywhr2xyxyxyxy

from albu_learned.batch import Rows
from albu_learned.ultralytics.objects import box_corners, enclosure

__all__ = ["boxes_of", "corners_of", "image_of", "keep", "scale_of"]

# Everything in a batch that has a row for each object; masks are seen to apart.
_ROWS = ("cls", "bboxes", "batch_idx", "keypoints")


def image_of(batch: dict[str, Any]) -> Tensor:
    """(M,): the number of the image that each object lies on."""
    return batch["batch_idx"].reshape(-1).long()


def scale_of(batch: dict[str, Any]) -> Tensor:
    """(2,): width and height of the images."""
    images = batch["img"]
    height, width = images.shape[2:]
    return torch.tensor([width, height], device=images.device, dtype=torch.float32)


def corners_of(batch: dict[str, Any], oriented: bool) -> Tensor:
    """(M, 4, 2): the corners of each box, normalised, in a ring."""
    boxes = batch["bboxes"].float()
    if not oriented:
        return box_corners(xywh2xyxy(boxes))
    # The angle is one of pixels: in a picture that is not square it means nothing normalised.
    scale = scale_of(batch)
    in_pixels = torch.cat([boxes[:, :4] * scale.repeat(2), boxes[:, 4:]], dim=1)
    corners: Tensor = xywhr2xyxyxyxy(in_pixels) / scale
    return corners


def boxes_of(batch: dict[str, Any], oriented: bool) -> Rows:
    """Upright boxes around the objects. None is taken for padding, whatever its values."""
    boxes = enclosure(corners_of(batch, oriented)).clamp(0, 1)
    return Rows.at(boxes, image_of(batch), len(batch["img"]))


def keep(batch: dict[str, Any], rows: Tensor, image: Tensor) -> None:
    """Leaves these objects of a batch, on these images of it, and no others."""
    for key in _ROWS:
        if key in batch:
            batch[key] = batch[key][rows]
    batch["batch_idx"] = image.to(batch["batch_idx"].dtype).view(batch["batch_idx"].shape)
