"""Whether what is made is a copy of what was learned from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.batch import as_floats

__all__ = ["nearest"]

SIDE = 16  # blocks along a side of a crop, in which crops are compared


@torch.no_grad()
def nearest(crops: Tensor, images: Iterable[Tensor]) -> Tensor:
    """(B,) distance of each crop from the most similar place in any of the images; root of the mean
    square over pixels.

    Both are looked at in means of blocks, and at every place that is a whole number of blocks from
    the corner: a copy is found wherever it is, an image that was never seen is near to none.

    Args:
        crops: (B, C, S, S).
        images: each (C, H, W), uint8 or floats, S or more a side.

    Example:
        >>> import torch
        >>> image = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
        >>> nearest(image[None, :, 16:48, 30:62], [image])
        tensor([0.])
    """
    block = max(1, crops.shape[-1] // SIDE)
    looked = F.avg_pool2d(crops.float(), block)
    own = looked.square().sum(dim=(1, 2, 3))
    found = torch.full_like(own, torch.inf)
    for image in images:
        small = F.avg_pool2d(as_floats(image)[None].to(looked), block)
        windows = F.conv2d(small.square(), torch.ones_like(looked[:1]))
        squares = own.view(-1, 1, 1) + windows[0] - 2 * F.conv2d(small, looked)[0]
        found = torch.minimum(found, squares.flatten(1).min(dim=1).values)
    return (found.clamp(min=0) / looked[0].numel()).sqrt()
