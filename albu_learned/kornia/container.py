"""Kornia's container, extended by what learned operations need.

Kornia's own gives an operation one target at a time and never the labels. This one shows each
learned operation the whole batch before it acts, and carries labels through mixes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from kornia.augmentation import AugmentationSequential
from kornia.augmentation.container.ops import AugmentationSequentialOps
from kornia.augmentation.container.params import ParamItem
from kornia.constants import DataKey
from kornia.geometry.boxes import Boxes
from kornia.geometry.keypoints import Keypoints
from torch import Tensor, nn

from albu_learned.batch import Batch
from albu_learned.kornia import parts
from albu_learned.kornia.learned import CONTAINER, Learned, frame
from albu_learned.kornia.mix import MixTransform


class LearnedAugmentationSequential(AugmentationSequential):
    """`kornia.augmentation.AugmentationSequential` for learned operations and Kornia's own.

    Takes the same arguments, and everything Kornia's container can do works: dictionaries, replay
    by `params=`, `inverse`, `random_apply`. On top of that

    - class labels (data key "class" or "label") reach the operations that need them, and come back
      as (B, K) soft labels where the list has a mix;
    - boxes keep their rows: one that has left the frame, or was all zeros (padding), comes back as
      zeros. `valid` tells which are left, by data key: (B, N) for boxes and keypoints;
    - a mix adds the boxes of other images behind an image's own where they weigh enough; `source`
      then tells, by data key, the (image, row) of every row: (B, N', 2), -1 for none;
    - several mixes may stand in one list.

    Learned operations that need labels, boxes or images, and mixes, must stand directly in the
    list, not inside another container.

    Example:
        >>> import torch, kornia.augmentation as K
        >>> from albu_learned.kornia import ZetaMixup
        >>> augment = LearnedAugmentationSequential(
        ...     K.RandomHorizontalFlip(), ZetaMixup(num_classes=3), data_keys=["input", "class"])
        >>> images, labels = augment(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))
        >>> labels.shape
        torch.Size([4, 3])
    """

    def __init__(self, *args: nn.Module, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, child in self.named_children():
            _refuse_nested(name, child)
        self.transform_op = _LearnedOps(self.data_keys)
        self.valid: dict[str, Tensor] = {}
        self.source: dict[str, Tensor] = {}
        self._validity: list[Tensor | None] = []

    def get_mix_augmentation_indices(self, named_modules: Iterator[tuple[str, nn.Module]]) -> Any:
        # Kornia allows one mix in a list, since it cannot follow the labels through two. We can.
        children = list(named_modules)
        kept = [
            c if not isinstance(c[1], MixTransform) else (c[0], nn.Identity()) for c in children
        ]
        return super().get_mix_augmentation_indices(iter(kept))

    def forward(self, *args: Any, params: Any = None, data_keys: Any = None) -> Any:
        self.transform_op.sources = {}
        out = super().forward(*args, params=params, data_keys=data_keys)
        names = self._names(args, data_keys)
        found = zip(names, self._validity, strict=False)
        self.valid = {name: valid for name, valid in found if valid is not None}
        self.source = {}
        for (key, nth), source in self.transform_op.sources.items():
            keys = self._keys(args, data_keys)
            place = [i for i, k in enumerate(keys) if k == key][nth]
            self.source[names[place]] = source
        return out

    def _keys(self, args: Any, data_keys: Any) -> list[DataKey]:
        if len(args) == 1 and isinstance(args[0], dict):
            return self._read_datakeys_from_dict(tuple(args[0]))[0]
        return self.transform_op.preproc_datakeys(data_keys)

    def _names(self, args: Any, data_keys: Any) -> list[str]:
        """How the caller calls each argument: dictionary keys, or data keys."""
        if len(args) == 1 and isinstance(args[0], dict):
            unknown = self._read_datakeys_from_dict(tuple(args[0]))[1] or []
            return [key for key in args[0] if key not in unknown]
        given = data_keys if data_keys is not None else self.data_keys
        names = [k if isinstance(k, str) else DataKey.get(k).name.lower() for k in given]
        return [n if names.index(n) == i else f"{n}_{i}" for i, n in enumerate(names)]

    def _validate_args_datakeys(self, *args: Any, data_keys: Any, params: Any = None) -> None:
        super()._validate_args_datakeys(*args, data_keys=data_keys, params=params)
        if not any(isinstance(child, MixTransform) for child in self.children()):
            return
        for value, key in zip(args, data_keys, strict=True):
            # Kornia turns integer masks into floats before an operation could refuse them.
            if key == DataKey.MASK and isinstance(value, Tensor) and not value.is_floating_point():
                raise TypeError(
                    f"`mask` must be float to be mixed, got {value.dtype}: a mixture of class "
                    "numbers means nothing. Give one float channel a class, or leave it out."
                )

    def _preproc_boxes(self, arg: Any, dcate: DataKey) -> Boxes:
        boxes = super()._preproc_boxes(arg, dcate)
        if not isinstance(arg, Boxes):
            boxes._valid = boxes._valid & ~parts.padding(boxes)  # or Kornia would move the padding
        return boxes

    def _arguments_postproc(self, in_args: Any, out_args: Any, data_keys: Any) -> Any:
        self._validity = [self._valid_of(value, out_args, data_keys) for value in out_args]
        return super()._arguments_postproc(in_args, out_args, data_keys)

    def _valid_of(self, value: Any, out_args: Any, data_keys: Any) -> Tensor | None:
        if isinstance(value, Boxes):
            return value._valid
        if not isinstance(value, Keypoints):
            return None
        for image, key in zip(out_args, data_keys, strict=True):
            if DataKey.get(key) == DataKey.INPUT:
                return parts.inside(value, tuple(image.shape[-2:]))
        return None  # without images only the draw's frame is known, not the last one


def _refuse_nested(name: str, child: nn.Module) -> None:
    if isinstance(child, Learned):
        return
    for inner in child.modules():
        if isinstance(inner, Learned) and (inner.method.needs or isinstance(inner, MixTransform)):
            raise ValueError(
                f"{type(inner.method).__name__} must stand directly in the list of {CONTAINER}, "
                f"but stands inside of {type(child).__name__} ({name!r}), which hides labels and boxes "
                "from it. Take it out of there."
            )


class _LearnedOps(AugmentationSequentialOps):
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
            module.prepare(param.data, _batch_of(arg, keys, param.data))
            if isinstance(module, MixTransform):
                outputs = self._mix(arg, keys, module, param.data)
                return outputs if len(outputs) > 1 else outputs[0]
            return super().transform(
                *arg, module=module, param=param, extra_args=extra_args, data_keys=data_keys
            )
        finally:
            module.live = None

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


def _batch_of(args: tuple[Any, ...], keys: list[DataKey], params: Any) -> Batch:
    """What an operation may plan from: the first image, labels and boxes of the call."""
    found: dict[str, Any] = {}
    for value, key in zip(args, keys, strict=True):
        if key == DataKey.INPUT:
            found.setdefault(
                "images",
                value
                if value.ndim == 4
                else value.reshape((1,) * (4 - value.ndim) + tuple(value.shape)),
            )
        elif key == DataKey.CLASS:
            found.setdefault("labels", torch.as_tensor(value))
        elif key in parts.BOXES:
            found.setdefault("boxes", parts.boxes(value, frame(params)).boxes)
    return Batch(**found)


def _mix_one(value: Any, key: DataKey, module: MixTransform, params: Any) -> Any:
    if key == DataKey.INPUT:
        return module(value, params=params)
    if key == DataKey.CLASS:
        return module.mix_labels(torch.as_tensor(value), params)
    if key == DataKey.MASK:
        channels = value if value.ndim == 4 else value[:, None]
        return parts.masks_back(module.change(params, parts.masks(channels, False)), value)
    rows = module.rows(params)
    if rows is not None and len(rows) == 0:
        return value
    size = frame(params)
    if key == DataKey.KEYPOINTS:
        points = module.change(params, parts.keypoints(value, size)).points
        assert points is not None
        return parts.keypoints_back(points, value, size), parts.sources(points)
    boxes = module.change(params, parts.boxes(value, size)).boxes
    assert boxes is not None
    return parts.boxes_back(boxes, value, size), parts.sources(boxes)


def _follow(before: Tensor | None, source: Tensor) -> Tensor:
    """The first sources of rows that two mixes in a row have moved."""
    if before is None:
        return source
    image, row = source.clamp(min=0).unbind(-1)
    return torch.where(source >= 0, before[image, row], source)
