"""Flows of piecewise-linear velocities on the line, in closed form.

A point needs a certain time to cross each cell. In the sum of these times along the line, its
travel time, every point moves at the speed of one. So a flow is one addition, between the way into
travel time and the way out of it. Where the velocity is zero, travel time ends: nothing crosses.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["flow", "velocity"]

_NEVER = 4.0  # longer than a flow, which lasts 1; finite, so that sums and differences stay exact
_STILL = 1e-12  # a velocity so small that nothing gets anywhere in the time 1
_FAR = 8.0  # beyond the border the velocity is that at the border, as far as this


def flow(velocity: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Where points (B, N) are after the time 1, with velocities (B, C + 1) at the edges of C equal
    cells of the unit line, and the logarithm of the derivative there."""
    inner = velocity.shape[1] - 1
    edges = torch.arange(inner + 1, dtype=points.dtype, device=points.device) / inner
    edges = torch.cat([edges[:1] - _FAR, edges, edges[-1:] + _FAR])
    velocity = torch.cat([velocity[:, :1], velocity, velocity[:, -1:]], dim=1)
    slopes = velocity.diff(dim=1) / edges.diff()

    cell = ((points.detach() * inner).floor().clamp(-1, inner) + 1).long()
    slope = slopes.gather(1, cell)
    speed = velocity.gather(1, cell) + slope * (points - edges[cell])
    forward = speed > 0
    ahead = cell + forward  # the edge towards which a point moves
    reach = _crossing(speed, velocity.gather(1, ahead), (edges[ahead] - points).abs())

    crossing = _crossing(velocity[:, :-1], velocity[:, 1:], edges.diff())
    clock = torch.cat([torch.zeros_like(crossing[:, :1]), crossing.cumsum(dim=1)], dim=1)
    rest = (1 - reach).clamp(min=0)
    goal = clock.gather(1, ahead) + torch.where(forward, rest, -rest)
    last, entry = _arrival(clock.detach(), goal.detach(), forward)

    stays = reach >= 1
    start = torch.where(stays, points, edges[entry])
    first = torch.where(stays, speed, velocity.gather(1, entry))
    rate = torch.where(stays, slope, slopes.gather(1, last))
    passed = (goal - clock.gather(1, entry)).abs()
    time = torch.where(stays, torch.ones_like(passed), passed)
    moved = start + first * time * _grown(rate * time)
    # Along a flow, a small distance grows as the velocity does.
    safe = [
        torch.where(stays, torch.ones_like(v), v.abs().clamp(min=_STILL)) for v in (first, speed)
    ]
    return moved, rate * time + (safe[0] / safe[1]).log()


def velocity(velocity: Tensor, points: Tensor) -> Tensor:
    """(B, N): the velocity at points."""
    inner = velocity.shape[1] - 1
    place = points.clamp(0, 1) * inner
    cell = place.floor().clamp(max=inner - 1).long()
    left, right = velocity.gather(1, cell), velocity.gather(1, cell + 1)
    return left + (right - left) * (place - cell)


def _arrival(clock: Tensor, goal: Tensor, forward: Tensor) -> tuple[Tensor, Tensor]:
    """The cell in which travel time ends, and the edge at which it was entered."""
    after = torch.searchsorted(clock, goal.contiguous(), right=True)
    before = torch.searchsorted(clock, goal.contiguous(), right=False)
    last = (torch.where(forward, after, before) - 1).clamp(0, clock.shape[1] - 2)
    return last, last + (~forward).long()


def _crossing(first: Tensor, last: Tensor, width: Tensor) -> Tensor:
    """How long it takes from one velocity to another over a width in which it changes linearly."""
    possible = (first * last > 0) & (first.abs() > _STILL) & (last.abs() > _STILL)
    one = torch.ones_like(first)
    first, last = torch.where(possible, first, one), torch.where(possible, last, one)
    x = last / first - 1
    small = x.abs() < 1e-3
    series = 1 - x / 2 + x**2 / 3 - x**3 / 4 + x**4 / 5
    exact = x.masked_fill(small, 1).log1p() / x.masked_fill(small, 1)
    time = width / first.abs() * torch.where(small, series, exact)
    return torch.where(possible, time, _NEVER * one).clamp(max=_NEVER)


def _grown(x: Tensor) -> Tensor:
    """(e^x - 1) / x."""
    small = x.abs() < 1e-3
    series = 1 + x / 2 + x**2 / 6 + x**3 / 24 + x**4 / 120
    return torch.where(small, series, x.masked_fill(small, 1).expm1() / x.masked_fill(small, 1))
