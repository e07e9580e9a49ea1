"""CPAB: flows of continuous velocities that are affine on every cell of a tessellation.

The papers and their code take an orthonormal basis of such velocities from a singular value
decomposition, whose signs and rotations differ between machines. Velocities at the vertices span
the same space and have a meaning: theta is those of them that the border does not fix to zero.

Paper: O. Freifeld, S. Hauberg, K. Batmanghelich, J. W. Fisher III, "Transformations Based on
Continuous Piecewise-Affine Velocity Fields", IEEE TPAMI 39:12 (2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.families import covariance, flow1d, flow2d, triangles
from albu_learned.families.family import Family, Pace

__all__ = ["CPAB"]

MOST = 576  # cells: the covariance of more takes minutes, and then the memory
BOUNDARIES = ("slide", "fixed", "free")


class CPAB(Family):
    """Diffeomorphisms from velocities that are affine on cells.

    Args:
        cells: (columns, rows) of rectangles, each cut into four triangles; or, for series, the
            number of intervals.
        boundary: "slide": points of the border stay on it, corners where they are; "fixed": no
            point of the border moves; "free": anything may leave the frame. Outside of the frame
            points move as the nearest point of its border does.
        length: the distance over which the velocities of smooth motions are alike, in sides.
        preserve_volume: project velocities onto those without divergence, so that areas stay.

    Example:
        >>> import torch
        >>> family = CPAB((4, 4))
        >>> theta = 0.1 * torch.randn(2, family.dim) @ family.smooth.float()
        >>> family.dim, family.transform(theta, torch.rand(2, 5, 2)).shape
        (62, torch.Size([2, 5, 2]))
    """

    maps: Tensor

    def __init__(
        self,
        cells: int | Sequence[int] = (4, 4),
        boundary: str = "slide",
        length: float = 0.5,
        preserve_volume: bool = False,
    ) -> None:
        super().__init__()
        self.cells = _check_cells(cells)
        self.boundary = checks.one_of("boundary", boundary, BOUNDARIES)
        self.length = checks.real("length", length, "a number > 0, such as 0.5 of the side")
        if self.length <= 0:
            raise ValueError(f"`length` must be > 0, such as 0.5 of the side, got {length!r}.")
        self.preserve_volume = bool(preserve_volume)
        self.ndim = 2 if isinstance(self.cells, list) else 1
        if self.preserve_volume and self.ndim == 1:
            raise ValueError("`preserve_volume` must be False for series: nothing could move.")
        self._places = _vertices(self.cells)
        self._free = _free(self._places, boundary)
        self.dim = int(self._free.sum())
        if self.dim == 0:
            raise ValueError(f"`cells` must be 2 or more where the border is held, got {cells!r}.")
        self.register_buffer("maps", self._maps().float(), persistent=False)

    def move(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        return self._flow(theta, points, tolerance, pace)[0]

    def move_back(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        return self._flow(-theta, points, tolerance, pace)[0]

    def log_stretch(self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace) -> Tensor:
        return self._flow(theta, points, tolerance, pace, stretch=True)[1]

    def pace(self, theta: Tensor) -> Pace:
        return (
            Pace() if isinstance(self.cells, int) else flow2d.pace(self._affine(theta), self.cells)
        )

    def lattice(self, pace: Pace, size: Sequence[int]) -> list[int] | None:
        if isinstance(self.cells, int):
            return None  # the closed form costs little more
        return flow2d.nodes(pace, size)

    def velocity(self, theta: Tensor, points: Tensor) -> Tensor:
        if isinstance(self.cells, int):
            return flow1d.velocity(theta @ self.maps.to(theta), points[..., 0])[..., None]
        return flow2d.velocity(self._affine(theta), points, self.cells)

    def _flow(
        self, theta: Tensor, points: Tensor, tolerance: float, pace: Pace, stretch: bool = False
    ) -> tuple[Tensor, Tensor]:
        if isinstance(self.cells, int):
            moved, grown = flow1d.flow(theta @ self.maps.to(theta), points[..., 0])
            return moved[..., None], grown
        steps = flow2d.steps(pace, tolerance)
        return flow2d.flow(self._affine(theta), points, self.cells, steps, stretch)

    def _affine(self, theta: Tensor) -> Tensor:
        """(2, 3, B, T): matrix and shift of the velocity on every triangle."""
        return (theta @ self.maps.to(theta)).view(len(theta), 2, 3, -1).permute(1, 2, 0, 3)

    def _maps(self) -> Tensor:
        """(dim, ...): what takes theta to velocities: at the vertices, or in every triangle."""
        if isinstance(self.cells, int):
            return torch.eye(len(self._places), dtype=torch.float64)[self._free[:, 0]]
        every = triangles.affine_maps(*self.cells)
        maps = every[..., self._free].permute(3, 0, 1, 2)  # (dim, 2, 3, T)
        if self.preserve_volume:
            divergence = maps[:, 0, 0] + maps[:, 1, 1]
            project = torch.eye(self.dim) - divergence @ torch.linalg.pinv(divergence)
            maps = torch.einsum("ij,jabt->iabt", project, maps)
            maps = maps.round(decimals=12)  # what should be zero is, on every machine
        return maps.flatten(1)

    @cached_property
    def smooth(self) -> Tensor:
        whole = torch.zeros(self.dim, self.dim, dtype=torch.float64)
        component = torch.arange(self.ndim).expand(len(self._places), -1)[self._free]
        for axis in range(self.ndim):
            free = self._free[:, axis]
            own = (component == axis).nonzero()[:, 0]
            whole[own[:, None], own] = covariance.conditioned(self._places, free, self.length)
        # Without `preserve_volume` only the scale is missing; with it, theta is projected first,
        # and what is projected away shall not count.
        scale = (self.metric * whole).sum()
        return covariance.root(whole / scale)


def _check_cells(cells: int | Sequence[int]) -> int | list[int]:
    rule = "(columns, rows), such as (4, 4), or one number for series"
    if isinstance(cells, int):
        given: Sequence[int] = [cells]
    elif isinstance(cells, str) or not isinstance(cells, Sequence) or len(cells) != 2:
        raise TypeError(f"`cells` must be {rule}, got {cells!r}.")
    else:
        given = cells
    numbers = [checks.integer("cells", n, 1) for n in given]
    if math.prod(numbers) > MOST:
        raise ValueError(
            f"`cells` must be at most {MOST} in all, such as (24, 24), got {cells!r}. Motions are "
            "smooth over half the side by default: 4 to 8 cells along a side hold all of them."
        )
    return numbers[0] if isinstance(cells, int) else numbers


def _vertices(cells: int | list[int]) -> Tensor:
    if isinstance(cells, int):
        return (torch.arange(cells + 1, dtype=torch.float64) / cells)[:, None]
    return triangles.vertices(*cells)


def _free(places: Tensor, boundary: str) -> Tensor:
    """(V, ndim): which components of which vertices may move."""
    at_border = (places == 0) | (places == 1)
    if boundary == "free":
        return torch.ones_like(at_border)
    return (
        ~at_border if boundary == "slide" else ~at_border.any(dim=1, keepdim=True).expand_as(places)
    )
