"""What holds for every family: laws of a group, gradients, dtypes, copies, errors."""

import copy
import pickle

import pytest
import torch

from albu_learned import CPAB, Affine, AffineCPAB
from albu_learned.parts import build, describe
from tests.elsewhere import DEVICE, elsewhere

FAMILIES = [
    Affine(2),
    Affine(4),
    Affine(6),
    CPAB((4, 4)),
    CPAB((3, 2), boundary="fixed"),
    CPAB((2, 3), boundary="free"),
    CPAB((3, 3), preserve_volume=True),
    CPAB(6),
    CPAB(4, boundary="free"),
    AffineCPAB((3, 2), degrees=4),
    AffineCPAB(5),
]
NAMES = [
    f"{type(f).__name__}-{getattr(f, 'cells', f.dim)}-{getattr(f, 'boundary', '')}"
    for f in FAMILIES
]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=NAMES)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def theta_of(family, std=0.08, rows=3, seed=0):
    z = torch.randn(rows, family.dim, dtype=torch.float64, generator=seeded(seed))
    return std * z @ family.smooth


def points_of(family, rows=3, count=20, seed=1):
    shape = (rows, count, family.ndim)
    return torch.rand(shape, dtype=torch.float64, generator=seeded(seed))


def far(a, b):
    return (a - b).abs().max().item()


@every_family
def test_flows_add_up(family):
    """For a composition this holds for both parts, not for their product."""
    family = getattr(family, "flow", family)
    theta, points = theta_of(family), points_of(family)
    halfway = family.transform(0.3 * theta, points, tolerance=1e-7)
    there = family.transform(0.5 * theta, halfway, tolerance=1e-7)
    assert far(there, family.transform(0.8 * theta, points, tolerance=1e-7)) < 5e-7
    assert far(there, points) > 0.01


@every_family
def test_the_inverse_undoes(family):
    theta, points = theta_of(family), points_of(family)
    moved = family.transform(theta, points, tolerance=1e-7)
    assert far(family.inverse(theta, moved, tolerance=1e-7), points) < 1e-6
    back = family.inverse(theta, points, tolerance=1e-7)
    assert far(family.transform(theta, back, tolerance=1e-7), points) < 1e-6
    assert far(family.inverse(theta, family.transform(theta, points)), points) < 3e-5


@every_family
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_moves_nothing(family, dtype):
    points = 3 * points_of(family).to(dtype) - 1
    nothing = torch.zeros(1, family.dim, dtype=dtype)
    for way in (family.transform, family.inverse):
        torch.testing.assert_close(way(nothing, points), points, rtol=0, atol=1.2e-7)
    assert torch.equal(family.log_jacobian(nothing, points), torch.zeros_like(points[..., 0]))
    if isinstance(family, CPAB):
        assert torch.equal(family.transform(nothing, points), points)


@every_family
@pytest.mark.parametrize("way", ["transform", "inverse", "log_jacobian"])
def test_gradcheck(family, way):
    """Of points away from the edges of cells, at which motions have kinks; in few steps."""
    theta = theta_of(family, std=0.02, rows=2).requires_grad_()
    points = (0.08 + 0.31 * torch.rand(2, 4, family.ndim, generator=seeded(4))).double()
    points.requires_grad_()
    loose = {"tolerance": 1e-3}
    call = getattr(family, way)
    assert torch.autograd.gradcheck(
        lambda t, p: call(t, p, **loose), (theta, points), eps=1e-7, atol=1e-5, fast_mode=True
    )


@every_family
def test_log_jacobian_is_that_of_the_motion(family):
    theta, points = theta_of(family), points_of(family, count=40).requires_grad_()
    moved = family.transform(theta, points, tolerance=1e-6)
    rows = [
        torch.autograd.grad(moved[..., i].sum(), points, retain_graph=True)[0]
        for i in range(family.ndim)
    ]
    expected = torch.stack(rows, dim=-2).det().log()
    got = family.log_jacobian(theta, points, tolerance=1e-6)
    # A point whose path ends at an edge may be on either side of it.
    close = (got - expected).abs() < 2e-3
    assert close.double().mean() > 0.98
    assert far(got, expected) < 0.1
    assert expected.abs().max() > (0.05 if not getattr(family, "preserve_volume", 0) else -1)


@every_family
def test_one_row_of_theta_or_of_points_is_for_all(family):
    theta, points = theta_of(family), points_of(family)
    one = family.transform(theta[:1], points)
    torch.testing.assert_close(one, family.transform(theta[:1].expand(3, -1), points))
    shared = family.transform(theta, points[:1])
    torch.testing.assert_close(shared, family.transform(theta, points[:1].expand(3, -1, -1)))


@every_family
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtypes_agree(family, dtype):
    """The arithmetic is of 32 bits; what is given and what comes out is rounded."""
    theta, points = theta_of(family).to(dtype), points_of(family).to(dtype)
    got = family.transform(theta, points)
    assert got.dtype == dtype
    exact = family.transform(theta.double(), points.double())
    # At an edge rounding decides in which cell a step begins.
    limit = max(1e-5, torch.finfo(dtype).eps)
    assert far(got.double(), exact) < limit


@every_family
def test_autocast_changes_nothing(family):
    theta, points = theta_of(family).float(), points_of(family).float()
    expected = family.transform(theta, points), family.log_jacobian(theta, points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = family.transform(theta, points), family.log_jacobian(theta, points)
    for a, b in zip(expected, got, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("family", [CPAB((2, 2)), CPAB(6), AffineCPAB((2, 1), degrees=4)])
def test_compiles_in_one_graph(family):
    theta, points = theta_of(family).float(), points_of(family).float()
    pace = family.pace(theta)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(family.transform, fullgraph=True, backend="eager")
        got = compiled(theta, points, tolerance=1e-3, pace=pace)
        unknown = compiled(theta, points, tolerance=1e-3)
    expected = family.transform(theta, points, tolerance=1e-3, pace=pace)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(unknown, expected, rtol=0, atol=3e-3)


@every_family
def test_copies_move_alike_and_are_described(family):
    theta, points = theta_of(family), points_of(family)
    expected = family.transform(theta, points)
    copies = [pickle.loads(pickle.dumps(family)), copy.deepcopy(family)]
    copies.append(build(describe(family), "family"))
    for twin in copies:
        assert isinstance(twin, type(family))
        assert describe(twin) == describe(family)
        assert torch.equal(twin.transform(theta, points), expected)
        assert torch.equal(twin.smooth, family.smooth)
    assert not family.state_dict(), "what the arguments make is not saved"


@every_family
def test_wrong_shapes_are_refused(family):
    theta, points = theta_of(family), points_of(family)
    with pytest.raises(
        ValueError, match=rf"`theta` .*\(B, {family.dim}\).*\(3, {family.dim + 1}\)"
    ):
        family.transform(torch.cat([theta, theta[:, :1]], dim=1), points)
    with pytest.raises(ValueError, match="`theta` must be floats"):
        family.inverse(theta.long(), points)
    with pytest.raises(ValueError, match=rf"`points` .*\(B, N, {family.ndim}\).*\(3, 20\)"):
        family.transform(theta, points[..., 0])
    with pytest.raises(ValueError, match=r"same number of rows.*got 3 and 2"):
        family.log_jacobian(theta, points[:2])
    for tolerance in (0, -1.0):
        with pytest.raises(ValueError, match="`tolerance` must be > 0"):
            family.transform(theta, points, tolerance=tolerance)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_theta_that_is_no_number_is_refused(value):
    for family in (CPAB((4, 4)), AffineCPAB((2, 2))):
        theta = theta_of(family)
        theta[1, -1] = value
        with pytest.raises(ValueError, match="`theta` must be finite"):
            family.transform(theta, points_of(family))


def test_theta_that_is_no_number_spoils_its_own_row_where_nothing_is_measured():
    """An index out of range would end a program on a GPU."""
    family = CPAB((4, 4))
    theta, points = theta_of(family), points_of(family)
    pace, expected = family.pace(theta), family.transform(theta, points)
    theta[1] = float("nan")
    got = family.transform(theta, points, pace=pace)
    assert got[1].isnan().all()
    assert torch.equal(got[0], expected[0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Affine(5), ValueError, "`degrees` must be 4 or 6"),
        (lambda: Affine(True), ValueError, "`degrees`"),
        (lambda: AffineCPAB((2, 2), degrees=2), ValueError, "`degrees` must be 4 or 6.*got 2"),
        (lambda: AffineCPAB(4, degrees=6), ValueError, "`degrees` must be 2"),
        (lambda: AffineCPAB((2, 2), affine_share=1.5), ValueError, "`affine_share`"),
        (lambda: CPAB((4, 4), boundary="zero"), ValueError, "`boundary`.*slide"),
        (lambda: CPAB((4, 4, 4)), TypeError, "`cells` must be.*got"),
        (lambda: CPAB("44"), TypeError, "`cells`"),
        (lambda: CPAB((4, 0)), ValueError, "`cells`"),
        (lambda: CPAB((25, 24)), ValueError, "`cells` must be at most 576.*got \\(25, 24\\)"),
        (lambda: AffineCPAB(10**6), ValueError, "`cells` must be at most 576"),
        (lambda: CPAB(1), ValueError, "`cells` must be 2 or more"),
        (lambda: CPAB((4, 4), length=0), ValueError, "`length` must be > 0"),
        (lambda: CPAB(4, preserve_volume=True), ValueError, "`preserve_volume` must be False"),
    ],
)
def test_wrong_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@every_family
def test_another_device_gives_what_the_cpu_gives(family):
    theta, points = theta_of(family), points_of(family)
    with elsewhere():
        there = copy.deepcopy(family).to(DEVICE)
        for name in ("transform", "inverse", "log_jacobian"):
            got = getattr(there, name)(theta.to(DEVICE), points.to(DEVICE))
            assert got.device == DEVICE
            wanted = getattr(family, name)(theta, points)
            torch.testing.assert_close(got.cpu(), wanted, rtol=0, atol=0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@every_family
def test_cuda_gives_what_the_cpu_gives(family):
    theta, points = theta_of(family), points_of(family)
    there = copy.deepcopy(family).cuda()
    got = there.transform(theta.cuda(), points.cuda()).cpu()
    torch.testing.assert_close(got, family.transform(theta, points), rtol=0, atol=1e-9)
    got = there.log_jacobian(theta.cuda(), points.cuda()).cpu()
    torch.testing.assert_close(got, family.log_jacobian(theta, points), rtol=0, atol=1e-7)
