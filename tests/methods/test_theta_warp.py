"""ThetaWarp itself: its noise, its plan, its field. What `fit` does is tested beside it."""

import pytest
import torch

import albu_learned as al
from albu_learned.families import Pace
from albu_learned.methods.theta_warp.field import ThetaField


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def batch(rows=4, classes=None, side=24):
    labels = None if classes is None else torch.arange(rows) % classes
    return al.Batch(images=torch.rand(rows, 3, side, side, generator=seeded(9)), labels=labels)


def thetas(method, rows, seed=0, labels=None):
    given = al.Batch(images=torch.zeros(rows, 1, 2, 2), labels=labels)
    return method.plan(given, method.draw(rows, seeded(seed)))["theta"]


def test_noise_is_standard_normal_and_of_the_family():
    noise = al.ThetaWarp(al.CPAB((2, 2))).draw(5000, seeded(0))
    assert set(noise) == {"z"}
    assert noise["z"].shape == (5000, 14)
    assert noise["z"].mean().abs() < 0.01
    assert noise["z"].std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("std", [0.02, 0.05])
def test_std_is_how_far_points_move(std):
    method = al.ThetaWarp.from_prior(al.AffineCPAB((2, 2)), std=std)
    theta = thetas(method, 2000)
    points = torch.rand(2000, 20, 2, generator=seeded(1))
    moved = method.field({"theta": theta}).points_back(points)
    assert (moved - points).square().sum(-1).mean().sqrt() / std == pytest.approx(1, abs=0.1)


def test_std_and_scale_multiply_the_same_noise():
    family = al.CPAB((2, 2))
    one, other = al.ThetaWarp(family, std=0.1), al.ThetaWarp(family, std=0.05, scale=2.0)
    half = al.ThetaWarp(family, std=0.05)
    torch.testing.assert_close(thetas(one, 5), thetas(other, 5))
    torch.testing.assert_close(thetas(one, 5), 2 * thetas(half, 5))


def test_theta_and_minus_theta_are_alike_and_cover_the_factor():
    method = al.ThetaWarp(al.CPAB((2, 2)), std=0.05)
    theta = thetas(method, 20000).double()
    expected = 0.05**2 * method.factor[0].double() @ method.factor[0].double().mT
    found = theta.mT @ theta / len(theta)
    assert (found - expected).abs().max() < 0.05 * expected.diagonal().max()
    assert theta.mean(0).abs().max() < 0.05 * expected.diagonal().max().sqrt()


def test_each_class_has_its_own_distribution():
    method = al.ThetaWarp(al.CPAB((2, 2)), distributions=3)
    with torch.no_grad():
        method.factor[1] = 0
        method.factor[2] *= 2
    method.measure()
    noise = {"z": torch.ones(6, 14)}
    theta = method.plan(batch(6, 3), noise)["theta"]
    assert not theta[1].any()
    assert not theta[4].any()
    torch.testing.assert_close(theta[2], 2 * theta[0])
    torch.testing.assert_close(theta[0], theta[3])
    expected = 0.05 * method.factor[0] @ torch.ones(14)
    torch.testing.assert_close(theta[0], expected)


def test_a_class_is_needed_and_must_exist():
    method = al.ThetaWarp(al.CPAB((2, 2)), distributions=2)
    assert method.needs == {"labels"}
    with pytest.raises(ValueError, match="labels"):
        method(batch())
    with pytest.raises(ValueError, match=r"2"):
        method(batch(4, 3))
    with pytest.raises(ValueError, match="labels"):
        method(al.Batch(images=batch().images, labels=torch.rand(4, 2).softmax(1)))
    assert al.ThetaWarp(al.CPAB((2, 2))).needs == frozenset()


def test_images_go_one_way_and_points_the_other():
    """A turn by a quarter: to sample at +90 degrees turns what is seen by -90."""
    method = al.ThetaWarp(al.Affine(), padding="zeros")
    plan = {"theta": torch.tensor([[torch.pi / 2, 0.0, 0.0, 0.0]])}
    image = torch.rand(1, 1, 9, 9)
    points = torch.tensor([[[0.9, 0.5]]])
    out = method.apply(al.Batch(images=image, points=points), plan)
    torch.testing.assert_close(out.images, image.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.points.values, torch.tensor([[0.5, 0.1]]), rtol=0, atol=1e-5)


def test_the_pace_is_that_of_the_distribution():
    family = al.CPAB((4, 4))
    weak, strong = al.ThetaWarp(family, std=0.02), al.ThetaWarp(family, std=0.1)
    assert all(a > b > 0 for a, b in zip(strong.pace, weak.pace, strict=True))
    assert strong.pace.turning / weak.pace.turning == pytest.approx(5, rel=1e-3)
    theta = thetas(strong, 200)
    each = torch.tensor([family.pace(row[None]) for row in theta])
    share = (each <= torch.tensor(strong.pace)).float().mean(0)
    assert ((share > 0.8) & (share < 0.97)).all(), "of nine tenths of the motions"
    assert al.ThetaWarp(al.Affine()).pace == Pace()


def test_the_pace_follows_what_is_loaded(tmp_path):
    method = al.ThetaWarp(al.CPAB((2, 2)))
    with torch.no_grad():
        method.factor *= 3
    before = method.pace
    method.measure()
    assert method.pace.turning == pytest.approx(3 * before.turning)
    other = al.ThetaWarp(al.CPAB((2, 2)))
    other.load_state_dict(method.state_dict())
    assert other.pace == method.pace


def test_an_image_comes_out_the_same_in_every_batch():
    method = al.ThetaWarp(al.CPAB((4, 4)))
    theta = thetas(method, 6)
    theta[3] *= 3  # far stronger than the others
    images = batch(6).images
    together = method.apply(al.Batch(images=images), {"theta": theta}).images
    for i in (0, 3):
        one = slice(i, i + 1)
        alone = method.apply(al.Batch(images=images[one]), {"theta": theta[one]}).images
        torch.testing.assert_close(alone, together[one], rtol=0, atol=1e-5)


def test_a_field_and_its_inverse_undo_each_other():
    method = al.ThetaWarp()
    field = method.field({"theta": thetas(method, 3)})
    points = torch.rand(3, 50, 2, generator=seeded(2))
    torch.testing.assert_close(field.points(field.points_back(points)), points, rtol=0, atol=3e-5)
    like = torch.empty(0)
    turned = field.inverse()
    assert torch.equal(turned.grid((20, 30), like), field.grid_back((20, 30), like))
    assert torch.equal(turned.lattice((20, 30)), field.lattice_back((20, 30)))


def test_a_lattice_runs_from_border_to_border():
    method = al.ThetaWarp(al.CPAB((4, 4)))
    field = method.field({"theta": thetas(method, 2)})
    lattice = field.lattice((224, 96))
    assert lattice.shape[0] == 2
    assert lattice.shape[1] > lattice.shape[2]
    corners = lattice[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    expected = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).expand(2, -1, -1)
    torch.testing.assert_close(corners, expected, rtol=0, atol=1e-6)
    assert ThetaField(al.CPAB(5), torch.zeros(1, 4)).lattice((30,)) is None


def test_theta_gets_gradients_through_images():
    method = al.ThetaWarp(al.CPAB((2, 2)))
    theta = thetas(method, 2).requires_grad_()
    images = batch(2).images
    method.apply(al.Batch(images=images), {"theta": theta}).images.square().sum().backward()
    assert theta.grad.isfinite().all()
    assert theta.grad.abs().sum() > 0


def test_series():
    method = al.ThetaWarp(al.AffineCPAB(6), std=0.1)
    series = torch.rand(3, 2, 40)
    out = method(al.Batch(images=series), generator=seeded(0)).images
    assert out.shape == series.shape
    assert not torch.equal(out, series)


@pytest.mark.parametrize(
    ("family", "shape", "message"),
    [
        (
            al.AffineCPAB(6),
            (3, 1, 8, 8),
            r"must be series \(B, C, T\), for which this ThetaWarp is made, got \(3, 1, 8, 8\)\. "
            "For images take",
        ),
        (
            al.AffineCPAB((2, 2)),
            (3, 8, 8),
            r"must be images \(B, C, H, W\), for .* got \(3, 8, 8\)\. Of one image give",
        ),
    ],
)
def test_series_for_a_warp_of_images_are_refused_and_the_reverse(family, shape, message):
    with pytest.raises(ValueError, match=f"`images` {message}"):
        al.ThetaWarp(family)(al.Batch(images=torch.rand(shape)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"std": 0}, ValueError, "`std` must be a number > 0, such as 0.05"),
        ({"std": "strong"}, (TypeError, ValueError), "`std`"),
        ({"scale": -1.0}, ValueError, "`scale` must be a number > 0"),
        ({"std": 5.0}, ValueError, "at most 0.5 of the image's side.*got 5.0 times 1.*std=0.05"),
        ({"std": 0.1, "scale": 10.0}, ValueError, "`std` times `scale`.*got 0.1 times 10.0"),
        ({"family": "cpab"}, TypeError, "`family` must be a Family.*'cpab'"),
        ({"distributions": 0}, ValueError, "`distributions`"),
        ({"padding": "wrap"}, ValueError, "`padding`"),
        ({"box": "hull"}, ValueError, "`box`"),
        ({"min_visible": 2.0}, ValueError, "`min_visible`"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        al.ThetaWarp(**arguments)


def test_theta_of_another_family_is_refused():
    method = al.ThetaWarp(al.CPAB((2, 2)))
    with pytest.raises(ValueError, match=r"`theta` .*\(B, 14\).*\(4, 62\)"):
        method.apply(batch(), {"theta": torch.zeros(4, 62)})


@pytest.mark.parametrize("wrong", [torch.inf, -torch.inf])
def test_an_artifact_that_moves_without_end_is_refused(wrong, tmp_path):
    broken = al.ThetaWarp(al.Affine())
    broken.factor[0, 1, 2] = wrong
    broken.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="of this ThetaWarp must be of finite numbers"):
        al.load(tmp_path)


def test_it_is_the_same_where_torch_makes_doubles(tmp_path):
    first = al.ThetaWarp(al.AffineCPAB((2, 2)), distributions=2)
    try:
        torch.set_default_dtype(torch.float64)
        second = al.ThetaWarp(al.AffineCPAB((2, 2)), distributions=2)
        second.save_pretrained(tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
    assert al.load(tmp_path).pace == second.pace == first.pace
    assert torch.equal(second.factor, first.factor)
