"""The contact sheet: original, mask, variant and difference of a few images."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.data.pictures import encoded, pillow

__all__ = ["joined", "strip"]

HEIGHT, MOST, GAP = 192, 384, 4  # pixels: of a strip, the widest of its pictures, between two


def strip(original: Tensor, keep: Tensor, variant: Tensor) -> bytes:
    """A PNG of the four beside one another; in the mask what is kept is white, in the difference
    grey is none.

    Args:
        original: (C, H, W), in [0, 1].
        keep: (1, H, W).
        variant: (C, H, W), in [0, 1].
    """
    difference = (0.5 + (variant - original) / 2).clamp(0, 1)
    pictures = [original, keep.float(), variant, difference]
    width = min(MOST, max(1, round(HEIGHT * original.shape[2] / original.shape[1])))
    small = [_small(picture.expand(3, -1, -1), width) for picture in pictures]
    gap = torch.full((3, HEIGHT, GAP), 255, dtype=torch.uint8)
    parts = [part for picture in small for part in (picture, gap)][:-1]
    return encoded(torch.cat(parts, dim=2).permute(1, 2, 0).numpy())


def joined(strips: Sequence[bytes]) -> bytes:
    """A PNG of strips, one below the other."""
    image, _ = pillow()
    pictures = [image.open(io.BytesIO(content)) for content in strips]
    width = max(picture.width for picture in pictures)
    sheet = image.new("RGB", (width, len(pictures) * (HEIGHT + GAP) - GAP), "white")
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (0, number * (HEIGHT + GAP)))
    written = io.BytesIO()
    sheet.save(written, format="PNG")
    return written.getvalue()


def _small(picture: Tensor, width: int) -> Tensor:
    size = F.interpolate(picture[None], (HEIGHT, width), mode="bilinear", antialias=True)[0]
    return (size.clamp(0, 1) * 255).round().to(torch.uint8)
