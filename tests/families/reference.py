"""What families do, from their definitions: slow, in float64, and with no line of theirs."""

import numpy as np
from scipy.integrate import solve_ivp


def places(cells):
    """The vertices in the order that a theta has: corners row by row, then centres."""
    if isinstance(cells, int):
        return np.arange(cells + 1)[:, None] / cells
    nx, ny = cells
    corners = [(i / nx, j / ny) for j in range(ny + 1) for i in range(nx + 1)]
    centres = [((i + 0.5) / nx, (j + 0.5) / ny) for j in range(ny) for i in range(nx)]
    return np.array(corners + centres)


def vertex_velocities(theta, cells, boundary):
    """(V, ndim): those that the border does not hold are the numbers of theta, one by one."""
    where = places(cells)
    velocities = np.zeros_like(where)
    numbers = iter(theta)
    for vertex, place in enumerate(where):
        outer = [value in (0.0, 1.0) for value in place]
        for axis in range(where.shape[1]):
            held = {"slide": outer[axis], "fixed": any(outer), "free": False}[boundary]
            if not held:
                velocities[vertex, axis] = next(numbers)
    assert next(numbers, None) is None, "theta is longer than what may move"
    return velocities


def cpab_velocity(velocities, cells, points):
    """(N, ndim): barycentric interpolation; outside, that of the nearest point of the frame."""
    points = points.clip(0, 1)
    if isinstance(cells, int):
        return np.interp(points[:, 0], places(cells)[:, 0], velocities[:, 0])[:, None]
    nx, ny = cells
    where = places(cells)
    i = np.minimum((points[:, 0] * nx).astype(int), nx - 1)
    j = np.minimum((points[:, 1] * ny).astype(int), ny - 1)
    corner = j * (nx + 1) + i
    around = [corner, corner + 1, corner + nx + 2, corner + nx + 1]
    centre = (nx + 1) * (ny + 1) + j * nx + i
    best, inside = np.zeros_like(points), np.full(len(points), -np.inf)
    for k in range(4):  # the triangle in which no weight is negative
        three = [centre, around[k], around[(k + 1) % 4]]
        origin, first, second = (where[v] for v in three)
        whole = cross(first - origin, second - origin)
        one = cross(points - origin, second - origin) / whole
        two = cross(first - origin, points - origin) / whole
        weights = [1 - one - two, one, two]
        value = sum(w[:, None] * velocities[v] for w, v in zip(weights, three, strict=True))
        least = np.minimum.reduce(weights)
        better = least > inside
        best[better], inside = value[better], np.maximum(inside, least)
    return best


def cross(a, b):
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def flow(velocity, points, largest_step=0.05):
    """Points (N, ndim) after the time 1; steps are small, so that kinks do no harm."""
    answer = solve_ivp(
        lambda _, state: velocity(state.reshape(points.shape)).ravel(),
        (0, 1),
        points.ravel(),
        method="DOP853",
        rtol=1e-9,
        atol=1e-12,
        max_step=largest_step,
    )
    assert answer.success
    return answer.y[:, -1].reshape(points.shape)


def cpab(theta, points, cells, boundary):
    velocities = vertex_velocities(theta, cells, boundary)
    if isinstance(cells, int):
        return np.array([[walk(float(p), velocities[:, 0], cells)] for p in points[:, 0]])
    return flow(lambda p: cpab_velocity(velocities, cells, p), points)


def walk(x, velocities, cells):
    """One point on the line, from edge to edge: an integration restarted at every kink."""
    left = 1.0
    while True:
        start = np.interp(x, np.arange(cells + 1) / cells, velocities)
        forward = start > 0
        edge = (np.floor(x * cells) + 1 if forward else np.ceil(x * cells) - 1) / cells
        if start == 0 or (x >= 1 and forward) or (x <= 0 and not forward):
            return x + left * start  # nothing changes on the way
        edge = min(max(edge, 0.0), 1.0)
        end = np.interp(edge, np.arange(cells + 1) / cells, velocities)
        slope = (end - start) / (edge - x)
        arrives = abs(slope) > 1e-9 and start * end > 0
        takes = np.log(end / start) / slope if arrives else (edge - x) / start
        if start * end <= 0 or takes >= left:
            return x + start * (np.expm1(slope * left) / slope if abs(slope) > 1e-9 else left)
        x, left = edge, left - takes


def affine(theta, points):
    """The flow of the sum of the generators that the class names."""
    if len(theta) == 2:
        matrix, shift = np.array([[theta[0]]]), theta[1:]
    elif len(theta) == 4:
        angle, scale = theta[:2]
        matrix, shift = np.array([[scale, -angle], [angle, scale]]), theta[2:]
    else:
        matrix, shift = np.reshape(theta[:4], (2, 2)), theta[4:]
    return flow(lambda p: (p - 0.5) @ matrix.T + shift, points, 0.1)
