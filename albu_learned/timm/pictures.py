"""PIL images as rows of a batch, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch
from albu_learned.method import Method

__all__ = ["changed", "check_picture", "picture_from", "picture_to", "refuse_needs"]

MODES = ("L", "RGB")


def picture_to(picture: Any) -> Tensor:
    """A picture of mode L or RGB as one row (1, C, H, W) of uint8."""
    check_picture(picture)
    array = np.array(picture)  # a copy: PIL's own memory is read-only
    return torch.from_numpy(array[..., None] if array.ndim == 2 else array).permute(2, 0, 1)[None]


def check_picture(picture: Any) -> None:
    """Raises if it is none, or of another mode."""
    if not isinstance(picture, Image.Image):
        raise TypeError(
            f"The image must be a PIL image here, got {type(picture).__name__}. Learned methods "
            "stand before the conversion to a tensor; on tensors use `stage: batch` of a spec."
        )
    if picture.mode not in MODES:
        raise ValueError(
            f"The image must have the mode {' or '.join(MODES)}, got {picture.mode}. Convert it "
            'first: image.convert("RGB").'
        )


def picture_from(rows: Tensor) -> Any:
    """One row (1, C, H, W) of uint8 as a picture."""
    array = rows[0].permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


@torch.no_grad()
def changed(picture: Any, method: Method) -> Any:
    """The picture as a method changes it, with noise from torch's generator of this process."""
    result = method(Batch(images=picture_to(picture)))
    return picture_from(result.images)


def refuse_needs(method: Method, where: str) -> None:
    """Raises if a method cannot work on a picture alone, on the CPU."""
    strange = sorted(method.needs - {"images"})
    if strange:
        raise ValueError(
            f"`method` must need nothing but the image for {where}, but {type(method).__name__} "
            f"needs {' and '.join(strange)}. Name it in a spec: albu_learned.timm.create_loader("
            "..., spec=...) knows the labels."
        )
    checks.on_cpu(method, f"{where}, which works in worker processes")
