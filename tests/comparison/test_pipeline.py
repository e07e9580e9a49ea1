"""What arms do to a batch: rows and labels out, and nothing that was not asked for."""

import math

import pytest
import torch

from albu_learned.batch import Batch
from albu_learned.comparison import arms, recipe
from albu_learned.comparison.arms import arms_of
from albu_learned.comparison.pipeline import Mixup, Pipeline, one_hot
from albu_learned.comparison.recipe import Recipe
from albu_learned.spec import Given
from tests import toys
from tests.cases import shifted
from tests.comparison import toy_data

GIVEN = Given("a test", frozenset({"images", "labels"}), toy_data.CLASSES, 3)
LABELS = torch.arange(300) % 3


@pytest.fixture(autouse=True)
def seeded(monkeypatch):
    monkeypatch.setattr(arms, "MOST_CANDIDATES", 10**6)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def images():
    return torch.rand(300, 1, 6, 6)


def pipeline_of(name, strength=None):
    arm = next(a for a in arms_of([name], [], "images") if a.name != "plain")
    return arm.pipeline(strength or {}, GIVEN)


def test_plain_gives_back_what_it_is_given(images):
    same, soft = Pipeline(3)(images, LABELS, 0)
    assert torch.equal(same, images)
    assert torch.equal(soft, one_hot(LABELS, 3))


def test_label_smoothing_by_hand(images):
    same, soft = pipeline_of("label smoothing", {"smoothing": 0.3})(images, LABELS, 0)
    assert torch.equal(same, images)
    torch.testing.assert_close(soft[1], torch.tensor([0.1, 0.8, 0.1]))


@pytest.mark.parametrize("share", [0.25, 0.75])
@pytest.mark.parametrize("rest", ["recipe", "mixup", "zeta-mixup", "recipe + zeta-mixup"])
def test_dilution_gives_back_originals_with_hard_labels(images, rest, share):
    changed, soft = pipeline_of(f"{rest} + dilution", {"share": share})(images, LABELS, 0)
    same = (changed == images).flatten(1).all(dim=1)
    assert abs(same.float().mean() - share) < 0.08
    assert torch.equal(soft[same], one_hot(LABELS, 3)[same])
    if "mixup" in rest:  # what is not given back is mixed, with labels that are
        partner = (soft[~same].amax(dim=1) < 1).float().mean()
        assert partner > 0.5


def test_mixup_mixes_images_and_labels_with_one_weight():
    rows = torch.eye(6).view(6, 1, 1, 6)
    leads = []
    for _ in range(60):
        mixed = Mixup(1.0, 1.0, 6)(Batch(images=rows, labels=torch.arange(6)))
        torch.testing.assert_close(mixed.images.view(6, 6), mixed.labels)
        torch.testing.assert_close(mixed.labels.sum(dim=1), torch.ones(6))
        leads.append(mixed.labels.diagonal().min().item())
    assert min(leads) >= 0.5 - 1e-6
    assert sum(leads) / len(leads) == pytest.approx(0.75, abs=0.06)  # max of a uniform and its rest


@pytest.mark.parametrize(("p", "least", "most"), [(0.0, 0, 0), (0.5, 15, 45), (1.0, 60, 60)])
@pytest.mark.parametrize("name", ["mixup", "zeta-mixup"])
def test_p_is_the_share_of_batches_that_are_mixed(images, name, p, least, most):
    pipeline = pipeline_of(name, {"p": p, "alpha": 1.0})
    softened = [pipeline(images[:9], LABELS[:9], 0)[1].amax(dim=1).min() < 1 for _ in range(60)]
    assert least <= sum(softened) <= most


def spec_of(folder, text):
    shifted(toys.FreeShift(), [[0.2, 0], [0.2, 0]]).save_pretrained(folder / "warp")
    return pipeline_of(toy_data.written(folder, text))


def test_limited_epochs_are_obeyed(images, tmp_path):
    text = "methods: [{artifact: warp, p: 1, from_epoch: 1, until_epoch: 3}]"
    pipeline = spec_of(tmp_path, text)
    moved = [not torch.equal(pipeline(images, LABELS, epoch)[0], images) for epoch in range(5)]
    assert moved == [False, True, True, False, False]


def test_a_method_that_changes_nothing_stops_the_training(images, tmp_path):
    pipeline = spec_of(tmp_path, "methods: [{artifact: warp, p: 0.5}]")
    pipeline.changes[0].steps[0].choose = lambda count: torch.arange(0)
    pipeline(images, LABELS, 0)
    with pytest.raises(RuntimeError, match=r"line 1: FreeShift must change rows .* none of 300"):
        pipeline(images, LABELS, 1)  # the epoch before is closed
    with pytest.raises(RuntimeError, match="in epoch 0 it changed none of 300 rows"):
        pipeline.close()


def test_p_of_nothing_is_no_mistake(images, tmp_path):
    pipeline = spec_of(tmp_path, "methods: [{artifact: warp, p: 0}]")
    assert torch.equal(pipeline(images, LABELS, 0)[0], images)
    pipeline.close()


def test_a_mix_may_leave_a_batch_alone(images, tmp_path):
    """p is decided for a batch at once: an epoch of one batch is often left as it is."""
    pipeline = spec_of(tmp_path, "methods: [{method: ZetaMixup, p: 0.5}]")
    hard = [pipeline(images, LABELS, epoch)[1].amax(dim=1).min() == 1 for epoch in range(12)]
    pipeline.close()
    assert 0 < sum(hard) < 12


def coordinates(height, width):
    """An image whose two channels are the row and the column of each pixel."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([y, x]).float()[None]


def inside(image):
    return image[0, :, 12:20, 24:40]


def drawn(monkeypatch, **values):
    """Fixes what the recipe draws: angle and zoom, then the shifts to the side and down."""
    order = iter([values.get(name, 0.0) for name in ("angle", "zoom", "x", "y")])
    monkeypatch.setattr(
        Recipe, "_drawn", lambda self, count, most: torch.full((count,), next(order))
    )


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"x": 0.125}, lambda y, x: (y, x + 8)),
        ({"y": -0.125}, lambda y, x: (y - 4, x)),
        ({"zoom": math.log(0.5)}, lambda y, x: (16 + (y - 16) / 2, 32 + (x - 32) / 2)),
    ],
)
def test_the_recipe_moves_and_zooms(monkeypatch, change, wanted):
    given = coordinates(32, 64)
    drawn(monkeypatch, **change)
    found = Recipe()(Batch(images=given)).images
    y, x = given[0] + 0.5  # centres
    expected = torch.stack([value - 0.5 for value in wanted(y, x)])[None]
    torch.testing.assert_close(inside(found), inside(expected), atol=1e-3, rtol=0)


def test_the_recipe_turns_pixels_and_not_fractions(monkeypatch):
    drawn(monkeypatch, angle=0.3)
    found = inside(Recipe()(Batch(images=coordinates(32, 64))).images)
    down, right = found[:, 1, 0] - found[:, 0, 0], found[:, 0, 1] - found[:, 0, 0]
    assert down.norm() == pytest.approx(1, abs=1e-3)  # nothing is sheared or stretched
    assert right.norm() == pytest.approx(1, abs=1e-3)
    assert down @ right == pytest.approx(0, abs=1e-3)
    assert abs(math.atan2(right[0], right[1])) == pytest.approx(0.3, abs=1e-3)


def test_the_recipe_mirrors_half_of_the_images(monkeypatch):
    given = torch.rand(200, 1, 8, 8)
    found = Recipe(0.0, flip=True)(Batch(images=given)).images
    same = ((found - given).abs().flatten(1).amax(1) < 1e-4).float().mean()
    flipped = ((found - given.flip(3)).abs().flatten(1).amax(1) < 1e-4).float().mean()
    assert same + flipped == 1
    assert 0.35 < flipped < 0.65
    assert torch.allclose(Recipe(0.0)(Batch(images=given)).images, given, atol=1e-4)


def test_the_magnitude_is_the_most_that_is_drawn():
    for most in (recipe.ANGLE, recipe.SHIFT):
        for magnitude in (0.25, 1.0):
            values = Recipe(magnitude)._drawn(5000, most)
            assert values.abs().max() <= magnitude * most
            assert values.abs().max() > 0.98 * magnitude * most
            assert values.mean().abs() < 0.05 * magnitude * most


def test_the_recipe_of_series():
    times = torch.linspace(0, 20, 100)
    given = torch.stack([times.sin(), 3 * times.cos()]).repeat(50, 1, 1)
    found = Recipe(0.5)(Batch(images=given)).images
    assert found.shape == given.shape
    assert (found != given).flatten(1).any(dim=1).all()
    loud = found.std(dim=(0, 2)) / given.std(dim=(0, 2))
    assert loud.sub(1).abs().max() < 0.1  # noise in units of the channel
    assert torch.equal(Recipe(0.0)(Batch(images=given)).images, given)


@pytest.mark.parametrize("arm", ["recipe", "mixup", "zeta-mixup", "recipe + mixup"])
def test_labels_stay_shares_of_one(images, arm):
    changed, soft = pipeline_of(arm)(images, LABELS, 0)
    assert changed.shape == images.shape
    assert changed.isfinite().all()
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(300))
