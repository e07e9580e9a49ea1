"""The unit square cut into rectangles, and each rectangle by its diagonals into four triangles.

A continuous velocity that is affine on every triangle is nothing but its values at the vertices:
the corners of the rectangles and their centres. So those are its parameters, without any further
algebra, and a theta means the same on every machine.

A ring of rectangles around the square stands for everything outside: there the velocity is that of
the nearest point of the square.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["affine_maps", "mass", "neighbours", "triangle_at", "triangles", "vertices"]


def vertices(nx: int, ny: int) -> Tensor:
    """(V, 2): the corners of the rectangles row by row, then their centres, as x and y."""
    x, y = torch.arange(nx + 1, dtype=torch.float64), torch.arange(ny + 1, dtype=torch.float64)
    outer = torch.cartesian_prod(y, x).flip(1)
    inner = torch.cartesian_prod(y[:-1] + 0.5, x[:-1] + 0.5).flip(1)
    return torch.cat([outer, inner]) / torch.tensor([nx, ny], dtype=torch.float64)


def triangles(nx: int, ny: int) -> Tensor:
    """(ny, nx, 4, 3): the vertices of the left, upper, lower and right one of each rectangle."""
    row, column = torch.meshgrid(torch.arange(ny), torch.arange(nx), indexing="ij")
    first = row * (nx + 1) + column
    below = first + nx + 1
    centre = (nx + 1) * (ny + 1) + row * nx + column
    sides = [(below, first), (first, first + 1), (below, below + 1), (first + 1, below + 1)]
    return torch.stack([torch.stack([*side, centre], dim=-1) for side in sides], dim=2)


def neighbours(nx: int, ny: int) -> list[list[int]]:
    """The numbers, as `triangle_at` gives them, of the two triangles at each inner edge."""
    cell = (torch.arange(ny)[:, None] * (nx + 2) + torch.arange(nx) + nx + 3) * 4
    left, upper, lower, right = cell, cell + 1, cell + 2, cell + 3
    pairs = [(left, upper), (left, lower), (upper, right), (lower, right)]
    pairs += [(right[:, :-1], left[:, 1:]), (lower[:-1], upper[1:])]
    return [torch.cat([pair[i].flatten() for pair in pairs]).tolist() for i in (0, 1)]


@torch.no_grad()
def triangle_at(x: Tensor, y: Tensor, nx: int, ny: int) -> Tensor:
    """The number of the triangle, with those of the ring, in which each point lies. In place where
    it can be: it is asked at every step of a flow. A point that is NaN is said to be in the first,
    and stays NaN; an index out of range would end a program on a GPU."""
    u, v = x * nx, y * ny
    column, row = u.floor().clamp_(-1, nx), v.floor().clamp_(-1, ny)
    a, b = u.sub_(column), v.sub_(row)
    below = (a + b).gt_(1)  # the falling diagonal, and then the rising one
    number = a.gt_(b).add_(below, alpha=2)
    number.add_(column, alpha=4).add_(row, alpha=4 * (nx + 2)).add_(4 * (nx + 3))
    return number.long().clamp_(min=0)


def affine_maps(nx: int, ny: int) -> Tensor:
    """(2, 3, T, V, 2): what takes velocities (V, 2) at the vertices to A | b of every triangle,
    those of the ring included; at p the velocity is A p + b."""
    places, inner = vertices(nx, ny), triangles(nx, ny)
    row = torch.arange(-1, ny + 1).clamp(0, ny - 1)
    column = torch.arange(-1, nx + 1).clamp(0, nx - 1)
    cells = inner[row][:, column].clone()
    # In the ring, all four are the triangle at the square's side that is next to them.
    cells[0], cells[-1] = cells[0, :, 1:2], cells[-1, :, 2:3]
    cells[:, 0], cells[:, -1] = cells[:, 0, :1], cells[:, -1, 3:]
    ones = torch.ones(*cells.shape, 1, dtype=torch.float64)
    # (..., x y 1, corner): whole numbers, but for what inverting makes of them.
    weights = torch.linalg.inv(torch.cat([places[cells], ones], dim=-1)).round()
    _level(weights[:, 0], 0, 0)
    _level(weights[:, -1], 0, 1)
    _level(weights[0], 1, 0)
    _level(weights[-1], 1, 1)
    weights, cells = weights.flatten(0, 2), cells.flatten(0, 2)
    maps = torch.zeros(2, 3, len(cells), len(places), 2, dtype=torch.float64)
    number = torch.arange(len(cells))[:, None]
    for component in range(2):
        for i in range(3):
            maps[component, i, number, cells, component] = weights[:, i]
    return maps


def _level(weights: Tensor, axis: int, border: int) -> None:
    """Makes a velocity constant along x or y (axis 0 or 1), as it is at 0 or 1."""
    weights[..., 2, :] += border * weights[..., axis, :]
    weights[..., axis, :] = 0


def mass(nx: int, ny: int) -> Tensor:
    """(V, V): the mean over the square of the product of the weights of two vertices."""
    cells = triangles(nx, ny).reshape(-1, 3)
    count = (nx + 1) * (ny + 1) + nx * ny
    matrix = torch.zeros(count, count, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            worth = torch.full((len(cells),), (2 if i == j else 1) / 12 / len(cells))
            matrix.index_put_((cells[:, i], cells[:, j]), worth.double(), accumulate=True)
    return matrix
