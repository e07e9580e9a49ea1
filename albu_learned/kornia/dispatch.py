"""How one operation of a container is applied to all arguments of a call.

Kornia hands an operation one argument after the other. A learned one first sees all of them, to
plan; a mix is then applied to each here, since Kornia's own handlers cannot change labels or rows.
"""

from __future__ import annotations

from typing import Any

import torch
from kornia.augmentation.container.ops import AugmentationSequentialOps
from kornia.augmentation.container.params import ParamItem
from kornia.constants import DataKey
from torch import Tensor, nn

from albu_learned.batch import Batch
from albu_learned.kornia import parts
from albu_learned.kornia.learned import Learned, Params, as_labels, frame
from albu_learned.kornia.mix import MixTransform
from albu_learned.kornia.warp import WarpTransform


class LearnedOps(AugmentationSequentialOps):
    """How one operation is applied to all arguments of a call."""

    def __init__(self, data_keys: Any) -> None:
        super().__init__(data_keys)
        self.sources: dict[tuple[DataKey, int], Tensor] = {}

    def transform(
        self,
        *arg: Any,
        module: nn.Module,
        param: ParamItem,
        extra_args: dict[DataKey, dict[str, Any]],
        data_keys: Any = None,
    ) -> Any:
        if not isinstance(module, Learned):
            return super().transform(
                *arg, module=module, param=param, extra_args=extra_args, data_keys=data_keys
            )
        keys = self.preproc_datakeys(data_keys)
        try:
            module.prepare(param.data, _batch_of(arg, keys, module, param.data))
            if isinstance(module, WarpTransform):
                module.objects = _objects(arg, keys)
            if isinstance(module, MixTransform):
                outputs = self._mix(arg, keys, module, param.data)
                return outputs if len(outputs) > 1 else outputs[0]
            return super().transform(
                *arg, module=module, param=param, extra_args=extra_args, data_keys=data_keys
            )
        finally:
            module.live = None
            if isinstance(module, WarpTransform):
                module.objects = None

    def _mix(
        self, args: tuple[Any, ...], keys: list[DataKey], module: MixTransform, params: Any
    ) -> list[Any]:
        outputs = []
        for i, (value, key) in enumerate(zip(args, keys, strict=True)):
            changed = _mix_one(value, key, module, params)
            if isinstance(changed, tuple):
                changed, source = changed
                nth = keys[:i].count(key)
                self.sources[key, nth] = _follow(self.sources.get((key, nth)), source)
            outputs.append(changed)
        return outputs


def _objects(args: tuple[Any, ...], keys: list[DataKey]) -> Tensor | None:
    """The first masks of a call."""
    masks = [value for value, key in zip(args, keys, strict=True) if key == DataKey.MASK]
    return masks[0] if masks and isinstance(masks[0], Tensor) else None


def _batch_of(args: tuple[Any, ...], keys: list[DataKey], module: Learned, params: Params) -> Batch:
    """What an operation may plan from: the first images; the first labels, boxes and masks if
    needed."""
    needs = module.method.needs | ({"labels"} if module.method.kind == "generate" else set())
    found: dict[str, Any] = {}
    for value, key in zip(args, keys, strict=True):
        if key == DataKey.INPUT:
            found.setdefault("images", value[(None,) * (4 - value.ndim)])
        elif key == DataKey.CLASS and "labels" in needs:
            found.setdefault("labels", as_labels(value))
        elif key in parts.BOXES and "boxes" in needs:
            rows = parts.boxes(value, frame(params)).boxes
            assert rows is not None
            found.setdefault("boxes", rows.take(rows.valid.nonzero()[:, 0]))
        elif key == DataKey.MASK and "instances" in needs:
            found.setdefault("instances", parts.outlines(value, len(params["batch_prob"])))
    return Batch(**found)


def _mix_one(value: Any, key: DataKey, module: MixTransform, params: Params) -> Any:
    if key == DataKey.INPUT:
        return module(value, params=params)
    if key == DataKey.CLASS:
        return module.mix_labels(value, params)
    if key == DataKey.MASK:
        return _mix_masks(value, module, params)
    rows = module.rows(params)
    if len(params["batch_prob"]) == 0 or (rows is not None and len(rows) == 0):
        return value
    size = frame(params)
    if key == DataKey.KEYPOINTS:
        points = module.change(params, parts.keypoints(value, size)).points
        assert points is not None
        return parts.keypoints_back(points, value, size), parts.sources(points)
    boxes = module.change(params, parts.boxes(value, size, ragged=True)).boxes
    assert boxes is not None
    return parts.mixed_boxes_back(boxes, value, size), parts.sources(boxes)


def _mix_masks(value: Tensor, module: MixTransform, params: Params) -> Tensor:
    channels = value
    if value.ndim == 3:  # (B, H, W), or (C, H, W) of one image: Kornia reads them so too
        channels = value[:, None] if len(value) == len(params["batch_prob"]) else value[None]
    elif value.ndim == 2:
        channels = value[None, None]
    mixed = parts.masks_back(module.change(params, parts.masks(channels, False)), channels)
    return mixed.view(value.shape) if module.keepdim else mixed


def _follow(before: Tensor | None, source: Tensor) -> Tensor:
    """The first sources of rows that two mixes in a row have moved."""
    if before is None:
        return source
    image, row = source.clamp(min=0).unbind(-1)
    return torch.where(source >= 0, before[image, row], source)
