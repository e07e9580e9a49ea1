"""How far alignment leaves open where a point went.

The motion that `align` finds is the most probable one, and in directions of which the pixels say
nothing that is no motion at all. The covariance of such motions alone would be too narrow in these
directions, and warps that are drawn from it too timid. So what each pair leaves open is added, as
in a step of expectation maximisation: the covariance of z given the pair, by Laplace's
approximation (e/(s^2 P) J'J + I)^-1, with J the derivatives of its P pixels by z.
"""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned.families import Family
from albu_learned.methods.theta_warp.align import (
    PRIOR_STD,
    SHARPEST,
    blurred,
    prepared,
    warped,
    weight_of,
)

__all__ = ["left_open"]

STEP = 0.05  # of z, whose entries are about 1, for derivatives


@torch.no_grad()
def left_open(
    sources: Tensor, targets: Tensor, theta: Tensor, family: Family, prior_std: float = PRIOR_STD
) -> Tensor:
    """(dim, dim) float64: the covariance of theta that a pair leaves open, the mean of all pairs.

    Args:
        sources: (N, C, H, W) images or (N, C, T) series.
        targets: likewise.
        theta: (N, dim), that `align` has found for them.
        family: what theta means.
        prior_std: that `align` had.
    """
    source, target = (blurred(prepared(given), SHARPEST) for given in (sources, targets))
    root = prior_std * family.smooth.to(source)
    reached = warped(source, family, theta)
    weight = 2 * weight_of(reached - target) / reached[0].numel()
    # In float64: where hardly anything is left to align, pixels outweigh the prior by 1e8.
    one = torch.eye(family.dim, dtype=torch.float64, device=source.device)
    total = torch.zeros_like(one)
    for row in range(len(source)):
        near = theta[row] + STEP * root.mT
        images = source[row : row + 1].expand(family.dim, *source.shape[1:])
        slopes = (warped(images, family, near) - reached[row]).flatten(1).double() / STEP
        total += torch.cholesky_inverse(torch.linalg.cholesky(weight * slopes @ slopes.mT + one))
    return root.double() @ (total / len(source)) @ root.double().mT
