"""One std means the same in every family: how far points move, the root of the mean square."""

import pytest
import torch

from albu_learned import CPAB, Affine, AffineCPAB

FAMILIES = {
    "Affine(2)": lambda: Affine(2),
    "Affine(4)": lambda: Affine(4),
    "Affine(6)": lambda: Affine(6),
    "slide": lambda: CPAB((4, 4)),
    "short": lambda: CPAB((4, 4), length=0.1),
    "fixed": lambda: CPAB((3, 2), "fixed"),
    "free": lambda: CPAB((2, 2), "free"),
    "volume": lambda: CPAB((3, 3), preserve_volume=True),
    "series": lambda: CPAB(10),
    "composed": lambda: AffineCPAB((4, 4)),
    "composed, mostly flow": lambda: AffineCPAB((2, 2), degrees=4, affine_share=0.1),
    "composed series": lambda: AffineCPAB(8),
}
every_family = pytest.mark.parametrize("name", FAMILIES)
STD, ROWS = 1e-3, 3000


@every_family
def test_std_is_how_far_points_move(name):
    """By random motions. Their mean square has a relative error of some 4 % at 3000 motions of the
    least dimension, so that of its root is below 6 % but for one time in 200; the seed is fixed."""
    family = FAMILIES[name]()
    g = torch.Generator().manual_seed(0)
    z = torch.randn(ROWS, family.dim, dtype=torch.float64, generator=g)
    points = torch.rand(ROWS, 30, family.ndim, dtype=torch.float64, generator=g)
    moved = family.transform(STD * z @ family.smooth.mT, points, tolerance=1e-5)
    rms = (moved - points).square().sum(dim=-1).mean().sqrt()
    assert rms / STD == pytest.approx(1, abs=0.06)


@every_family
def test_the_root_is_symmetric_and_made_alike(name):
    first, again = FAMILIES[name]().smooth, FAMILIES[name]().smooth
    assert first.dtype == torch.float64
    torch.testing.assert_close(first, first.mT, rtol=0, atol=1e-12)
    assert torch.equal(first, again)
    assert torch.linalg.eigvalsh(first).min() > -1e-9


def test_neighbours_move_alike_and_the_share_is_kept():
    smooth = CPAB((8, 8), "free").smooth
    covariance = smooth @ smooth.mT
    scale = covariance.diagonal().rsqrt()
    like = scale[:, None] * covariance * scale
    assert like[0, 2] > 0.9, "x of two neighbouring corners"
    assert like[0, 1].abs() < 1e-9, "x and y of one corner"
    composed = AffineCPAB((4, 4), affine_share=0.75)
    whole, border = composed.smooth, composed.affine.dim
    means = composed.metric * (whole @ whole.mT)
    assert means[:border, :border].sum() == pytest.approx(0.75, abs=1e-6)
    assert means[border:, border:].sum() == pytest.approx(0.25, abs=1e-6)


def test_no_affine_number_moves_points_further_than_another():
    for degrees in (2, 4, 6):
        family = Affine(degrees)
        each = family.metric.diagonal() * family.smooth.diagonal().square()
        torch.testing.assert_close(each, torch.full_like(each, 1 / degrees))
