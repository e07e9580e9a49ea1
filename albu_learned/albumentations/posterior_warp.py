"""PosteriorWarp in Albumentations: what a PSTN has learned, for everything that a picture has."""

from __future__ import annotations

import os
from typing import Any

from albu_learned.albumentations import host
from albu_learned.albumentations.pooled import PooledWarp, refuse_masks
from albu_learned.method import hold
from albu_learned.pstn import PosteriorWarp as Core

__all__ = ["PosteriorWarp"]


class PosteriorWarp(PooledWarp):
    """Warps images, masks, boxes and keypoints by the motions that a PSTN has learned.

    One that looks at pictures does so in every call. A marginal one, of `as_warp(marginal=...)`,
    looks at none: its motions come from a pool, made once, as those of `ThetaWarp` do.

    Args:
        method: the folder of a `PosteriorWarp`, or a live one (which cannot be saved in a
            pipeline).
        scale: multiplies the noise; None for the artifact's own.
        padding: what is beyond the border: "border", "zeros" or "reflection"; None likewise.
        box: what a box is taken for: "outline" or "ellipse", whose enclosure grows less.
        min_visible: a box of which less than this share of the area stays in the frame is dropped.
        pool: how many motions a marginal one has; 0 to draw, and integrate, one in every call.
        p: the probability of applying it.

    Targets:
        image, mask, bboxes, keypoints, volume, mask3d

    Image types:
        uint8, float32

    Example:
        >>> import numpy as np, torch
        >>> import albu_learned as al
        >>> model = al.PSTN(torch.nn.Flatten(), example=(3, 32, 32))  # and a training
        >>> warp = PosteriorWarp(model.as_warp(), p=1)
        >>> warp(image=np.zeros((64, 64, 3), np.uint8))["image"].shape
        (64, 64, 3)
    """

    class InitSchema(host.BaseTransformInitSchema):
        method: Any
        scale: float | None
        padding: str | None
        box: str | None
        min_visible: float | None
        pool: int

    def __init__(
        self,
        method: Any,
        scale: float | None = None,
        padding: str | None = None,
        box: str | None = None,
        min_visible: float | None = None,
        pool: int = 1024,
        p: float = 0.5,
    ) -> None:
        refuse_masks(box, type(self).__name__)
        facts = {"scale": scale, "padding": padding, "box": box, "min_visible": min_visible}
        super().__init__(hold(method, Core, **facts), pool, p=p)
        if not isinstance(method, Core):
            self.method = os.fspath(method)
        self.scale, self.padding, self.box, self.min_visible = scale, padding, box, min_visible
