"""Learned mixes in the places of timm's Mixup and FastCollateMixup."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from albu_learned import checks
from albu_learned.kinds import Mix
from albu_learned.method import hold
from albu_learned.timm import host
from albu_learned.timm.blend import Blend
from albu_learned.timm.settings import Settings

__all__ = ["MixCollate", "MixTransform", "SharedFlag", "stack"]


class SharedFlag:
    """A switch that reaches worker processes which are at work already.

    timm's workers persist and hold a copy of the collate function, so that a plain attribute, set
    by `--mixup-off-epoch`, never gets to them.
    """

    def __init__(self) -> None:
        self.value = torch.ones(1, dtype=torch.uint8).share_memory_()

    def __bool__(self) -> bool:
        return bool(self.value.item())

    def set(self, on: bool) -> None:
        self.value.fill_(int(bool(on)))


class MixTransform(host.Mixup):
    """In the place of `timm.data.Mixup`: `images, target = mix(images, target)`, on the device.

    Unlike timm's it changes nothing in place, and takes odd batches and single images. Labels
    become soft, (B, num_classes), in every batch; so the loss must be `SoftTargetCrossEntropy`.

    Args:
        method: a `Mix`, or the folder of one.
        **options: the keyword arguments of timm's Mixup, see `albu_learned.timm.settings`:
            num_classes (1000 unless told), label_smoothing (0.1), prob, switch_prob, cutmix_alpha,
            cutmix_minmax, mode, correct_lam, multi_label. `mixup_alpha` is taken and not used.
    """

    def __init__(self, method: Mix | str | os.PathLike[str], **options: Any) -> None:
        settings = Settings.of(options)
        if settings.mode == "half":
            raise ValueError(
                "`mode` must be batch, pair or elem for a mix on the device, got 'half': only a "
                "collate function gives back fewer rows."
            )
        super().__init__(**settings.for_timm())
        self.multi_label = settings.multi_label
        live = hold(method, Mix)
        if "images" in live.needs:
            raise ValueError(
                f"`method` must not need images here, which are normalised, but "
                f"{type(live).__name__} does. Name it in a spec: create_loader(..., spec=...) "
                "knows the mean and the standard deviation."
            )
        self.blend = Blend(live, live.planned, settings)

    def __call__(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        self.blend.method.to(x.device)
        images, soft, _ = self.blend(x, target, bool(self.mixup_enabled))
        return images, soft


class MixCollate(host.FastCollateMixup):
    """In the place of `timm.data.FastCollateMixup`: mixes uint8 batches in the workers.

    Odd batches and single images work. Labels become soft, (B, num_classes), in every batch.
    `mixup_enabled` is kept in shared memory: switched off, it is off in persistent workers too,
    which timm's own never hear of it. Mixing whole large batches takes a worker's time; on a GPU
    prefer a spec, whose mix works on the device.

    Args:
        method: a `Mix` on the CPU, or the folder of one.
        **options: as of `MixTransform`. With mode="half" half of the rows come back.
    """

    def __init__(self, method: Mix | str | os.PathLike[str], **options: Any) -> None:
        settings = Settings.of(options)
        self._flag = SharedFlag()
        super().__init__(**settings.for_timm())
        self.multi_label = settings.multi_label
        live = hold(method, Mix)
        where = f"{type(self).__name__}, which works in worker processes"
        checks.on_cpu(live, where, ", or mix on the device")
        self.blend = Blend(live, live.planned, settings)

    @property
    def mixup_enabled(self) -> bool:
        return bool(self._flag)

    @mixup_enabled.setter
    def mixup_enabled(self, on: bool) -> None:
        self._flag.set(on)

    def __call__(self, batch: list[Any], _: Any = None) -> tuple[Tensor, Tensor]:
        images, target = stack(batch)
        mixed, soft, _ = self.blend(images, target, self.mixup_enabled)
        return mixed, soft


def stack(batch: list[Any]) -> tuple[Tensor, Tensor]:
    """Samples (uint8 C x H x W array or tensor, target) as (B, C, H, W) images and their targets.

    timm's collate functions cast floats to uint8 without a word: an image in [0, 1] becomes black.
    """
    if len(batch) == 0:
        raise ValueError("`batch` must hold at least one sample, got none.")
    images = torch.stack([_tensor(sample[0]) for sample in batch])
    if images.dtype != torch.uint8:
        raise TypeError(
            f"Images must be uint8 for timm's prefetcher, got {images.dtype}, which it would cast. "
            "End the transform with timm's MaybePILToTensor, or set use_prefetcher=False."
        )
    return images, default_collate([sample[1] for sample in batch])


def _tensor(image: Any) -> Tensor:
    if isinstance(image, (Tensor, np.ndarray)):
        return torch.as_tensor(image)
    raise TypeError(
        f"Images must be tensors or arrays to be collated, got {type(image).__name__}. End the "
        "transform with timm's MaybePILToTensor."
    )
