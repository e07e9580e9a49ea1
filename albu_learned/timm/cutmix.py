"""timm's CutMix, for batches of any dtype and not in place.

timm's own loops are tied to its classes: they overwrite the batch, and keep the shares of the
images in the batch's dtype, of which uint8 and half precision make something else. Its boxes are
used as they are.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from albu_learned.timm import host
from albu_learned.timm.settings import Settings

__all__ = ["cutmix"]


def cutmix(images: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) images with boxes of the reversed batch in them, and (B, 1): the share that each
    image keeps. Draws from numpy's global generator, as timm does, which seeds it in workers."""
    rows = len(images)
    groups: dict[str, list[list[int]]] = {
        "batch": [list(range(rows))],
        "pair": [[i, rows - 1 - i] for i in range(rows // 2)],
    }
    alpha = settings.cutmix_alpha if settings.cutmix_minmax is None else 1.0
    cut, partners = images.clone(), images.flip(0)
    kept = torch.ones(rows, 1, device=images.device)
    for group in groups.get(settings.mode, [[i] for i in range(rows)]):
        (top, bottom, left, right), share = host.cutmix_bbox_and_lam(
            images.shape,
            np.random.beta(alpha, alpha),
            ratio_minmax=settings.cutmix_minmax,
            correct_lam=settings.correct_lam,
        )
        cut[group, :, top:bottom, left:right] = partners[group, :, top:bottom, left:right]
        kept[group] = float(share)
    return cut, kept
