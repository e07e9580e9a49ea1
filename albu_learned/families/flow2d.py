"""Flows of velocities that are affine on triangles, in steps that are exact within a triangle.

There is no closed form in the plane. A step moves a point by the exponential of the triangle it is
in; where the point leaves that triangle on its way, the rest of the step was made with the wrong
one. On their common edge the two velocities agree, and from there on their difference grows in
proportion to the time. So the share of the step that came after the edge is known from the
difference of the two displacements at both ends of the step, and with it what went wrong, but for
terms of the third order. It is added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from albu_learned.families.family import Pace
from albu_learned.families.triangles import neighbours, triangle_at

__all__ = ["flow", "nodes", "pace", "steps", "velocity"]

_TERMS = 7  # of the exponential's series; the matrix of a step is small
_MOST_STEPS = 1000
_FEWEST = 14  # intervals between nodes: with less, a kink is in each of them
_COMPILED = Pace(1.0, 0.03, 0.5)  # in a compiled graph nothing may depend on values


def flow(
    maps: Tensor, points: Tensor, cells: Sequence[int], steps: int, stretch: bool = False
) -> tuple[Tensor, Tensor]:
    """Where points are after the time 1; and, if asked for, the logarithm of the area's growth.

    Args:
        maps: (2, 3, B, T), A | b of every triangle: at p the velocity is A p + b.
        points: (B, N, 2).
        cells: columns and rows of the tessellation.
        steps: how many to make.
        stretch: whether to add up the divergence along the way.
    """
    table = _displacements(maps / steps)
    if stretch:
        table = torch.cat([table, (maps[0, 0] + maps[1, 1])[None] / steps])
    x, y = (values.contiguous() for values in points.unbind(-1))
    here = _rows(table, triangle_at(x, y, *cells))
    grown = torch.zeros_like(x)
    for _ in range(steps):
        ux, uy = _displace(here, x, y)
        to_x, to_y = x + ux, y + uy
        there = _rows(table, triangle_at(to_x, to_y, *cells))
        change = there - here
        gx, gy = _turn(change, ux, uy)
        bx, by = _displace(change, to_x, to_y)
        size = (gx * gx).addcmul_(gy, gy).add_(1e-30)
        late = ((bx * gx).addcmul_(by, gy) / size).sub_(0.5).clamp(0, 1)
        half = late * late
        if stretch:
            grown = grown + here[6] + late * change[6]
        x = torch.addcmul(to_x, half, gx, value=0.5)
        y = torch.addcmul(to_y, half, gy, value=0.5)
        here = there
    return torch.stack([x, y], dim=-1), grown


def velocity(maps: Tensor, points: Tensor, cells: Sequence[int]) -> Tensor:
    """(B, N, 2): the velocity at points."""
    x, y = points.unbind(-1)
    here = _rows(maps.flatten(0, 1), triangle_at(x, y, *cells))
    return torch.stack(_displace(here, x, y), dim=-1)


def pace(maps: Tensor, cells: Sequence[int]) -> Pace:
    """The largest pace of these flows."""
    if torch.compiler.is_compiling():
        return _COMPILED
    with torch.no_grad():
        turning = maps[:, :2].square().sum(dim=(0, 1)).amax(dim=1).sqrt()
        # At the centre of the square A p + b needs no vertices to be looked up.
        middle = (maps[:, 0] + maps[:, 1]) / 2 + maps[:, 2]
        speed = middle.square().sum(dim=0).amax(dim=1).sqrt()
        first, second = neighbours(*cells)
        jump = maps[:, :2, :, first] - maps[:, :2, :, second]
        kink = jump.square().sum(dim=(0, 1)).amax().sqrt()
        found = torch.stack([turning.max(), (turning * speed).max(), kink]).tolist()
    if not all(map(math.isfinite, found)):
        raise ValueError("`theta` must be finite, got NaN or infinity.")
    return Pace(*found)


def steps(pace: Pace, tolerance: float) -> int:
    """How many steps keep the error below a tolerance. What remains beside the third order are
    steps that cross two edges at once; their error is in proportion to how fast the velocity turns,
    how fast it is, and the square of the step. The factor was measured: see the tests."""
    return max(1, min(_MOST_STEPS, math.ceil(math.sqrt(0.3 * pace.rush / tolerance))))


def nodes(pace: Pace, size: Sequence[int]) -> list[int]:
    """How many nodes, along y and along x, keep what is interpolated between them within 0.25
    pixels for 99 of 100 pixels, and within 0.75 for all. Most is wrong where the motion has a kink,
    in proportion to it and to the distance of nodes; between kinks it is a little curved. The
    factors were measured: see the tests."""
    share = max(0.45 * pace.kink, 0.18 * pace.turning)
    return [1 + _divisor(pixels, max(_FEWEST, math.ceil(share * pixels))) for pixels in size]


def _divisor(pixels: int, least: int) -> int:
    """A number of intervals that divides the pixels, if there is one that is not much too large:
    the rest is then interpolated faster."""
    return next((n for n in range(least, 2 * least) if pixels % n == 0), least)


def _displacements(maps: Tensor) -> Tensor:
    """(6, B, T): by how much a point in each triangle moves in the time 1, as matrix and shift:
    the series of (e^A - 1) / A, times A p + b. Written out, for products of many small matrices
    are slow."""
    (a, b, p), (c, d, q) = maps
    one, zero = torch.ones_like(a), torch.zeros_like(a)
    e, f, g, h = one, zero, zero, one
    for term in range(_TERMS, 1, -1):
        e, f, g, h = (
            1 + (a * e + b * g) / term,
            (a * f + b * h) / term,
            (c * e + d * g) / term,
            1 + (c * f + d * h) / term,
        )
    return torch.stack(
        [e * a + f * c, e * b + f * d, e * p + f * q, g * a + h * c, g * b + h * d, g * p + h * q]
    )


def _rows(table: Tensor, number: Tensor) -> Tensor:
    """(F, B, N): the entries of each point's triangle."""
    return table.gather(2, number.expand(len(table), *number.shape))


def _displace(move: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """By how much a point moves. Sums are added up in place: half the memory to write."""
    along_x = torch.addcmul(move[2], move[0], x).addcmul_(move[1], y)
    return along_x, torch.addcmul(move[5], move[3], x).addcmul_(move[4], y)


def _turn(move: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return (move[0] * x).addcmul_(move[1], y), (move[3] * x).addcmul_(move[4], y)
