"""zeta-mixup in the places of timm's Mixup and FastCollateMixup."""

from __future__ import annotations

from typing import Any

from albu_learned.methods import zeta_mixup
from albu_learned.timm.mix import MixCollate, MixTransform

__all__ = ["ZetaCollate", "ZetaMixup"]


class ZetaMixup(MixTransform):
    """zeta-mixup in the place of `timm.data.Mixup`.

    Args:
        gamma: how close an output stays to the image that leads it; at 2.8 it keeps .80 of it.
        top_k: mix at most so many images; None mixes the whole batch.
        **options: the keyword arguments of timm's Mixup, see `MixTransform`.

    Example:
        >>> import torch
        >>> mix = ZetaMixup(num_classes=3, label_smoothing=0.0)
        >>> images, soft = mix(torch.rand(5, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1]))
        >>> images.shape, soft.argmax(1).tolist()
        (torch.Size([5, 3, 8, 8]), [0, 1, 2, 0, 1])
    """

    def __init__(self, gamma: float = 2.8, top_k: int | None = None, **options: Any) -> None:
        super().__init__(zeta_mixup.ZetaMixup(gamma, top_k), **options)


class ZetaCollate(MixCollate):
    """zeta-mixup in the place of `timm.data.FastCollateMixup`: `create_loader(collate_fn=...)`.

    Args:
        gamma: how close an output stays to the image that leads it; at 2.8 it keeps .80 of it.
        top_k: mix at most so many images; None mixes the whole batch.
        **options: the keyword arguments of timm's Mixup, see `MixTransform`.

    Example:
        >>> import torch
        >>> collate = ZetaCollate(num_classes=2)
        >>> black = torch.zeros(3, 8, 8, dtype=torch.uint8)
        >>> images, soft = collate([(black, 0), (black, 1), (black, 0)])
        >>> images.dtype, soft.shape
        (torch.uint8, torch.Size([3, 2]))
    """

    def __init__(self, gamma: float = 2.8, top_k: int | None = None, **options: Any) -> None:
        super().__init__(zeta_mixup.ZetaMixup(gamma, top_k), **options)
