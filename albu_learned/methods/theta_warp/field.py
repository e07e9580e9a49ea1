"""The motion of images by a family: integrated on a lattice, interpolated between its nodes.

A flow is smooth but for its kinks at the edges of cells, so few points carry it. The family says
how many, from how strong theta turns out to be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from albu_learned.families import Family, Pace
from albu_learned.kinds import Field

__all__ = ["ThetaField"]

Motion = Callable[[Tensor, Tensor, float, Pace | None], Tensor]

_LATTICE_ERROR = 0.35  # of its nodes, in pixels, at most; for nearly all of them it is 0.01


class ThetaField(Field):
    """New images are sampled at `transform` of their pixels; so points go by its inverse.

    Args:
        family: what a theta means.
        theta: (B, dim).
        pace: that of the distribution from which theta comes, so that an image comes out the same
            whichever others are in its batch; None to measure these.
    """

    def __init__(self, family: Family, theta: Tensor, pace: Pace | None = None) -> None:
        family.check(theta)
        self.family = family
        self.theta = theta
        self.pace = pace

    def __len__(self) -> int:
        return len(self.theta)

    def points(self, points: Tensor) -> Tensor:
        return self.family.inverse(self.theta, points)

    def points_back(self, points: Tensor) -> Tensor:
        return self.family.transform(self.theta, points)

    def lattice(self, size: Sequence[int]) -> Tensor | None:
        return self._lattice(self.family.transform, size)

    def lattice_back(self, size: Sequence[int]) -> Tensor | None:
        return self._lattice(self.family.inverse, size)

    def _lattice(self, motion: Motion, size: Sequence[int]) -> Tensor | None:
        nodes = self.family.lattice(self._pace(), size)
        if nodes is None:
            return None
        theta = self._theta()
        axes = [torch.linspace(0, 1, n, dtype=theta.dtype, device=theta.device) for n in nodes]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
        moved = motion(
            theta, places.view(1, -1, len(size)), _LATTICE_ERROR / max(size), self._pace()
        )
        return moved.view(len(self), *places.shape)

    def _theta(self) -> Tensor:
        return self.theta.to(torch.promote_types(self.theta.dtype, torch.float32))

    def _pace(self) -> Pace:
        return self.family.pace(self._theta()) if self.pace is None else self.pace
