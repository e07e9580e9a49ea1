"""Intrinsic dimensions: right where they are known, and the same as by slow and plain ways.

The tolerances are what five seeds gave, with a margin about as wide as their spread.
"""

import math

import numpy as np
import pytest
import torch

from albu_learned import ZetaMixup
from albu_learned import dimension as d


def generator(seed):
    return torch.Generator().manual_seed(seed)


def cube(dim):
    return lambda n, g: torch.rand(n, dim, generator=g, dtype=torch.float64)


def sphere(n, g):
    points = torch.randn(n, 3, generator=g, dtype=torch.float64)
    return points / points.norm(dim=1, keepdim=True)


def swiss_roll(n, g):
    u, v = torch.rand(2, n, generator=g, dtype=torch.float64)
    t = 1.5 * math.pi * (1 + 2 * u)
    return torch.stack([t * t.cos(), 21 * v, t * t.sin()], 1) / 20


def embedded(make, n=2000, width=30, noise=0.0, seed=0):
    """Points of a manifold, rotated at random into so many dimensions."""
    g = generator(seed)
    points = make(n, g)
    turn = torch.linalg.qr(torch.randn(width, width, generator=g, dtype=torch.float64))[0]
    points = points @ turn[: points.shape[1]]
    return points + noise * torch.randn(points.shape, generator=g, dtype=torch.float64)


# Of each manifold: its dimension, a number of neighbours so small that they lie in a plane nearly,
# and the range that TwoNN must hit.
KNOWN = {
    "line": (cube(1), 1, 64, (0.85, 1.15)),
    "square": (cube(2), 2, 64, (1.8, 2.2)),
    "cube of 5": (cube(5), 5, 64, (4.3, 5.1)),
    "cube of 10": (cube(10), 10, 128, (8.0, 9.4)),
    "sphere": (sphere, 2, 64, (1.85, 2.15)),
    "swiss roll": (swiss_roll, 2, 32, (1.85, 2.15)),
}


@pytest.mark.parametrize("noise", [0.0, 1e-6])
@pytest.mark.parametrize("name", KNOWN)
def test_known_dimensions(name, noise):
    make, dim, neighbours, (low, high) = KNOWN[name]
    points = embedded(make, noise=noise)
    some = torch.arange(300)
    counted = d.local_pca(points, neighbours, at=some)
    assert counted.dtype == torch.int64
    assert (counted == dim).double().mean() > 0.98
    explained = d.local_pca(points, neighbours, at=some, variance=0.95).double().mean()
    # Each of ten directions explains about a tenth: nine often do for 95 %.
    assert dim - (1.0 if dim == 10 else 0.02) <= explained <= dim + 0.02
    assert low < d.two_nn(points).dimension < high


def test_local_pca_sees_through_noise_and_two_nn_does_not():
    points = embedded(cube(2), noise=1e-3)
    assert (d.local_pca(points, 64, at=torch.arange(300)) == 2).all()
    assert d.two_nn(points).dimension > 2.7


def test_the_ratio_decides_what_is_noise():
    flat = embedded(cube(2), noise=0.0)
    thick = flat + 0.03 * torch.randn(flat.shape, generator=generator(1), dtype=torch.float64)
    some = torch.arange(50)
    assert (d.local_pca(thick, 500, at=some, ratio=0.2) == 2).all()
    assert (d.local_pca(thick, 500, at=some, ratio=0.001) == 30).all()


def slow_neighbours(points, i, k):
    distance = np.sqrt(((points - points[i]) ** 2).sum(1))
    distance[i] = np.inf
    order = np.argsort(distance)[:k]
    return distance[order], order


def slow_local_pca(points, k, ratio=0.05, variance=None):
    found = []
    for i in range(len(points)):
        near = points[slow_neighbours(points, i, k)[1]]
        spectrum = np.linalg.svd(near - near.mean(0), compute_uv=False) ** 2
        if variance is None:
            found.append(int((spectrum > ratio * spectrum[0]).sum()))
        else:
            share = np.cumsum(spectrum) / spectrum.sum()
            found.append(next(n for n in range(1, len(share) + 1) if share[n - 1] >= variance))
    return found


def slow_two_nn(points, discard):
    ratios = []
    for i in range(len(points)):
        first, second = slow_neighbours(points, i, 2)[0]
        ratios.append(second / first)
    ratios.sort()
    pairs = [
        (math.log(mu), -math.log(1 - rank / len(points)))
        for rank, mu in enumerate(ratios, start=1)
        if rank < len(points) and rank <= len(points) * (1 - discard)
    ]
    x, y = np.array(pairs).T
    return np.linalg.lstsq(x[:, None], y, rcond=None)[0][0]


@pytest.mark.parametrize(("width", "neighbours"), [(5, 12), (12, 12), (40, 12), (40, 2)])
@pytest.mark.parametrize("rule", [{}, {"ratio": 0.3}, {"variance": 0.5}, {"variance": 0.95}])
def test_local_pca_is_the_slow_one(width, neighbours, rule, monkeypatch):
    points = torch.randn(60, width, generator=generator(0), dtype=torch.float64)
    points *= torch.linspace(1, 0.1, width)
    expected = slow_local_pca(points.numpy(), neighbours, **rule)
    assert d.local_pca(points, neighbours, **rule).tolist() == expected
    monkeypatch.setattr(d, "CHUNK", 500)  # several chunks, the last ones not full
    monkeypatch.setattr(d, "COPIED", 500)
    at = torch.tensor([59, 0, 7, 7, 23])
    found = d.local_pca(points, neighbours, at=at, **rule).tolist()
    assert found == [expected[i] for i in at]


@pytest.mark.parametrize("discard", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_two_nn_is_the_slow_one(discard, offset, monkeypatch):
    points = offset + torch.randn(80, 6, generator=generator(1), dtype=torch.float64)
    expected = slow_two_nn(points.numpy(), discard)
    assert d.two_nn(points, discard) == (pytest.approx(expected, rel=1e-9), 0)
    monkeypatch.setattr(d, "CHUNK", 500)
    assert d.two_nn(points, discard).dimension == pytest.approx(expected, rel=1e-9)


def test_nearest_by_hand():
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    distance, index = d.nearest(points, count=2)
    assert index.tolist() == [[2, 1], [2, 0], [0, 1]]
    expected = [[1, 5], [math.sqrt(18), 5], [1, math.sqrt(18)]]
    torch.testing.assert_close(distance, torch.tensor(expected, dtype=torch.float64))
    distance, index = d.nearest(torch.tensor([[0.0, 0.9]]), points)
    assert index.tolist() == [[2]]
    assert distance.item() == pytest.approx(0.1)
    assert d.nearest(points, points)[0].tolist() == [[0], [0], [0]]


def test_small_distances_keep_their_digits():
    # One part in 1e11: the product of float64 has none of its digits.
    points = torch.tensor([[1.0, 2.0], [1.0, 2.0 + 1e-11], [-1.0, 0.0]], dtype=torch.float64)
    assert d.nearest(points)[0][0].item() == pytest.approx(1e-11, rel=1e-4)


def test_which_points_are_nearest_agrees_with_how_near():
    points = 1 + 1e-9 * torch.rand(40, 3, generator=generator(0), dtype=torch.float64)
    points = torch.cat([points, -points])  # the product takes each half for a single point
    distance, index = d.nearest(points, count=39)
    exact = (points[:, None] - points[index]).norm(dim=2)
    assert torch.equal(distance, exact)
    assert (distance.diff(dim=1) >= 0).all()


def test_neither_scale_nor_place_nor_turn_matters():
    points = embedded(cube(3), n=400, width=8)
    turned = embedded(lambda n, g: 5 + 1e-3 * points, n=400, width=9, seed=3)
    assert torch.equal(d.local_pca(points, 30), d.local_pca(turned, 30))
    assert d.two_nn(turned).dimension == pytest.approx(d.two_nn(points).dimension, rel=1e-6)


def test_repeated_points_are_dropped_and_counted():
    points = embedded(cube(2), n=300)
    again = torch.cat([points, points[:50], points[:10]])
    assert d.two_nn(again) == (pytest.approx(d.two_nn(points).dimension), 60)
    same = torch.full((20, 4), 0.1, dtype=torch.float64)  # the mean of several 0.1 is not 0.1
    for neighbours in range(2, 19):
        assert d.local_pca(same, neighbours).tolist() == [0] * 20
        assert d.local_pca(same, neighbours, variance=0.95).tolist() == [0] * 20


def test_float32_is_close_to_float64_and_nothing_is_changed():
    points = embedded(cube(2), n=500)
    single = points.float().requires_grad_()
    before = single.detach().clone()
    found = d.two_nn(single).dimension
    assert found == pytest.approx(d.two_nn(points).dimension, rel=1e-3)
    assert torch.equal(d.local_pca(single, 20), d.local_pca(points, 20))
    assert torch.equal(single, before)


def test_entropies_by_hand():
    soft = torch.tensor([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.75, 0.25, 0, 0]])
    expected = [0, math.log(4), math.log(2), 0.75 * math.log(4 / 3) + 0.25 * math.log(4)]
    torch.testing.assert_close(d.label_entropy(soft), torch.tensor(expected, dtype=torch.float64))
    assert d.label_entropy(soft.half()).tolist() == pytest.approx(expected)


def test_classes_present_by_hand():
    soft = torch.tensor([[0.98, 0.01, 0.01], [0.985, 0.01, 0.005], [1.0, 0, 0]])
    assert d.classes_present(soft).tolist() == [3, 2, 1]
    assert d.classes_present(soft, least=0.011).tolist() == [1, 1, 1]


def test_the_claim_on_a_helix():
    """A curve in space, in batches of 32 as in the authors' demo: known to be of dimension 1.

    It holds for gamma 6. It does not for the default: 2.8 fills the space as mixup does.
    """
    g = generator(0)
    t = 10 * math.pi * torch.rand(8192, generator=g)
    curve = torch.stack([t.cos(), t.sin(), t / (2 * math.pi)], 1)
    weight = torch.rand(8192, 1, generator=g)
    clouds = [curve, weight * curve + (1 - weight) * curve[torch.randperm(8192, generator=g)]]
    for gamma in (6.0, 2.8):
        mix = ZetaMixup(gamma=gamma, num_classes=1)
        parts = [mix(x, torch.zeros(32, dtype=torch.int64), generator=g) for x in curve.split(32)]
        clouds.append(torch.cat([images for images, _ in parts]))
    some = torch.arange(200)
    found = [d.local_pca(cloud, at=some).double().mean().item() for cloud in clouds]
    assert found == pytest.approx([1, 3, 1, 3], abs=0.02)


POINTS = torch.rand(20, 3, generator=generator(0))
HOLED = POINTS.clone()
HOLED[3, 1] = math.nan
GRID = torch.arange(20.0)[:, None]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: d.local_pca(torch.rand(5, 2, 2), 3), r"`points` must be \(N, D\) .* \(5, 2, 2\)"),
        (lambda: d.two_nn(torch.rand(5)), r"`points` must be \(N, D\) .* got \(5,\)"),
        (
            lambda: d.two_nn(torch.ones(5, 2, dtype=torch.uint8)),
            r"`points` .* torch.uint8.*Flatten",
        ),
        (lambda: d.two_nn(torch.ones(5, 0)), r"`points` must have columns"),
        (lambda: d.local_pca(HOLED, 3), r"`points` must be finite, .* in 1 rows\. Drop"),
        (lambda: d.two_nn(HOLED / 0), r"`points` must be finite"),
        (lambda: d.local_pca(POINTS, 20), r"`points` must be at least 21 for 20 neighb.* got 20"),
        (lambda: d.local_pca(POINTS), r"`points` must be at least 129 for 128 neighbours"),
        (lambda: d.local_pca(POINTS, 1), r"`neighbours` must be an integer >= 2"),
        (lambda: d.local_pca(POINTS, 5, ratio=1), r"`ratio` must be in \(0,1\)"),
        (lambda: d.local_pca(POINTS, 5, variance=0), r"`variance` must be in \(0,1\)"),
        (lambda: d.local_pca(POINTS, 5, at=torch.tensor([0, 20])), r"`at` .* 0\.\.19, got 20"),
        (lambda: d.local_pca(POINTS, 5, at=torch.tensor([-1])), r"`at` .* got -1"),
        (lambda: d.local_pca(POINTS, 5, at=torch.tensor([0.5])), r"`at` .* got \(1,\) torch.float"),
        (lambda: d.two_nn(POINTS[:2]), r"`points` must be at least 3 to have two"),
        (lambda: d.two_nn(POINTS, discard=1.0), r"`discard` must be in \[0,1\)"),
        (lambda: d.two_nn(POINTS[:8].repeat(3, 1)), r"mostly distinct.* 8 distinct of 24"),
        (lambda: d.two_nn(POINTS[[0, 0, 1, 1]]), r"mostly distinct, at least 3.* 2 distinct of 4"),
        (lambda: d.two_nn(GRID), r"`points` must have nearest and second .* all of 18\. A regular"),
        (lambda: d.nearest(POINTS, count=20), r"`points` must be at least 21 for 20 nearest"),
        (lambda: d.nearest(POINTS, POINTS, count=21), r"`among` must be at least 21"),
        (lambda: d.nearest(POINTS, torch.rand(4, 2)), r"`among` must have the 3 columns .* got 2"),
        (lambda: d.nearest(POINTS, HOLED), r"`among` must be finite"),
        (lambda: d.label_entropy(torch.tensor([0, 1])), r"`soft` .* got \(2,\) torch.int64"),
        (lambda: d.label_entropy(POINTS), r"`soft` must be .* whose rows sum to 1, got \["),
        (lambda: d.label_entropy(torch.tensor([[1.5, -0.5]])), r"`soft` .* got \[1\.5, -0\.5\]"),
        (lambda: d.label_entropy(torch.tensor([[math.nan, 1]])), r"`soft` .* got \[nan"),
        (lambda: d.classes_present(torch.eye(2), least=0), r"`least` must be in \(0,1\)"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
