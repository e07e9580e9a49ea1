"""How far pixels are from where the motion takes them: what `nodes` and the field promise."""

import pytest
import torch

from albu_learned import CPAB, Affine, AffineCPAB, ThetaWarp
from albu_learned.resample import pixel_centres

ROWS, PIXELS = 64, 400


def errors(family, side, back=False, std=0.05):
    """In pixels, of random pixels of images by 64 random motions."""
    g = torch.Generator().manual_seed(0)
    method = ThetaWarp(family, std=std)
    theta = std * torch.randn(ROWS, family.dim, generator=g) @ method.factor[0].mT
    field = method.field({"theta": theta})
    like = torch.empty(0)
    grid = field.grid_back((side, side), like) if back else field.grid((side, side), like)
    assert grid.shape == (ROWS, side, side, 2)
    picked = torch.randint(side * side, (ROWS, PIXELS, 1), generator=g).expand(-1, -1, 2)
    centres = pixel_centres((side, side), like).view(1, -1, 2).expand(ROWS, -1, -1)
    way = family.inverse if back else family.transform
    exact = way(theta, centres.gather(1, picked), tolerance=1e-4)
    return side * (grid.reshape(ROWS, -1, 2).gather(1, picked) - exact).norm(dim=-1).flatten()


FAMILIES = [CPAB((4, 4)), CPAB((2, 2)), CPAB((8, 8)), CPAB((3, 2)), AffineCPAB((4, 4))]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f"{type(f).__name__}{f.cells}")
@pytest.mark.parametrize("side", [28, 224])
def test_images_are_within_a_quarter_of_a_pixel(family, side):
    found = errors(family, side)
    assert found.quantile(0.99) < 0.25
    assert found.max() < 0.75
    assert found.max() > 1e-3, "far more nodes than it takes"


@pytest.mark.parametrize("family", [CPAB((4, 4)), AffineCPAB((4, 4))], ids=["CPAB", "AffineCPAB"])
@pytest.mark.parametrize(("side", "std"), [(224, 0.05), (227, 0.02)])
def test_so_are_their_inverses_at_other_sizes_and_strengths(family, side, std):
    found = errors(family, side, back=True, std=std)
    assert found.quantile(0.99) < 0.25
    assert found.max() < 0.75


def test_large_images():
    method = ThetaWarp(CPAB((4, 4)))
    theta = method.plan(None, method.draw(6, torch.Generator().manual_seed(0)))["theta"]
    grid = method.field({"theta": theta}).grid((640, 480), torch.empty(0))
    centres = pixel_centres((640, 480), theta)[::17, ::13]
    exact = method.family.transform(theta, centres.reshape(1, -1, 2), tolerance=3e-5)
    off = grid[:, ::17, ::13].flatten(1, 2) - exact
    found = (off * torch.tensor([480.0, 640.0])).norm(dim=-1).flatten()
    assert found.quantile(0.99) < 0.25
    assert found.max() < 0.75


def test_series_and_affine_images_are_exact():
    for family, size in ((CPAB(10), (50,)), (AffineCPAB(6), (31,)), (Affine(), (17, 30))):
        theta = (0.1 * torch.randn(4, family.dim, dtype=torch.float64)) @ family.smooth
        grid = ThetaWarp(family).field({"theta": theta}).grid(size, theta)
        centres = pixel_centres(size, theta)
        exact = family.transform(theta, centres.view(1, -1, len(size))).view(4, *size, -1)
        torch.testing.assert_close(grid, exact, rtol=0, atol=1e-12)
