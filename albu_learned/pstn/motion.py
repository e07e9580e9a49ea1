"""The motions of a PSTN: from latents to theta, how far that goes, how much work it may cost."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.families import Family, Pace
from albu_learned.pstn.elbo import Posterior

if TYPE_CHECKING:
    from albu_learned.pstn.model import PSTN

__all__ = ["lengths", "pace_of_prior", "theta_of", "wildest"]

_TRIED = 128  # motions of the prior, to measure how much work motions are
_FARTHEST = 3.0  # sides, to first order: no image is left, and training has diverged
_FINEST = 0.3  # sides: wilder motions get no more work than these, of which they take the cube


def lengths(family: Family, factor: Tensor) -> Tensor:
    """(dim, dim) M: the vector z M is as long as the motion of z, the root of the mean square, in
    sides.

    Args:
        family: what moves.
        factor: (dim, dim), float64, of theta = factor z.
    """
    # What makes a matrix definite that is only nearly so.
    tiny = 1e-10 * factor.square().sum() * torch.eye(len(factor), dtype=factor.dtype)
    root: Tensor = torch.linalg.cholesky(factor.mT @ family.metric @ factor + tiny)
    return root


def pace_of_prior(family: Family, factor: Tensor) -> Pace:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(_TRIED, family.dim, generator=generator, dtype=torch.float32)
    return copy.deepcopy(family).float().cpu().pace(draws @ factor.float().mT)


def wildest(pace: Pace, prior_std: float) -> Pace:
    """The most work that any motion gets, from the pace of the prior."""
    grown = max(1.0, _FINEST / prior_std)
    turning, rush, kink = pace
    return Pace(turning * grown, rush * grown**2, kink * grown)


def theta_of(model: PSTN, posterior: Posterior, noise: Tensor) -> Tensor:
    """(S, B, crops, dim): the thetas of this noise; raises if they leave nothing of an image."""
    z = posterior.sample(noise.to(posterior.mean))
    with torch.autocast(z.device.type, enabled=False):  # where points go takes all digits
        with torch.no_grad():
            way = (z @ model.motion.to(z)).norm(dim=-1)
        checks.require(
            (way < _FARTHEST).all(),
            f"Motions must stay below {_FARTHEST:g} sides of the image, got larger ones, which "
            "leave nothing of it. Training has diverged: lower the learning rate, clip "
            "gradients, or lower `prior_std`.",
        )
        return model.start.to(z) + z @ model.factor.to(z).mT
