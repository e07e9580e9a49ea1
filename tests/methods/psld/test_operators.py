"""Operators are linear, have exact adjoints, and look at images as they say."""

import pytest
import torch

from albu_learned.methods.psld import operators as ops

SIZES = [(8, 8), (13, 7), (9, 16), (31, 33)]


def keep_of(rows, size, seed=0):
    return torch.rand(rows, 1, *size, generator=torch.Generator().manual_seed(seed)) > 0.4


MAKE = {
    "mask": lambda rows, size: ops.Mask(keep_of(rows, size)),
    "gaussian": lambda rows, size: ops.GaussianBlur(size, 2.3),
    "wider than the image": lambda rows, size: ops.GaussianBlur(size, 11.0),
    "down 3": lambda rows, size: ops.Downsample(size, 3),
    "down to one": lambda rows, size: ops.Downsample(size, 64),
    "motion": lambda rows, size: ops.MotionBlur(5),
    "slanted motion": lambda rows, size: ops.MotionBlur(4.5, angle=30),
    "stack": lambda rows, size: ops.Stack(
        [ops.Mask(keep_of(rows, size)), ops.Downsample(size, 4), ops.MotionBlur(3)], (2, *size)
    ),
}
each = pytest.mark.parametrize("name", MAKE)


def images(rows, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 2, *size, generator=generator, dtype=torch.float64)


@each
@pytest.mark.parametrize("size", SIZES)
def test_the_adjoint_is_exact(name, size):
    operator = MAKE[name](3, size)
    x = images(3, size, 1)
    seen = operator(x)
    y = torch.randn(seen.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    left = (seen * y).flatten(1).sum(1)
    right = (x * operator.adjoint(y)).flatten(1).sum(1)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


@each
def test_is_linear_and_of_each_row(name):
    operator = MAKE[name](2, (13, 7))
    x, y = images(2, (13, 7), 1), images(2, (13, 7), 2)
    torch.testing.assert_close(operator(2 * x - 3 * y), 2 * operator(x) - 3 * operator(y))
    changed = torch.cat([x[:1], y[1:]])
    assert torch.equal(operator(changed)[0], operator(x)[0])


@pytest.mark.parametrize("name", [name for name in MAKE if name not in ("mask", "stack")])
def test_a_flat_image_stays_as_bright(name):
    flat = torch.full((1, 2, 13, 9), 0.37, dtype=torch.float64)
    seen = MAKE[name](1, (13, 9))(flat)
    torch.testing.assert_close(seen, torch.full_like(seen, 0.37))


def test_a_mirrored_image_loses_no_light():
    flat = torch.ones(1, 1, 13, 9, dtype=torch.float64)
    torch.testing.assert_close(ops.GaussianBlur((13, 9), 3.0).adjoint(flat), flat)


def test_downsampling_takes_means_of_blocks():
    x = torch.arange(5.0).view(1, 1, 1, 5)
    assert ops.Downsample((1, 5), 2)(x).flatten().tolist() == [0.5, 2.5, 4.0]


def test_the_gaussian_has_its_deviation():
    spot = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    spot[..., 20, 20] = 1
    seen = ops.GaussianBlur((41, 41), 3.0)(spot)[0, 0]
    place = torch.arange(41) - 20.0
    assert (seen.sum(0) * place**2).sum().sqrt() == pytest.approx(3.0, rel=0.01)
    torch.testing.assert_close(seen, seen.T)


def test_motion_runs_along_its_angle():
    flat, steep = ops.MotionBlur(7).kernel[0, 0], ops.MotionBlur(7, angle=90).kernel[0, 0]
    assert (flat[3] > 0).sum() == 7
    assert flat[[0, 1, 2, 4, 5, 6]].abs().max() < 1e-12
    torch.testing.assert_close(steep, flat.T)
    assert ops.MotionBlur(1).kernel.tolist() == [[[[1.0]]]]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ops.Mask(torch.ones(2, 1, 4, 4)), "keep"),
        (lambda: ops.Mask(torch.ones(4, 4, dtype=torch.bool)), "keep"),
        (lambda: ops.GaussianBlur((4, 4), 0), "radius"),
        (lambda: ops.Downsample((4, 4), 0), "factor"),
        (lambda: ops.MotionBlur(0.5), "length"),
    ],
)
def test_says_what_is_wrong(make, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        make()
