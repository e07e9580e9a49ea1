"""Kept pixels are put back exactly as they were, and what is made passes into them softly."""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned.methods.psld.distance import from_mask

__all__ = ["glue"]

_LARGEST = {torch.uint8: 255, torch.uint16: 65535}


def glue(original: Tensor, made: Tensor, keep: Tensor, feather: int = 4) -> Tensor:
    """The image with new pixels where it is not kept; kept pixels are the same bit by bit.

    Args:
        original: (B, C, H, W), floats in [0, 1], uint8 or uint16.
        made: (B, C, H, W), floats; cut to [0, 1].
        keep: (B, 1, H, W), true where a pixel is kept.
        feather: over how many pixels outside of what is kept the old image fades into the new one.

    Example:
        >>> import torch
        >>> old, new = torch.full((1, 1, 1, 4), 200, dtype=torch.uint8), torch.zeros(1, 1, 1, 4)
        >>> keep = torch.tensor([True, False, False, False]).view(1, 1, 1, 4)
        >>> glue(old, new, keep, feather=1).flatten().tolist()
        [200, 100, 0, 0]
    """
    largest = _LARGEST.get(original.dtype)
    numbers = original if largest is None else original.to(torch.int32)
    scale = 1 if largest is None else largest
    new = made.clamp(0, 1).to(numbers.dtype if largest is None else torch.float64) * scale
    share = (1 - from_mask(keep, feather) / (feather + 1)).clamp(min=0).to(new)
    new = torch.lerp(new, numbers.to(new), share)
    new = new if largest is None else new.round().to(torch.int32)
    return torch.where(keep, numbers, new).to(original.dtype)
