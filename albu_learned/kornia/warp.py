"""Warps in Kornia: images, masks, boxes and keypoints move together, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from kornia.augmentation import GeometricAugmentationBase2D
from kornia.constants import Resample
from kornia.geometry.boxes import Boxes
from kornia.geometry.keypoints import Keypoints
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch, Rows
from albu_learned.kinds import Warp
from albu_learned.kornia import parts
from albu_learned.kornia.learned import CONTAINER, Learned, Params, frame
from albu_learned.method import Method, hold
from albu_learned.methods import theta_warp
from albu_learned.methods.theta_warp.making import make
from albu_learned.pstn import PosteriorWarp as Posterior


class WarpTransform(Learned, GeometricAugmentationBase2D):
    """Any warp method as an operation of Kornia.

    Kornia's base for geometric operations is the only one whose container hands over masks, boxes
    and keypoints and can invert. It also wants a matrix; ours is the identity, since no matrix
    describes a warp: do not use `transform_matrix`.

    A warp whose `box` is "mask" puts each box around the moved mask of its object: give, in our
    container, masks (B, N, H, W) with a channel for each of the N boxes.

    Args:
        method: the warp, or the folder of its artifact.
        p: probability for each image.
        same_on_batch: draw once for the whole batch.
        keepdim: return (C, H, W) for (C, H, W).
        classes: your class names in the order of your labels, where the artifact has names.
    """

    method: Warp
    objects: Tensor | None = None  # their masks, while a container applies this

    def __init__(
        self,
        method: Method | str | Path,
        *,
        p: float = 0.5,
        same_on_batch: bool = False,
        keepdim: bool = False,
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__(
            p=checks.between("p", p, "[0, 1]"), same_on_batch=same_on_batch, keepdim=keepdim
        )
        self._hold(method, Warp, classes)
        self.flags = {"resample": Resample.BILINEAR}  # Kornia sets it to nearest for masks

    def compute_transformation(self, input: Tensor, params: Params, flags: Any) -> Tensor:
        return self.identity_matrix(input)

    def apply_transform(
        self, input: Tensor, params: Params, flags: Any, transform: Tensor | None = None
    ) -> Tensor:
        return self._images(input, params)

    def apply_transform_mask(
        self, input: Tensor, params: Params, flags: Any, transform: Tensor | None = None
    ) -> Tensor:
        return self._masks(input, params, flags)

    def apply_transform_box(
        self, input: Boxes, params: Params, flags: Any, transform: Tensor | None = None
    ) -> Boxes:
        return self._boxes(input, params)

    def apply_transform_keypoint(
        self, input: Keypoints, params: Params, flags: Any, transform: Tensor | None = None
    ) -> Keypoints:
        return self._keypoints(input, params)

    def inverse_inputs(
        self,
        input: Tensor,
        params: Params,
        flags: Any,
        transform: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        return self._images(self.transform_tensor(input), params, inverse=True)

    def inverse_masks(
        self,
        input: Tensor,
        params: Params,
        flags: Any,
        transform: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        flags = {**flags, "resample": Resample.NEAREST, **kwargs}
        channels = input if input.ndim == 4 else input[:, None]
        return self._masks(channels, params, flags, inverse=True)

    def inverse_boxes(
        self,
        input: Boxes,
        params: Params,
        flags: Any,
        transform: Tensor | None = None,
        **kwargs: Any,
    ) -> Boxes:
        return self._gated(self._boxes(input, params, inverse=True), input, params)

    def inverse_keypoints(
        self,
        input: Keypoints,
        params: Params,
        flags: Any,
        transform: Tensor | None = None,
        **kwargs: Any,
    ) -> Keypoints:
        return self._gated(self._keypoints(input, params, inverse=True), input, params)

    def _images(self, input: Tensor, params: Params, inverse: bool = False) -> Tensor:
        changed = self.change(params, parts.images(input), inverse).images
        assert changed is not None
        return changed

    def _masks(self, input: Tensor, params: Params, flags: Any, inverse: bool = False) -> Tensor:
        nearest = Resample.get(flags.get("resample", Resample.NEAREST)) == Resample.NEAREST
        return parts.masks_back(self.change(params, parts.masks(input, nearest), inverse), input)

    def _boxes(self, input: Boxes, params: Params, inverse: bool = False) -> Boxes:
        size = frame(params)
        given = parts.boxes(input, size)
        if self.method.box == "mask":
            given = self._with_objects(given)
        changed = self.change(params, given, inverse).boxes
        assert changed is not None
        return parts.boxes_back(changed, input, size)

    def _with_objects(self, given: Batch) -> Batch:
        boxes, masks = given.boxes, self.objects
        assert boxes is not None
        if masks is None or masks.ndim != 4 or masks.shape[:2].numel() != len(boxes):
            got = "none" if masks is None else tuple(masks.shape)
            raise ValueError(
                f'`mask` must be (B, N, H, W) with a channel for each box with box="mask", got '
                f"{got} for {len(boxes)} boxes of {boxes.count} images. Give such masks to "
                f'{CONTAINER}, or choose box="outline"; what is undone has no masks of its own.'
            )
        objects = Rows.at((masks.flatten(0, 1) > 0.5).to(torch.uint8), boxes.image, boxes.count)
        return Batch(boxes=boxes, instances=objects)

    def _keypoints(self, input: Keypoints, params: Params, inverse: bool = False) -> Keypoints:
        size = frame(params)
        changed = self.change(params, parts.keypoints(input, size), inverse).points
        assert changed is not None
        return parts.keypoints_back(changed, input, size)

    def _gated(self, changed: Any, given: Any, params: Params) -> Any:
        """Rows that p did not select are given back as they are, to the last bit: Kornia blends
        so in the forward direction, but leaves it to the operation in the inverse one."""
        gate = self._gate(params)
        changed._data = self._blend_by_prob(changed.data, given.data, gate)
        if isinstance(changed, Boxes):
            changed._valid = self._blend_by_prob(changed._valid, given._valid, gate)
        return changed


class ThetaWarp(WarpTransform):
    """Random invertible warps, learned or of no data; see `albu_learned.ThetaWarp`.

    Args:
        method: a fitted `ThetaWarp`, or its folder; None for smooth motions of no data.
        std: how far points of motions of no data move, the root of the mean square, in sides;
            by default 0.05.
        cells: columns and rows of cells of motions of no data; by default (4, 4).
        scale: multiplies the strength; None for the artifact's own, or 1.
        padding: what is beyond the border: "border", "zeros" or "reflection"; None likewise.
        box: what a box is taken for: "outline", "ellipse" or "mask".
        min_visible: a box of which less than this share of the area stays in the frame is not
            valid.
        **options: the keyword arguments of `WarpTransform`.

    Example:
        >>> import torch
        >>> warp = ThetaWarp(std=0.05, p=1.0)
        >>> warp(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        method: theta_warp.ThetaWarp | str | Path | None = None,
        std: float | None = None,
        cells: Sequence[int] | None = None,
        scale: float | None = None,
        padding: str | None = None,
        box: str | None = None,
        min_visible: float | None = None,
        **options: Any,
    ) -> None:
        facts = {"scale": scale, "padding": padding, "box": box, "min_visible": min_visible}
        super().__init__(make(method, std, cells, **facts), **options)


class PosteriorWarp(WarpTransform):
    """The motions that a PSTN has learned; see `albu_learned.PosteriorWarp`.

    One that looks at images needs our container, `LearnedAugmentationSequential`, which shows them;
    a marginal one, of `as_warp(marginal=...)`, goes anywhere.

    Args:
        method: a `PosteriorWarp`, or its folder.
        scale: multiplies the noise; None for the artifact's own.
        padding: what is beyond the border: "border", "zeros" or "reflection"; None likewise.
        box: what a box is taken for: "outline", "ellipse" or "mask".
        min_visible: a box of which less than this share of the area stays in the frame is not
            valid.
        **options: the keyword arguments of `WarpTransform`.
    """

    def __init__(
        self,
        method: Posterior | str | Path,
        scale: float | None = None,
        padding: str | None = None,
        box: str | None = None,
        min_visible: float | None = None,
        **options: Any,
    ) -> None:
        facts = {"scale": scale, "padding": padding, "box": box, "min_visible": min_visible}
        super().__init__(hold(method, Posterior, **facts), **options)
