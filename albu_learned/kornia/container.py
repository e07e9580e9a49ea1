"""Kornia's container, extended by what learned operations need.

Kornia's own gives an operation one target at a time and never the labels. This one shows each
learned operation the whole batch before it acts, and carries labels through mixes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kornia.augmentation import AugmentationSequential, MixAugmentationBaseV2
from kornia.constants import DataKey
from kornia.geometry.boxes import Boxes, VideoBoxes
from kornia.geometry.keypoints import Keypoints, VideoKeypoints
from torch import Tensor, nn

from albu_learned.kornia import parts
from albu_learned.kornia.dispatch import LearnedOps
from albu_learned.kornia.learned import CONTAINER, Learned, as_labels
from albu_learned.kornia.mix import MixTransform
from albu_learned.kornia.warp import WarpTransform


class LearnedAugmentationSequential(AugmentationSequential):
    """`kornia.augmentation.AugmentationSequential` for learned operations and Kornia's own.

    Takes the same arguments, and everything Kornia's container can do works: dictionaries, replay
    by `params=`, `inverse`, `random_apply`. On top of that

    - class labels (data key "class" or "label") reach the operations that need them, and come back
      as (B, K) soft labels where the list has a mix, also when `random_apply` leaves it out;
    - boxes keep their rows: one that a warp has moved out of the frame, or that was all zeros
      (padding), comes back as zeros;
    - a mix adds the boxes and keypoints of other images behind an image's own where they weigh
      enough, but not their padding;
    - several mixes may stand in one list.

    After a call, `valid` and `source` describe the rows of its boxes and keypoints, by the keys of
    the dictionary or by data key (the second of a kind as "bbox_2"):

    - `valid` (B, N): false for padding, and for what has left the frame, by whichever operation.
      Keypoints that are replayed without images have none: their frame is not known;
    - `source` (B, N, 2): the (image, row) that each row was in the call's arguments, -1 for padding
      that a mix has added. None for videos, or with one of Kornia's own mixes in the list.

    Learned operations that need labels, boxes or images, and mixes, must stand directly in the
    list, not inside another container. In a dictionary, tensors that belong to the images must have
    a key that Kornia knows: they would be left behind by a warp or a mix.

    Threads must not share a container: like Kornia's own, it keeps on itself what it has drawn.
    Give each thread a copy (`copy.deepcopy`).

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
        self.transform_op = LearnedOps(self.data_keys)
        self.valid: dict[str, Tensor] = {}
        self.source: dict[str, Tensor] = {}
        self._found: list[tuple[Tensor | None, Tensor | None]] = []

    def get_mix_augmentation_indices(self, named_modules: Iterator[tuple[str, nn.Module]]) -> Any:
        # Kornia allows one mix in a list, since it cannot follow the labels through two. We can.
        children = list(named_modules)
        kept = [
            c if not isinstance(c[1], MixTransform) else (c[0], nn.Identity()) for c in children
        ]
        return super().get_mix_augmentation_indices(iter(kept))

    def forward(self, *args: Any, params: Any = None, data_keys: Any = None) -> Any:
        self.valid, self.source, self.transform_op.sources = {}, {}, {}
        out = super().forward(*args, params=params, data_keys=data_keys)
        found = list(zip(self._names(args, data_keys), self._found, strict=False))
        self.valid = {name: valid for name, (valid, _) in found if valid is not None}
        self.source = {name: source for name, (_, source) in found if source is not None}
        return out

    def _preproc_dict_data(self, data: dict[str, Any]) -> Any:
        read = super()._preproc_dict_data(data)
        _, data_keys, values, unknown = read
        if any(isinstance(child, (MixTransform, WarpTransform)) for child in self.modules()):
            given = zip(data_keys, values, strict=True)
            images = [value for key, value in given if key == DataKey.INPUT]
            if images and isinstance(images[0], Tensor):
                _refuse_left_behind(unknown or {}, images[0])
        return read

    def _names(self, args: Any, data_keys: Any) -> list[str]:
        """How the caller calls each argument: dictionary keys, or data keys."""
        if len(args) == 1 and isinstance(args[0], dict):
            unknown = self._read_datakeys_from_dict(tuple(args[0]))[1] or []
            return [key for key in args[0] if key not in unknown]
        given = data_keys if data_keys is not None else self.data_keys
        names = [k if isinstance(k, str) else DataKey.get(k).name.lower() for k in given]
        nth = [names[: i + 1].count(name) for i, name in enumerate(names)]
        return [name if n == 1 else f"{name}_{n}" for name, n in zip(names, nth, strict=True)]

    def _validate_args_datakeys(self, *args: Any, data_keys: Any, params: Any = None) -> None:
        super()._validate_args_datakeys(*args, data_keys=data_keys, params=params)
        if not any(isinstance(child, MixTransform) for child in self.children()):
            return
        for value, key in zip(args, data_keys, strict=True):
            if key == DataKey.MASK:
                _check_mixable(value)

    def _preproc_boxes(self, arg: Any, dcate: DataKey) -> Boxes:
        if isinstance(arg, Boxes):
            return super()._preproc_boxes(arg, dcate)
        if not self.contains_video_sequential:
            arg = parts.checked_boxes(arg, dcate)
        boxes = super()._preproc_boxes(arg, dcate)
        boxes._valid = boxes._valid & ~parts.padding(boxes)  # or Kornia would move the padding
        return boxes

    def _arguments_postproc(self, in_args: Any, out_args: Any, data_keys: Any) -> Any:
        images = [a for a, key in zip(out_args, data_keys, strict=True) if key == DataKey.INPUT]
        size = tuple(images[0].shape[-2:]) if images else None
        mixes = [child for child in self.children() if isinstance(child, MixTransform)]
        if mixes:  # one that was not drawn has left them as they were
            out_args = [
                _softened(value, mixes[0]) if key == DataKey.CLASS else value
                for value, key in zip(out_args, data_keys, strict=True)
            ]
        self._found = []
        for i, (value, key) in enumerate(zip(out_args, data_keys, strict=True)):
            source = self.transform_op.sources.get((key, data_keys[:i].count(key)))
            self._found.append(self._rows_of(value, source, size))
        return super()._arguments_postproc(in_args, out_args, data_keys)

    def _rows_of(
        self, value: Any, source: Tensor | None, size: tuple[int, int] | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """What is valid and where it comes from, for one of the arguments."""
        if not isinstance(value, (Boxes, Keypoints)):
            return None, None
        valid = parts.remaining(value, size)
        if isinstance(value, (VideoBoxes, VideoKeypoints)):
            frames = value.temporal_channel_size
            return None if valid is None else valid.unflatten(0, (-1, frames)), None
        rows = value.data.shape[:-2] if isinstance(value, Boxes) else value.data.shape[:-1]
        if self._loses_rows():
            return valid, None
        if source is None:
            return valid, parts.own_sources(rows, value.data.device)
        source = source.view(*rows, 2)
        if isinstance(value, Keypoints) and valid is not None:
            valid = valid & (source[..., 0] >= 0)  # Kornia's points know no padding
        return valid, source

    def _loses_rows(self) -> bool:
        """Whether one of Kornia's own mixes may reorder rows, without telling how."""
        children = self.modules()
        return any(
            isinstance(c, MixAugmentationBaseV2) and not isinstance(c, Learned) for c in children
        )


def _refuse_left_behind(unknown: dict[str, Any], images: Tensor) -> None:
    for key, value in unknown.items():
        listed = isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value)
        if not isinstance(value, Tensor) and not listed:
            continue
        # All that comes with one image (C, H, W) belongs to it.
        count = 0 if isinstance(value, Tensor) and value.ndim == 0 else len(value)
        if images.ndim < 4 or count == len(images):
            what = f"a list of {count} tensors" if listed else f"a tensor {tuple(value.shape)}"
            raise ValueError(
                "A dictionary's tensors must have keys that Kornia knows, or they are left behind "
                f"when images are moved or mixed, got {what} as {key!r}. Name it 'label' or "
                "'class', 'bbox', 'bbox_xyxy', 'bbox_xywh', 'keypoints' or 'mask', if need be with "
                "a suffix after _ or - ('label_2'); what shall stay as it is, pass outside of the "
                "call."
            )


def _softened(value: Any, mix: MixTransform) -> Tensor:
    labels = as_labels(value)
    return labels if labels.is_floating_point() else mix.method.soften(labels)


def _check_mixable(mask: Any) -> None:
    if isinstance(mask, list):
        raise TypeError(
            f"`mask` must be one tensor to be mixed, got a list of {len(mask)}. Stack them to "
            "(B, M, H, W)."
        )
    # Kornia turns integer masks into floats before an operation could refuse them.
    if isinstance(mask, Tensor) and not mask.is_floating_point():
        raise TypeError(
            f"`mask` must be float to be mixed, got {mask.dtype}: a mixture of class numbers means "
            "nothing. Give one float channel a class, or leave it out."
        )


def _refuse_nested(name: str, child: nn.Module) -> None:
    if isinstance(child, Learned):
        return
    for inner in child.modules():
        if isinstance(inner, Learned) and (inner.method.needs or isinstance(inner, MixTransform)):
            raise ValueError(
                f"{type(inner.method).__name__} must stand directly in the list of {CONTAINER}, "
                f"but stands inside of {type(child).__name__} ({name!r}), which hides labels and "
                "boxes from it. Take it out of there."
            )
