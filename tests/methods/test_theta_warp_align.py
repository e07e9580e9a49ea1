"""Alignment finds known motions and says how well; the Gaussian is that of what was found."""

import ast
import sys

import pytest
import torch

import albu_learned as al
from albu_learned.methods.theta_warp import distribution
from albu_learned.methods.theta_warp.family import family_for
from albu_learned.methods.theta_warp.field import ThetaField
from albu_learned.methods.theta_warp.uncertainty import left_open
from albu_learned.resample import images as resampled

align_ = sys.modules["albu_learned.methods.theta_warp.align"]  # al.align is the function
SERIES = {"sizes": (96,), "family": al.AffineCPAB(5)}
IMAGES = {"sizes": (28, 28), "family": al.AffineCPAB((2, 2))}


def pictures(count, sizes, seed=0):
    """Smooth random pictures, with something to be seen everywhere."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, *[max(3, n // 5) for n in sizes], generator=generator)
    mode = "bilinear" if len(sizes) == 2 else "linear"
    return torch.nn.functional.interpolate(coarse, sizes, mode=mode, align_corners=True)


def moved(images, family, theta):
    return resampled(images, ThetaField(family, theta), "border")


def pairs(count, sizes, family, std=0.04, seed=0):
    sources = pictures(count, sizes, seed)
    noise = torch.randn(count, family.dim, generator=torch.Generator().manual_seed(seed + 1))
    theta = std * noise @ family.smooth.float()
    return sources, moved(sources, family, theta), theta


def places(family):
    axis = (torch.arange(12) + 0.5) / 12
    return torch.cartesian_prod(*[axis] * family.ndim).view(1, -1, family.ndim)


@pytest.mark.parametrize("kind", [IMAGES, SERIES], ids=["images", "series"])
def test_known_motions_are_recovered(kind):
    """Not as theta, of which some directions hardly move anything, but as what points do."""
    family = kind["family"]
    sources, targets, theta = pairs(24, kind["sizes"], family)
    found, report = al.align(sources, targets, family)
    points = places(family)
    wanted = family.transform(theta, points)
    error = (family.transform(found, points) - wanted).square().sum(-1).mean().sqrt()
    motion = (wanted - points).square().sum(-1).mean().sqrt()
    assert motion > 0.03
    assert error < 0.3 * motion
    assert report.kept.all()
    assert report.after.sum() < 0.1 * report.before.sum()
    again = (moved(sources, family, found) - targets).square().mean()
    assert again < 0.1 * (sources - targets).square().mean()


def test_light_and_contrast_are_no_motion():
    """Photographs in any light are aligned as well, every channel of them."""
    family = IMAGES["family"]
    sources, targets, _ = pairs(24, IMAGES["sizes"], family)
    found, _ = al.align(sources, targets, family)
    generator = torch.Generator().manual_seed(3)

    def lit(images):
        images = images.expand(-1, 3, -1, -1)
        contrast = 0.3 + 0.4 * torch.rand(len(images), 1, 1, 1, generator=generator)
        return contrast * images + 0.3 * torch.rand(len(images), 3, 1, 1, generator=generator)

    other, report = al.align(lit(sources), lit(targets), family)
    points = places(family)
    apart = (family.transform(other, points) - family.transform(found, points)).square().mean()
    assert apart.sqrt() < 2e-3
    assert report.figures()["residual left"] < 0.1


def test_pairs_do_not_see_one_another_but_for_the_noise():
    """Chunk by chunk as all at once, where chunks are as noisy."""
    family = al.Affine(6)
    sources, targets, _ = pairs(16, (20, 20), family)
    twice = torch.cat([sources, sources]), torch.cat([targets, targets])
    told = []
    found, report = al.align(*twice, family, chunk=16, progress=told.append)
    assert told == [16, 16]
    assert torch.equal(found[:16], found[16:])
    alone, _ = al.align(sources, targets, family)
    assert torch.equal(found[:16], alone)
    assert len(report.before) == len(report.jacobian) == 32


def test_strangers_are_not_forced_together():
    """Without the prior motions would be as wild as pixels ask for."""
    family = al.AffineCPAB((2, 2))
    noise = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(9))
    found, report = al.align(pictures(16, (28, 28)), noise, family)
    assert report.figures()["residual left"] > 0.5
    assert rms(family, found) < 0.1
    assert report.jacobian.min() > 0.3


def rms(family, theta):
    return float(((theta.double() @ family.metric) * theta.double()).sum(1).mean().sqrt())


def test_a_wider_prior_moves_further():
    family = al.Affine(6)
    sources, targets = pictures(12, (20, 20), 1), pictures(12, (20, 20), 2)
    narrow, wide = (al.align(sources, targets, family, prior_std=s)[0] for s in (0.02, 0.2))
    assert rms(family, wide) > 2 * rms(family, narrow)


def test_identical_and_flat_pairs_stay_where_they_are_and_are_dropped():
    family = al.AffineCPAB((2, 2))
    same = pictures(3, (16, 16))
    flat = torch.full((3, 1, 16, 16), 0.5)
    for sources, targets in ((same, same), (flat, flat)):
        theta, report = al.align(sources, targets, family)
        assert theta.isfinite().all()
        assert rms(family, theta) < 1e-3
        assert not report.kept.any()
        assert report.figures() == {"pairs": 3.0, "pairs dropped": 3.0}


def test_the_report_agrees_with_what_it_reports():
    family = al.AffineCPAB((2, 2))
    sources, targets, _ = pairs(8, (28, 28), family)
    theta, report = al.align(sources, targets, family)
    areas = (-family.log_jacobian(theta, places(family))).exp()
    torch.testing.assert_close(report.jacobian[:, 1], areas.median(dim=1).values, rtol=0.1, atol=0)
    assert (report.jacobian.diff(dim=1) > 0).all()
    assert report.figures()["area, 5 %"] == pytest.approx(float(report.jacobian[:, 0].mean()))
    assert report.figures()["pairs dropped"] == 0


def test_a_picture_that_must_grow_is_said_to():
    place = (torch.arange(32) + 0.5) / 32 - 0.5
    radius = (place[:, None] ** 2 + place**2).sqrt()
    small, large = (((r - radius) * 32).clamp(0, 1)[None, None] for r in (0.2, 0.3))
    _, report = al.align(small, large, al.Affine(4))
    assert 1.5 < report.jacobian[0, 1] < 2.5  # (0.3 / 0.2)^2 is 2.25


def test_bytes_large_pictures_and_colours():
    family = al.Affine(6)
    sources, targets, _ = pairs(6, (96, 128), family)
    exact, _ = al.align(sources, targets, family)
    coloured = [(255 * t).round().to(torch.uint8).expand(-1, 3, -1, -1) for t in (sources, targets)]
    found, _ = al.align(*coloured, family)
    points = places(family)
    gap = family.transform(found, points) - family.transform(exact, points)
    assert gap.abs().max() < 0.01


@pytest.mark.parametrize(
    ("sources", "targets", "family", "said"),
    [
        (torch.rand(2, 1, 8, 8), torch.rand(3, 1, 8, 8), None, "must be pairs, of the same shape"),
        (torch.rand(0, 1, 8, 8), torch.rand(0, 1, 8, 8), None, "at least one"),
        (torch.rand(2, 1, 8), torch.rand(2, 1, 8), al.CPAB((2, 2)), "must be one for series"),
        (torch.rand(8, 8), torch.rand(8, 8), None, r"\(N, C, H, W\) images, or \(N, C, T\) series"),
        (torch.rand(2, 9, 9), torch.rand(2, 9, 9), None, r"looks like grey .* sources\[:, None\]"),
        (torch.rand(2, 9, 9), torch.rand(2, 9, 9), al.Affine(), "looks like grey images"),
        (
            torch.rand(2, 1, 8, 8),
            torch.full((2, 1, 8, 8), torch.nan),
            None,
            "`targets` must be fin",
        ),
        (torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), al.CPAB((9, 9)), "no more cells than"),
    ],
)
def test_what_is_no_pair_is_refused(sources, targets, family, said):
    with pytest.raises(ValueError, match=said):
        al.align(sources, targets, family)


def test_the_gaussian_is_that_of_what_was_found():
    """Symmetric, of mean zero, and as strong: by the second moments of many samples."""
    family = al.CPAB((2, 2))
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(family.dim, family.dim, generator=generator) * 0.02
    theta = 0.3 + torch.randn(4000, family.dim, generator=generator) @ mixing
    factor, std = distribution.fit(theta, family)
    warp = al.ThetaWarp(family, std=std)
    warp.factor.copy_(factor)
    drawn = warp.plan(al.Batch(), warp.draw(40000, generator))["theta"].double()
    moment = theta.double().mT @ theta.double() / len(theta)  # about zero, not about the mean
    root = torch.linalg.cholesky(moment)
    white = torch.linalg.solve_triangular(root, drawn.mT, upper=False)
    found = white @ white.mT / drawn.shape[0]
    # Every entry has a deviation of 1/200, on the diagonal of sqrt(2)/200.
    assert (found - torch.eye(family.dim)).abs().max() < 0.04
    assert drawn.mean(dim=0).abs().max() < 0.03
    assert rms(family, drawn) == pytest.approx(std, rel=0.02)
    assert std == pytest.approx(rms(family, theta), rel=1e-6)


def striped(count, seed=0):
    """Pictures that are the same in all rows, float64."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 1, 8, generator=generator, dtype=torch.float64)
    across = torch.nn.functional.interpolate(coarse, (1, 24), mode="bilinear", align_corners=True)
    return across.expand(-1, -1, 24, -1).clone()


def test_what_is_left_open_is_what_pixels_do_not_say():
    """Of stripes: where they are, up and down; from right to left, they tell where a point went."""
    family = al.Affine(4)  # angle, log scale, to the right, down
    sources, targets = striped(6), striped(6, seed=0) + 0.02 * torch.rand(6, 1, 24, 24)
    open_ = left_open(sources, targets, torch.zeros(6, 4).double(), family, 0.1)
    prior = 0.01 * (family.smooth @ family.smooth.mT).diagonal()
    share = open_.diagonal() / prior
    assert share[2] < 0.3
    assert 0.8 < share[3] <= 1.001


def test_what_is_left_open_by_a_hessian_of_autograd():
    family = al.CPAB((2, 2))
    sources, targets, _ = pairs(3, (20, 20), family)
    sources, targets = sources.double(), targets.double()
    theta, _ = al.align(sources, targets, family)
    found = left_open(sources, targets, theta, family, 0.1)
    source, target = (align_.blurred(align_.prepared(t), 1 / 28) for t in (sources, targets))
    left = align_.warped(source, family, theta) - target
    noise = left.square().mean()
    power = torch.fft.fft2(left).abs().square().mean(dim=(0, 1))
    weight = power.sum() ** 2 / power.square().sum() / noise / left[0].numel()
    root, wanted = 0.1 * family.smooth, torch.zeros(family.dim, family.dim).double()
    for row in range(3):

        def pixels(z, row=row):
            moved = align_.warped(source[row : row + 1], family, theta[row : row + 1] + z @ root.mT)
            return moved.flatten()

        slopes = torch.autograd.functional.jacobian(pixels, torch.zeros(1, family.dim).double())
        slopes = slopes[:, 0]
        hessian = weight * slopes.mT @ slopes + torch.eye(family.dim)
        wanted += root @ torch.linalg.inv(hessian) @ root.mT / 3
    assert (found - wanted).norm() < 0.05 * wanted.norm()


def test_nearly_equal_images_leave_little_open():
    """Where the pixels outweigh the prior by so much that float32 would find no root."""
    family = al.AffineCPAB((4, 4))
    sources = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    targets = sources + 1e-6 * torch.rand(4, 3, 32, 32)
    found = left_open(sources, targets, torch.zeros(4, family.dim), family, 0.1)
    assert found.isfinite().all()
    assert torch.linalg.eigvalsh(found).min() > -1e-12
    assert found.trace() < 0.5 * 0.01 * (family.smooth @ family.smooth.mT).trace()


def test_what_is_left_open_gives_shape_and_not_size():
    family = al.Affine(4)
    theta = 0.05 * torch.randn(500, 4, generator=torch.Generator().manual_seed(1))
    theta[:, 3] = 0
    alone, std = distribution.fit(theta, family)
    unsure = torch.zeros(4, 4)
    unsure[3, 3] = 0.01
    factor, same = distribution.fit(theta, family, unsure)
    assert same == std
    assert rms_of(family, std * factor[0]) == pytest.approx(std, rel=1e-5)
    moment, before = (f[0] @ f[0].mT for f in (factor, alone))
    assert before[3, 3] < 1e-9 < moment[3, 3]
    assert moment[2, 2] < before[2, 2]


def test_classes_lean_on_what_they_have_in_common():
    family = al.Affine(4)
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(500, 4, generator=generator) * 0.05
    labels = (torch.arange(500) < 400).long()  # class 1 has 400 pairs, class 0 has 100
    theta[labels == 0] *= 3
    factors, std = distribution.fit(theta, family, None, labels, 2)
    strengths = [rms_of(family, std * factor) for factor in factors]
    own = [rms(family, theta[labels == c]) for c in (0, 1)]
    assert std < strengths[0] < own[0]  # shrunk towards the others
    assert own[1] < strengths[1] < std
    assert abs(strengths[1] - own[1]) < abs(strengths[0] - own[0])  # who has more leans less


def rms_of(family, factor):
    return float((family.metric * (factor @ factor.mT).double()).sum().sqrt())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_takes_its_own_gradients(mode):
    """Also of tensors, and with a family, that were made where there are none."""
    sources, targets, _ = pairs(4, (16, 16), al.AffineCPAB((2, 2)))
    wanted, _ = al.align(sources, targets, al.AffineCPAB((2, 2)))
    with mode():
        family = al.AffineCPAB((2, 2))
        found, report = al.align(sources.clone(), targets.clone(), family)
        assert not torch.is_grad_enabled()
    assert torch.equal(found, wanted)
    assert not found.requires_grad
    assert report.kept.all()


def test_the_shape_of_the_image_counts_and_not_its_shorter_side():
    family = al.AffineCPAB((9, 2))  # columns, rows
    sources, targets, _ = pairs(2, (6, 24), family)
    assert al.align(sources, targets, family)[0].shape == (2, family.dim)
    with pytest.raises(ValueError, match=r"no more cells than .* 24 x 6, got .*family=\(3, 2\)"):
        al.align(sources.mT, targets.mT, family)
    with pytest.raises(ValueError, match=r"1 x 1, got .* Give larger images"):
        al.align(torch.rand(2, 1, 1, 1), torch.rand(2, 1, 1, 1), al.AffineCPAB((2, 2)))


@pytest.mark.parametrize(
    ("size", "cells", "remedy"),
    [
        ((12,), 13, r"family=6\."),
        ((3,), 10, r"family=2\."),
        ((2,), 10, r"family=2\."),
        ((1,), 10, r"longer series\."),
        ((3, 9), (10, 4), r"family=\(4, 2\)\."),
        ((2, 2), (4, 4), r"family=\(2, 2\)\."),
        ((1, 9), (4, 4), r"larger images\."),
    ],
)
def test_where_cells_are_too_many_the_remedy_can_be_taken(size, cells, remedy):
    with pytest.raises(ValueError, match=rf"no more cells than .* Give .*{remedy}") as caught:
        family_for(cells, (1, *size))
    if "family=" in remedy:
        fewer = ast.literal_eval(str(caught.value).partition("family=")[2].rstrip("."))
        assert family_for(fewer, (1, *size)).dim


def test_nothing_that_moves_is_no_distribution():
    with pytest.raises(ValueError, match="no aligned pair moves"):
        distribution.fit(torch.zeros(5, 4), al.Affine(4))
