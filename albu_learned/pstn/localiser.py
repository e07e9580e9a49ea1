"""The localiser: what looks at an image and says how it should be moved.

Only the channels of the data are unknown when a model is made, so the first convolution is one of
torch's lazy layers, and so are the heads behind a localiser of yours. Their parameters exist from
the start and get their size from the first batch: an optimizer made before it holds them, and
`load_state_dict` sizes them too. What needs sizes earlier (counting parameters, distributed
training) is told so by torch; `example=` gives a model its sizes at once.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from albu_learned import checks
from albu_learned.pstn.elbo import Posterior

__all__ = ["START", "Heads", "Localiser"]

START = 0.5  # the deviation that training begins with, in that of the prior
_LEAST = 1e-6  # a deviation of zero has no logarithm
_MOST = {1: 256, 2: 64}  # along a side that are looked at: more is averaged before
_GRID = {1: 8, 2: 4}  # places along a side that features tell apart
_WIDTHS = (8, 16)
_FEATURES = 32


class Localiser(nn.Module):
    """Three convolutions, pooled to a fixed grid: any channels, any size.

    Group normalisation, for what an image is moved by shall not depend on the others of its batch.

    Args:
        ndim: 2 for images, 1 for series.
    """

    def __init__(self, ndim: int) -> None:
        super().__init__()
        self.ndim = ndim
        narrow, wide = _WIDTHS
        conv: type[nn.Module] = nn.Conv2d if ndim == 2 else nn.Conv1d
        first: type[nn.Module] = nn.LazyConv2d if ndim == 2 else nn.LazyConv1d
        pool: type[nn.Module] = nn.AdaptiveAvgPool2d if ndim == 2 else nn.AdaptiveAvgPool1d
        self.layers = nn.Sequential(
            first(narrow, 5, stride=2, padding=2),
            nn.GroupNorm(2, narrow),
            nn.ReLU(),
            conv(narrow, wide, 3, stride=2, padding=1),
            nn.GroupNorm(4, wide),
            nn.ReLU(),
            conv(wide, wide, 3, padding=1),
            nn.GroupNorm(4, wide),
            nn.ReLU(),
            pool(_GRID[ndim]),
            nn.Flatten(),
            nn.Linear(wide * _GRID[ndim] ** ndim, _FEATURES),
            nn.ReLU(),
        )

    def check(self, x: Tensor) -> None:
        """Raises if it has learned to look at other channels."""
        weight = self.get_parameter("layers.0.weight")
        if not is_lazy(weight) and x.shape[1] != weight.shape[1]:
            raise ValueError(
                f"`x` must have {weight.shape[1]} channels, as what this localiser has seen first "
                f"(or as `example`), got {x.shape[1]}."
            )

    def forward(self, x: Tensor) -> Tensor:
        most = _MOST[self.ndim]
        if max(x.shape[2:]) > most:
            size = [min(side, most) for side in x.shape[2:]]
            x = F.interpolate(x, size, mode="area")
        features: Tensor = self.layers(x)
        return features


class Heads(nn.Module):
    """Features to q(z | x). With weights of zero every image starts alike: mean 0, deviation START.

    The paper's code starts with 2.5 times the deviation of its prior. In trials on digits, affine
    and CPAB((4, 4)), starts from 0.1 to 2 gave the same after 300 steps. Half of the prior is near
    enough to the identity for a classifier that was trained before; and the KL of 62 latents is
    then 20 nats, while at a tenth it is 112, in which the few nats of the labels drown where
    gradients are clipped.

    Args:
        crops: how many of them there are.
        dim: latents of each.
        stn: whether there is a mean alone.
    """

    def __init__(self, crops: int, dim: int, stn: bool) -> None:
        super().__init__()
        self.shape = (crops, dim)
        self.mean = _Zero(crops * dim, 0.0)
        # The inverse of the softplus below.
        self.deviation = None if stn else _Zero(crops * dim, math.log(math.expm1(START)))

    def forward(self, features: Tensor) -> Posterior:
        mean = self._shaped(self.mean(features))
        if self.deviation is None:
            return Posterior(mean, torch.zeros_like(mean))
        return Posterior(mean, F.softplus(self._shaped(self.deviation(features))) + _LEAST)

    def _shaped(self, values: Tensor) -> Tensor:
        exact = torch.promote_types(values.dtype, torch.float32)
        values = values.to(exact).view(-1, *self.shape)
        checks.require(
            values.isfinite().all(),
            "`localiser` must lead to finite numbers, got NaN or infinity. Look for NaN in the "
            "images; if there is none, training has diverged: lower the learning rate.",
        )
        return values


class _Zero(nn.LazyLinear):
    """A layer that begins with weights of zero, of as many features as come."""

    def __init__(self, out_features: int, bias: float) -> None:
        self.begin = bias
        super().__init__(out_features)

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_features:
            nn.init.zeros_(self.weight)
            nn.init.constant_(self.bias, self.begin)
