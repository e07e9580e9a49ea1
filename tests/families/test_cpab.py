"""What CPAB promises beyond the laws: its dimension, its border, its volume, no folds."""

import pytest
import torch

from albu_learned import CPAB, AffineCPAB


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def theta_of(family, std=0.1, rows=8):
    z = torch.randn(rows, family.dim, dtype=torch.float64, generator=seeded(0))
    return std * z @ family.smooth


@pytest.mark.parametrize(
    ("boundary", "dims"),
    [("slide", [14, 34, 62, 254]), ("fixed", [10, 26, 50, 226]), ("free", [26, 50, 82, 290])],
)
def test_the_dimension(boundary, dims):
    assert [CPAB((n, n), boundary).dim for n in (2, 3, 4, 8)] == dims


def test_the_dimension_of_series_and_of_a_composition():
    assert [CPAB(10, boundary).dim for boundary in ("slide", "fixed", "free")] == [9, 9, 11]
    assert [AffineCPAB((4, 4)).dim, AffineCPAB((4, 4), degrees=4).dim] == [68, 66]
    assert AffineCPAB(10).dim == 11


def border(count=33):
    t = torch.linspace(0, 1, count, dtype=torch.float64)
    zero, one = torch.zeros_like(t), torch.ones_like(t)
    sides = [(t, zero), (t, one), (zero, t), (one, t)]
    return torch.cat([torch.stack(side, dim=1) for side in sides])[None]


@pytest.mark.parametrize("cells", [(2, 2), (3, 2), (4, 4)])
def test_points_of_the_border_slide_along_it_and_corners_stay(cells):
    family = CPAB(cells)
    given = border()
    moved = family.transform(theta_of(family), given)
    on_it = ((given == 0) | (given == 1)).expand_as(moved)
    assert (moved - given)[on_it].abs().max() < 1e-8
    assert (moved - given)[~on_it].abs().max() > 0.02
    inside = family.transform(theta_of(family), torch.rand(1, 500, 2, dtype=torch.float64))
    assert 0 <= inside.min() <= inside.max() <= 1


def test_a_fixed_border_stays_and_a_free_one_leaves():
    still, loose = CPAB((3, 2), "fixed"), CPAB((3, 2), "free")
    given = border()
    assert (still.transform(theta_of(still), given) - given).abs().max() < 1e-12
    assert loose.transform(theta_of(loose), given).min() < -0.01


def test_areas_stay():
    family = CPAB((3, 3), preserve_volume=True)
    theta, points = theta_of(family), torch.rand(1, 200, 2, dtype=torch.float64)
    assert family.log_jacobian(theta, points).abs().max() < 1e-6
    assert (family.transform(theta, points) - points).abs().max() > 0.05
    other = CPAB((3, 3))
    assert other.log_jacobian(theta_of(other), points).abs().max() > 0.1


def test_series_stay_in_order():
    family = CPAB(10)
    line = torch.linspace(0, 1, 500, dtype=torch.float64)[None, :, None]
    moved = family.transform(theta_of(family, std=0.5), line)[..., 0]
    assert (moved.diff(dim=1) > 0).all()
    assert (moved - line[..., 0]).abs().max() > 0.2


@pytest.mark.parametrize("cells", [(4, 4), (3, 2)])
def test_no_jump_at_edges(cells):
    """Points 1e-9 from edges, corners and diagonals, on both sides, stay together."""
    family = CPAB(cells, "free")
    size = torch.tensor(cells, dtype=torch.float64)
    t = torch.rand(50, dtype=torch.float64, generator=seeded(3))
    place = torch.cat([torch.stack([t, t.round()], 1), torch.stack([t, t], 1), border(9)[0]])
    where = (place + torch.randint(min(cells), (len(place), 1), generator=seeded(4))) / size
    aside = 1e-9 * torch.randn(4, len(where), 2, dtype=torch.float64, generator=seeded(5))
    theta = theta_of(family, rows=1)
    moved = family.velocity(theta.expand(4, -1), where + aside)
    assert (moved - moved[:1]).abs().max() < 3e-8
    # Steps that begin on either side of an edge differ by less than what they may be wrong.
    moved = family.transform(theta.expand(4, -1), where + aside, tolerance=1e-6)
    assert (moved - moved[:1]).abs().max() < 1e-6


@pytest.mark.parametrize("cells", [(2, 2), (4, 4), (8, 8)])
def test_nothing_folds_at_the_default_strength(cells):
    for family in (CPAB(cells), AffineCPAB(cells)):
        t = (torch.arange(48, dtype=torch.float32) + 0.5) / 48
        grid = torch.cartesian_prod(t, t).flip(1)[None]
        theta = theta_of(family, std=0.05, rows=8).float()
        moved = family.transform(theta, grid, tolerance=1e-4).view(8, 48, 48, 2)
        across, down = moved.diff(dim=2)[:, :-1], moved.diff(dim=1)[:, :, :-1]
        area = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
        assert (area > 0).all()
