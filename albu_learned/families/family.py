"""What a theta means: a family of invertible motions of the unit square, or of the unit line.

A family turns parameters theta (B, dim) into motions of points (B, N, ndim), fractions of the image
(see `albu_learned.batch`). theta = 0 moves nothing.

theta has units. `smooth` is a square matrix L, and theta = std * L z with z ~ N(0, I) is the smooth
random motion of the family that moves points by std of the image's side: the root of the mean
square over points spread evenly, to first order. So one number means the same in every family.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from albu_learned.parts import Part

__all__ = ["TOLERANCE", "Family", "Pace"]

TOLERANCE = 1e-5  # how exact points are, as a fraction of the side
_FINE = 60  # points along a side for means over the image


class Pace(NamedTuple):
    """How much work motions are: what decides on how many steps and how many nodes they take. It is
    measured on theta; one who knows the distribution of theta can measure that, once."""

    turning: float = 0.0  # the largest change of the velocity with the place
    rush: float = 0.0  # the largest product of that and of the velocity
    kink: float = 0.0  # the largest jump of that change, from cell to cell


class Family(Part, nn.Module, ABC):
    """A family of motions. Its tensors are constants that its arguments make: none is saved.

    Facts:
        dim: the length of theta.
        ndim: 2 for images, 1 for series.
    """

    _base = True
    dim: int
    ndim: int

    @abstractmethod
    def move(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        """`transform`, of floats of 32 bits or more, one row of theta for each of points."""

    @abstractmethod
    def move_back(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        """`inverse`, likewise."""

    @abstractmethod
    def log_stretch(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        """`log_jacobian`, likewise."""

    def pace(self, theta: Tensor) -> Pace:
        """The largest pace of these motions."""
        return Pace()

    def lattice(self, pace: Pace, size: Sequence[int]) -> list[int] | None:
        """How many nodes along each axis, from border to border, carry the motion of an image of so
        many pixels once what lies between is interpolated; None: every pixel must be asked."""
        return None

    @abstractmethod
    def velocity(self, theta: Tensor, points: Tensor) -> Tensor:
        """(B, N, ndim): how points move to first order, linear in theta."""

    @cached_property
    def metric(self) -> Tensor:
        """Q (dim, dim), float64 on the CPU: theta' Q theta is the mean square of the velocity over
        the image, by the midpoint rule."""
        axis = (torch.arange(_FINE, dtype=torch.float64) + 0.5) / _FINE
        points = torch.cartesian_prod(*[axis] * self.ndim).view(-1, self.ndim)
        every = torch.eye(self.dim, dtype=torch.float64)
        with torch.no_grad():
            moves = copy.deepcopy(self).cpu().velocity(every, points.expand(self.dim, -1, -1))
        flat = moves.flatten(1)
        return flat @ flat.mT / len(points)

    @property
    @abstractmethod
    def smooth(self) -> Tensor:
        """L (dim, dim), float64 on the CPU, with L L' the family's smooth covariance: the symmetric
        root, which is unique, so that the same noise gives the same theta on every machine."""

    def transform(
        self,
        theta: Tensor,
        points: Tensor,
        tolerance: float = TOLERANCE,
        pace: Pace | None = None,
    ) -> Tensor:
        """Where points (B, N, ndim) go under theta (B, dim), with gradients to both.

        Args:
            theta: one row for each row of points, or one for all.
            points: fractions of the image; (1, N, ndim) are taken for every row of theta.
            tolerance: the largest error, as a fraction of the side, where the flow is not exact.
            pace: what `pace` gave for such thetas, to spare measuring these.
        """
        return self._run(self.move, theta, points, tolerance, pace)

    def inverse(
        self,
        theta: Tensor,
        points: Tensor,
        tolerance: float = TOLERANCE,
        pace: Pace | None = None,
    ) -> Tensor:
        """Where points came from: undoes `transform`, to twice the tolerance."""
        return self._run(self.move_back, theta, points, tolerance, pace)

    def log_jacobian(self, theta: Tensor, points: Tensor, tolerance: float = TOLERANCE) -> Tensor:
        """(B, N): the logarithm of how much `transform` stretches the area around each point."""
        return self._run(self.log_stretch, theta, points, tolerance, None)

    def _run(
        self,
        what: Callable[[Tensor, Tensor, float, Pace], Tensor],
        theta: Tensor,
        points: Tensor,
        tolerance: float,
        pace: Pace | None,
    ) -> Tensor:
        self.check(theta, points)
        if tolerance <= 0:
            raise ValueError(f"`tolerance` must be > 0, got {tolerance}.")
        kind = torch.promote_types(theta.dtype, points.dtype)
        exact = torch.promote_types(kind, torch.float32)
        rows = max(len(theta), len(points))
        with torch.autocast(theta.device.type, enabled=False):
            theta = theta.to(exact)
            pace = self.pace(theta) if pace is None else pace
            points = points.to(exact).expand(rows, -1, -1)
            moved = what(theta.expand(rows, -1), points, tolerance, pace)
        return moved.to(kind)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.arguments().items())

    def check(self, theta: Tensor, points: Tensor | None = None) -> None:
        """Raises if theta, or points, are not what this family moves."""
        name = type(self).__name__
        if theta.ndim != 2 or theta.shape[1] != self.dim or not theta.is_floating_point():
            raise ValueError(
                f"`theta` must be floats of the shape (B, {self.dim}) for this {name}, got "
                f"{theta.dtype} of the shape {tuple(theta.shape)}."
            )
        if points is None:
            return
        if points.ndim != 3 or points.shape[2] != self.ndim or not points.is_floating_point():
            raise ValueError(
                f"`points` must be floats of the shape (B, N, {self.ndim}) for this {name}, got "
                f"{points.dtype} of the shape {tuple(points.shape)}."
            )
        if len({len(theta), len(points)} - {1}) > 1:
            raise ValueError(
                "`theta` and `points` must have the same number of rows, or one of them a single "
                f"row, got {len(theta)} and {len(points)}."
            )
