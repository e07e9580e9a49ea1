"""Every family against an adaptive integration of its definition."""

import numpy as np
import pytest
import torch

from albu_learned import CPAB, Affine, AffineCPAB
from albu_learned.families import TOLERANCE
from tests.families import reference


def thetas(family, std, rows=2, seed=0):
    z = torch.randn(rows, family.dim, dtype=torch.float64, generator=seeded(seed))
    return std * z @ family.smooth


def points(family, rows=2, count=30, seed=1):
    """In the frame and around it."""
    spread = torch.rand(rows, count, family.ndim, dtype=torch.float64, generator=seeded(seed))
    return spread * 1.2 - 0.1


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def error(family, std, expected):
    """The largest error, of float64 at the tolerance that points have."""
    theta, start = thetas(family, std), points(family)
    got = family.transform(theta, start)
    wanted = [expected(t.numpy(), p.numpy()) for t, p in zip(theta, start, strict=True)]
    moved = np.abs(np.stack(wanted) - start.numpy()).max()
    assert moved > 0.5 * std, "the reference moves nothing"
    return np.abs(got.numpy() - np.stack(wanted)).max()


@pytest.mark.parametrize("degrees", [2, 4, 6])
def test_affine(degrees):
    assert error(Affine(degrees), 0.15, reference.affine) < 1e-9


@pytest.mark.parametrize("boundary", ["slide", "fixed", "free"])
@pytest.mark.parametrize("cells", [(1, 1), (2, 2), (3, 2), (4, 4), (8, 8)])
def test_cpab(cells, boundary):
    if cells == (1, 1) and boundary == "slide":
        cells = (1, 2)
    family = CPAB(cells, boundary)
    std = 0.05 if boundary == "free" else 0.15
    assert error(family, std, lambda t, p: reference.cpab(t, p, cells, boundary)) < TOLERANCE


@pytest.mark.parametrize("boundary", ["slide", "fixed", "free"])
@pytest.mark.parametrize("cells", [2, 5, 10])
def test_cpab_of_series(cells, boundary):
    family = CPAB(cells, boundary)
    assert error(family, 0.15, lambda t, p: reference.cpab(t, p, cells, boundary)) < 1e-9


@pytest.mark.parametrize(("cells", "limit"), [((4, 4), TOLERANCE), ((3, 2), TOLERANCE), (10, 1e-9)])
def test_affine_after_cpab(cells, limit):
    family = AffineCPAB(cells)
    border = family.affine.dim

    def expected(theta, start):
        bent = reference.cpab(theta[border:], start, cells, "slide")
        return reference.affine(theta[:border], bent)

    assert error(family, 0.15, expected) < limit


def test_the_velocity_is_barycentric():
    family = CPAB((3, 2), "free")
    theta, start = torch.randn(2, family.dim, dtype=torch.float64), points(family)
    for t, p, got in zip(theta, start, family.velocity(theta, start), strict=True):
        corners = reference.vertex_velocities(t.numpy(), (3, 2), "free")
        wanted = reference.cpab_velocity(corners, (3, 2), p.numpy())
        np.testing.assert_allclose(got.numpy(), wanted, atol=1e-12)


def test_a_tolerance_is_kept():
    """Coarse ones too, which the lattice of images uses."""
    family = CPAB((4, 4))
    theta, start = thetas(family, 0.15, rows=8, seed=2), points(family, rows=8, count=200)
    exact = family.transform(theta, start, tolerance=3e-7)
    for tolerance in (3e-3, 3e-4, 1e-5):
        found = (family.transform(theta, start, tolerance=tolerance) - exact).norm(dim=-1)
        assert found.max() < tolerance
        assert found.max() > tolerance / 1000, "far more steps than it takes"
        # Steps that cross one edge, which are most, are corrected to the third order.
        assert found.quantile(0.9) < tolerance / 30
