"""Smooth covariances of velocities at the vertices of a tessellation.

Independent velocities are never right: they fold neighbours into slivers. So velocities covary as
exp(-distance^2 / 2 length^2), given that some of them are zero at the border.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["conditioned", "root"]

_JITTER = 1e-9  # such covariances are nearly singular; relative to their diagonal of ones


def conditioned(vertices: Tensor, free: Tensor, length: float) -> Tensor:
    """The covariance (F, F) of one component of the velocity at the free vertices, given that it is
    zero at the others."""
    distance = torch.cdist(vertices, vertices)
    full: Tensor = (-0.5 * (distance / length) ** 2).exp()
    inner, cross, outer = full[free][:, free], full[free][:, ~free], full[~free][:, ~free]
    if not len(outer):
        return inner
    outer = outer + _JITTER * torch.eye(len(outer), dtype=outer.dtype)
    given: Tensor = cross @ torch.linalg.solve(outer, cross.mT)
    return inner - given


def root(covariance: Tensor) -> Tensor:
    """The symmetric root. Unlike other factors it is unique, so the same noise gives the same theta
    on every machine."""
    values, vectors = torch.linalg.eigh((covariance + covariance.mT) / 2)
    half: Tensor = vectors * values.clamp(min=0).sqrt()
    return torch.mm(half, vectors.mT)
