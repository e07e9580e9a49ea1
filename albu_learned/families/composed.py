"""Affine and CPAB in a row: an image is stretched and turned as a whole, and bent within."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.families.affine import Affine
from albu_learned.families.cpab import CPAB
from albu_learned.families.family import Family, Pace

__all__ = ["AffineCPAB"]


class AffineCPAB(Family):
    """p -> A(phi(p)): theta is that of the affine motion A, then that of the CPAB flow phi.

    To sample an image at p is to take it from A(phi(p)): so it is moved by the inverse of A, then
    bent within the frame by the inverse of phi, which never leaves an empty border.

    Args:
        cells: of the flow, see `CPAB`.
        boundary: of the flow, see `CPAB`.
        length: of the flow, see `CPAB`.
        degrees: of the affine part, see `Affine`; by default 6 for images, 2 for series.
        affine_share: the share of the affine part in the mean square of smooth motions. At 3/4 its
            deviation is sqrt(3) = 1.7 times that of the flow.

    Example:
        >>> AffineCPAB((4, 4)).dim, AffineCPAB(10).dim
        (68, 11)
    """

    def __init__(
        self,
        cells: int | Sequence[int] = (4, 4),
        boundary: str = "slide",
        length: float = 0.5,
        degrees: int | None = None,
        affine_share: float = 0.75,
    ) -> None:
        super().__init__()
        self.flow = CPAB(cells, boundary, length)
        self.cells, self.boundary, self.length = self.flow.cells, boundary, self.flow.length
        self.ndim = self.flow.ndim
        self.degrees = (6 if self.ndim == 2 else 2) if degrees is None else degrees
        self.affine = Affine(self.degrees)
        if self.affine.ndim != self.ndim:
            raise ValueError(
                f"`degrees` must be {'4 or 6' if self.ndim == 2 else '2'} with these cells, got "
                f"{degrees!r}."
            )
        self.affine_share = checks.between("affine_share", affine_share, "[0, 1]")
        self.dim = self.affine.dim + self.flow.dim

    def move(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        a, b = self._split(theta)
        # An affine motion may enlarge what is wrong before it; by more than 2 is not foreseen.
        return self.affine.move(a, self.flow.move(b, points, tolerance / 2, pace), tolerance, pace)

    def move_back(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        a, b = self._split(theta)
        return self.flow.move_back(
            b, self.affine.move_back(a, points, tolerance, pace), tolerance, pace
        )

    def log_stretch(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        a, b = self._split(theta)
        inner = self.flow.log_stretch(b, points, tolerance, pace)
        return inner + self.affine.log_stretch(a, points, tolerance, pace)

    def pace(self, theta: Tensor) -> Pace:
        return self.flow.pace(self._split(theta)[1])

    def lattice(self, pace: Pace, size: Sequence[int]) -> list[int] | None:
        # The inverse meets the flow beyond the border too, and there is a kink at the border.
        return self.flow.lattice(pace._replace(kink=max(pace.kink, 0.7 * pace.turning)), size)

    def velocity(self, theta: Tensor, points: Tensor) -> Tensor:
        a, b = self._split(theta)
        return self.affine.velocity(a, points) + self.flow.velocity(b, points)

    def _split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        return theta[:, : self.affine.dim], theta[:, self.affine.dim :]

    @cached_property
    def smooth(self) -> Tensor:
        whole = torch.zeros(self.dim, self.dim, dtype=torch.float64)
        border = self.affine.dim
        whole[:border, :border] = self.affine_share**0.5 * self.affine.smooth
        whole[border:, border:] = (1 - self.affine_share) ** 0.5 * self.flow.smooth
        return whole
