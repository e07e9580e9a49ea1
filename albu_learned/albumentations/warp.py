"""Warps: one field moves the image and everything that lies on it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from albu_learned import remap
from albu_learned.albumentations import host
from albu_learned.albumentations.door import Door
from albu_learned.albumentations.record import from_record
from albu_learned.kinds import Field, Warp

__all__ = ["WarpTransform"]


class _Last(threading.local):
    """The motion of this thread's last plan: image, mask, boxes and points of one call share it.
    Points are moved along with the boxes if these come first, and wait here for their turn."""

    plan: Any = None
    method: Any = None
    motion: Any = None
    points: Any = None  # those of this call that have not been moved
    ahead: tuple[Any, Any] = (None, None)  # those that have, before and after


_LAST = _Last()


class WarpTransform(Door, host.Dual):
    """Moves images, masks, boxes and keypoints by a learned warp.

    Integer masks go to the nearest pixel, float masks are interpolated. Boxes that leave the frame
    are dropped; oriented ones, of AlbumentationsX, are fitted to their moved outlines. Keypoints
    keep their order and number (`KeypointParams` decides which to drop), and their angle and scale
    are left alone.

    Args:
        method: the folder of an artifact, or a live `Warp` (which cannot be saved in a pipeline).
        label_key: where the class number is, for warps that read it.
        classes: the names of your classes in the order of your numbers, matched by name with those
            of the artifact; None if the numbers are the artifact's own.
        p: the probability of applying it.

    Targets:
        image, mask, bboxes, keypoints, volume, mask3d

    Image types:
        uint8, float32
    """

    _live: Warp

    class InitSchema(host.BaseTransformInitSchema):
        method: Any
        label_key: str
        classes: list[str] | None

    def __init__(
        self,
        method: Any,
        label_key: str = "label",
        classes: Sequence[str] | None = None,
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.hold(method, Warp, label_key, classes)

    def _motion(self, plan: dict[str, Any]) -> remap.Motion:
        if _LAST.plan is not plan or _LAST.method is not self._live:
            method = self._live
            options = (method.padding, method.box, method.min_visible)
            _LAST.motion = remap.Motion(self._field(plan), *options)
            _LAST.plan, _LAST.method = plan, method
        motion: remap.Motion = _LAST.motion
        return motion

    def _field(self, plan: dict[str, Any]) -> Field:
        return self._live.field(from_record(plan))

    @torch.no_grad()
    def apply(self, img: np.ndarray, plan: dict[str, Any], **params: Any) -> np.ndarray:
        return remap.move_image(img, self._motion(plan))

    @torch.no_grad()
    def apply_to_mask(self, mask: np.ndarray, plan: dict[str, Any], **params: Any) -> np.ndarray:
        return remap.move_mask(mask, self._motion(plan))

    def apply_to_masks(self, masks: Any, *args: Any, **params: Any) -> Any:
        # 2.0.8 cannot stack an empty array of masks
        return masks if len(masks) == 0 else super().apply_to_masks(masks, *args, **params)

    def apply_to_mask3d(self, mask3d: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        return self.apply_to_masks(mask3d, *args, **params)

    def apply_to_masks3d(self, masks3d: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        # 2.0.8's own folds the layers into channels twice over, and fails
        moved = [self.apply_to_mask3d(mask3d, *args, **params) for mask3d in masks3d]
        return np.stack(moved) if moved else masks3d

    def apply_with_params(self, sampled_params: Any, *args: Any, **data: Any) -> Any:
        _LAST.points = data.get("keypoints")
        try:
            return super().apply_with_params(sampled_params, *args, **data)
        finally:
            _LAST.points, _LAST.ahead = None, (None, None)

    @torch.no_grad()
    def apply_to_bboxes(
        self, bboxes: np.ndarray, plan: dict[str, Any], shape: Sequence[int], **params: Any
    ) -> np.ndarray:
        motion = self._motion(plan)
        if params.get("bbox_type") == "obb":  # of AlbumentationsX
            return remap.move_oriented(bboxes, motion, shape)
        points = _LAST.points
        if points is None or _LAST.ahead[0] is points:
            return remap.move_boxes(bboxes, motion)
        bboxes, moved = remap.move_boxes_and_points(bboxes, points, motion, shape)
        _LAST.ahead = (points, moved)
        return bboxes

    @torch.no_grad()
    def apply_to_keypoints(
        self, keypoints: np.ndarray, plan: dict[str, Any], shape: Sequence[int], **params: Any
    ) -> np.ndarray:
        before, after = _LAST.ahead
        if before is keypoints:
            return after
        _LAST.points = None
        return remap.move_points(keypoints, self._motion(plan), shape)
