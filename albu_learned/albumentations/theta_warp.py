"""ThetaWarp in Albumentations: learned or smooth random warps of everything that a picture has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from albu_learned.albumentations import host
from albu_learned.albumentations.pooled import PooledWarp, refuse_masks
from albu_learned.methods.theta_warp.making import make

__all__ = ["ThetaWarp"]


class ThetaWarp(PooledWarp):
    """Warps images, masks, boxes and keypoints by random motions, learned or of no data.

    To integrate a motion takes longer than to resample a small picture. So motions come from a
    pool: `pool` of them, the same in every process, are made once, when they are first drawn. On a
    picture of 640 px its pixels are then within 0.5 px of the exact motion, 99 of 100 within 0.2,
    and so are points where the motion does not squeeze them; on smaller ones within less. With
    `pool=0` every call draws a motion of its own and moves points exactly.

    Args:
        method: the folder of a fitted `ThetaWarp`; None for smooth motions of no data.
        std: how far points of motions of no data move, the root of the mean square, in sides;
            by default 0.05.
        cells: columns and rows of cells of motions of no data; by default (4, 4).
        scale: multiplies the strength; None for the artifact's own, or 1.
        padding: what is beyond the border: "border", "zeros" or "reflection"; None likewise.
        box: what a box is taken for: "outline" or "ellipse", whose enclosure grows less.
        min_visible: a box of which less than this share of the area stays in the frame is dropped.
        pool: how many motions there are, for each class if they are of classes; 0 for no pool.
        label_key: where the class number is, for warps with a distribution for each class.
        classes: the names of your classes in the order of your numbers, matched by name with those
            of the artifact; None if the numbers are the artifact's own.
        p: the probability of applying it.

    Targets:
        image, mask, bboxes, keypoints, volume, mask3d

    Image types:
        uint8, float32

    Example:
        >>> import numpy as np
        >>> warp = ThetaWarp(std=0.05, p=1)
        >>> warp(image=np.zeros((64, 64, 3), np.uint8))["image"].shape
        (64, 64, 3)
    """

    class InitSchema(host.BaseTransformInitSchema):
        method: Any
        std: float | None
        cells: list[int] | None
        scale: float | None
        padding: str | None
        box: str | None
        min_visible: float | None
        pool: int
        label_key: str
        classes: list[str] | None

    def __init__(
        self,
        method: Any = None,
        std: float | None = None,
        cells: Sequence[int] | None = None,
        scale: float | None = None,
        padding: str | None = None,
        box: str | None = None,
        min_visible: float | None = None,
        pool: int = 1024,
        label_key: str = "label",
        classes: Sequence[str] | None = None,
        p: float = 0.5,
    ) -> None:
        refuse_masks(box, type(self).__name__)
        facts = {"scale": scale, "padding": padding, "box": box, "min_visible": min_visible}
        warp = make(method, std, cells, **facts)
        super().__init__(warp, pool, label_key, classes, p)
        if not isinstance(method, type(warp)):
            self.method = None if method is None else os.fspath(method)
        self.std, self.scale, self.padding = std, scale, padding
        self.cells = None if cells is None else list(cells)
        self.box, self.min_visible = box, min_visible
