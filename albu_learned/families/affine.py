"""Affine motions: matrix exponentials about the centre of the image.

To add generators and then to exponentiate gives an invertible motion for every theta: minus theta
is the inverse, and a scale can never become zero or negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from albu_learned.families.family import Family, Pace

__all__ = ["Affine"]

# What the numbers of theta do to a point at (x, y) from the centre.
_GENERATORS = {
    2: [[[1.0, 0.0]], [[0.0, 1.0]]],  # log scale, shift
    4: [  # angle, log scale, shift along x, shift along y
        [[0, -1, 0], [1, 0, 0]],
        [[1, 0, 0], [0, 1, 0]],
        [[0, 0, 1], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 1]],
    ],
    6: [  # the entries of the matrix row by row, then the shifts
        [[1, 0, 0], [0, 0, 0]],
        [[0, 1, 0], [0, 0, 0]],
        [[0, 0, 0], [1, 0, 0]],
        [[0, 0, 0], [0, 1, 0]],
        [[0, 0, 1], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 1]],
    ],
}


class Affine(Family):
    """Affine motions about the centre.

    Args:
        degrees: of freedom; 4 for (angle, log scale, shift along x, shift along y), which keeps
            shapes; 6 for any affine map near the identity: the entries of a matrix row by row, then
            the shifts; 2 for series: (log scale, shift).

    Example:
        >>> import torch
        >>> theta = torch.tensor([[torch.pi / 2, 0.0, 0.0, 0.0]])
        >>> Affine().transform(theta, torch.tensor([[[1.0, 0.5]]])).round(decimals=3)
        tensor([[[0.5000, 1.0000]]])
    """

    generators: Tensor

    def __init__(self, degrees: int = 4) -> None:
        super().__init__()
        if degrees not in _GENERATORS or isinstance(degrees, bool):
            raise ValueError(f"`degrees` must be 4 or 6 for images, 2 for series, got {degrees!r}.")
        self.degrees = self.dim = int(degrees)
        generators = torch.tensor(_GENERATORS[degrees], dtype=torch.float32)
        self.ndim = generators.shape[1]
        self.register_buffer("generators", generators, persistent=False)

    def move(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        # Not as a product of matrices, which GPUs may be told to round to three digits.
        matrix, shift = self.matrix(theta)
        moved = 0.5 + shift[:, None]
        for i in range(self.ndim):
            moved = moved + matrix[:, None, :, i] * (points[..., i, None] - 0.5)
        return moved

    def move_back(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        return self.move(-theta, points, tolerance, pace)

    def log_stretch(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        traces = self.generators.diagonal(dim1=1, dim2=2).sum(dim=1).to(theta)
        return (theta @ traces)[:, None].expand(points.shape[:2])

    def lattice(self, pace: Pace, size: Sequence[int]) -> list[int]:
        return [2] * self.ndim  # to interpolate is exact

    def velocity(self, theta: Tensor, points: Tensor) -> Tensor:
        top = torch.einsum("bk,kij->bij", theta, self.generators.to(theta))
        return (points - 0.5) @ top[..., :-1].mT + top[:, None, :, -1]

    def matrix(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The matrix (B, ndim, ndim) and the shift (B, ndim) about the centre."""
        top = (theta @ self.generators.flatten(1).to(theta)).view(-1, self.ndim, self.ndim + 1)
        square = torch.cat([top, torch.zeros_like(top[:, :1])], dim=1)
        power = torch.linalg.matrix_exp(square)
        return power[:, : self.ndim, : self.ndim], power[:, : self.ndim, self.ndim]

    @cached_property
    def smooth(self) -> Tensor:
        """Diagonal: every number of theta moves points equally far."""
        return torch.diag((self.metric.diagonal() * self.dim).rsqrt())
