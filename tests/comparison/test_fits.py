"""Arms that are fitted anew in every cell: to which rows, with which rival, where they are not."""

import inspect

import pytest
import torch

import albu_learned as al
from albu_learned.comparison import cells, networks, subsets
from albu_learned.comparison.arms import arms_of
from albu_learned.spec import Entry, Given, Step, read
from tests.comparison import toy_data

FIT = "methods: [{method: ThetaWarp, fit: {pairs: random, partners: 2}, try: {scale: [1, 2]}}]"


pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture
def fits(monkeypatch):
    """What was fitted to, instead of a fit."""
    calls = []

    def fit(data, **how):
        calls.append((data, data.train.read(torch.arange(len(data.train))), how))
        return al.ThetaWarp(std=0.01)

    fit.__signature__ = inspect.signature(al.ThetaWarp.fit)
    monkeypatch.setattr(al.ThetaWarp, "fit", staticmethod(fit))
    return calls


def cell_of(study, arm):
    return next(cell for cell in study.cells() if cell.arm.name == arm)


def test_an_arm_is_fitted_to_the_rows_that_it_is_trained_on(fits):
    study = toy_data.study(arms=["theta-warp"], sizes=6, steps=2)
    cells.train_cell(study, cell_of(study, "theta-warp"))
    held_out, everything = fits  # once for the hold-out, whatever the strengths; once for good
    assert len(held_out[1]) == len(held_out[0].train.labels) == 12
    assert len(everything[1]) == 18
    rows = {tuple(image.flatten().tolist()) for image in everything[1]}
    assert {tuple(image.flatten().tolist()) for image in held_out[1]} < rows
    assert everything[0].classes == toy_data.CLASSES
    assert held_out[2]["seed"] != everything[2]["seed"]


def test_what_was_fitted_is_used_with_every_strength(fits):
    study = toy_data.study(arms=["theta-warp"], sizes=6, steps=2)
    cell = cell_of(study, "theta-warp")
    arm = cells.fitted(study, cell)
    used = [
        arm.pipeline(strength, study.given(arm)).changes[0].steps[0].method
        for strength in arm.candidates
    ]
    assert [warp.scale for warp in used] == [1.0, 0.7, 1.4]
    assert {warp.std for warp in used} == {0.01}


def test_the_same_warp_without_a_fit_is_its_rival():
    found = {arm.name: arm for arm in arms_of(["theta-warp"], [], "images")}
    assert found["theta-warp"].controls == ("smooth warp",)
    assert len(found["smooth warp"].candidates) == 4
    found = {arm.name: arm for arm in arms_of(["recipe + theta-warp"], [], "series")}
    assert found["recipe + theta-warp"].controls == ("recipe", "recipe + smooth warp")


def test_detection_has_no_classes_to_fit_to():
    found = {arm.name: arm for arm in arms_of(["theta-warp", "smooth warp"], [], "detection")}
    assert "images by class" in found["theta-warp"].skipped
    assert not found["smooth warp"].skipped


def test_a_spec_says_how_to_fit(tmp_path, fits):
    path = toy_data.written(tmp_path, FIT)
    study = toy_data.study(arms=[path], sizes=6, steps=2)
    cell = [*study.cells()][1]
    cells.train_cell(study, cell)
    assert {(how["pairs"], how["partners"]) for _, _, how in fits} == {("random", 2)}
    assert "fit" in str(cell.arm.described())
    assert "fitted to the training images" in cell.arm.facts().about


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("methods: [{method: ThetaWarp, fit: {partner: 5}}]", "Did you mean `partners`"),
        ("methods: [{method: ThetaWarp, fit: {seed: 5}}]", "`seed` is not a key of `fit`"),
        ("methods: [{method: ZetaMixup, fit: {}}]", "`fit` is not a key of ZetaMixup"),
        (
            "methods:\n- method: ThetaWarp\n  p: 1\n  fit: {partners: 0}",
            "yaml, line 4: `partners` must be an integer >= 1, got 0",
        ),
        (
            "methods:\n- method: ThetaWarp\n  fit:\n    partners: 1\n    pairs: nearest",
            "yaml, line 5: `pairs` must be one of .* got 'nearest'",
        ),
        ("methods: [{method: ThetaWarp, fit: {most: 1}}]", "line 1: `most` must be an integer"),
        ("methods: [{method: ThetaWarp, fit: {per_class: 2}}]", "line 1: `per_class` must be True"),
        ("methods: [{method: ThetaWarp, fit: {family: cpab}}]", "line 1: `family` must be a Fam"),
        (
            "methods:\n- method: ThetaWarp\n  fit: {family: {CPAV: {}}}",
            "line 3: `family` must name a part .* Did you mean `CPAB`",
        ),
        ("methods: [{method: ThetaWarp, fit: {padding: wrap}}]", "line 1: `padding` must be one"),
    ],
)
def test_a_wrong_fit_is_named(tmp_path, text, said):
    with pytest.raises((ValueError, TypeError), match=said):
        read(toy_data.written(tmp_path, text))


def test_a_training_does_not_fit(tmp_path):
    (entry,) = read(toy_data.written(tmp_path, FIT)).entries
    with pytest.raises(ValueError, match="Fit it once, with `albu-learned fit`"):
        Step(entry, Given("timm", frozenset({"images", "labels"}), ("a", "b", "c"), 3))


def test_the_nearest_neighbour_is_a_model():
    study = toy_data.study(arms=["mixup"], sizes=6, steps=3, model="nearest")
    cell = cell_of(study, "mixup")
    trained = cells.train_cell(study, cell)
    found = cells.test_cell(study, cell, trained["weights"])
    assert 0 <= found["measures"]["accuracy"] <= 1
    assert trained["weights"]["1.seen"].shape == (24, 64)  # three batches of 8


def test_the_nearest_neighbour_of_a_training_row_is_itself():
    nearest = networks.Nearest(3)
    rows, labels = torch.rand(9, 2, 4), torch.arange(9) % 3
    assert torch.equal(nearest(rows), torch.zeros(9, 3))  # before it has seen any
    nearest.remember(rows[:5], labels[:5])
    nearest.remember(rows[5:], labels[5:])
    assert torch.equal(nearest(rows).argmax(dim=1), labels)
    asked = torch.rand(20, 2, 4)
    by_hand = (asked.flatten(1)[:, None] - rows.flatten(1)).square().sum(dim=2).argmin(dim=1)
    assert torch.equal(nearest(asked).argmax(dim=1), labels[by_hand])
    twin = networks.Nearest(3)
    twin.load_state_dict(nearest.state_dict())
    assert torch.equal(twin(rows), nearest(rows))


@pytest.mark.parametrize("kind", ["images", "series", "detection"])
def test_every_built_in_warp_moves_data_of_its_kind(kind):
    images = torch.rand(2, 1, 20) if kind == "series" else torch.rand(2, 3, 12, 16)
    given = Given("a test", frozenset({"images", "labels"}), ("a", "b"), 2)
    for arm in arms_of(["smooth warp", "theta-warp"], [], kind):
        for atom in arm.with_fits(Entry.unfitted).atoms:
            moved = Step(atom.entry, given).method(images)
            assert moved.shape == images.shape


def test_partners_come_from_other_groups(fits):
    groups = torch.arange(18) // 3
    given = toy_data.images(train=18, groups=groups)
    study = toy_data.study(given, ["theta-warp"], sizes=6, steps=2)
    cells.train_cell(study, cell_of(study, "theta-warp"))
    for given, images, how in fits:
        known = [(study.data.train.rows == image).all(-1).all(-1)[:, 0] for image in images]
        assert given.train.groups.tolist() == [int(groups[which]) for which in known]
        assert how["device"] == torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("methods: [{method: ThetaWarp, std: 0.1, fit: {}}]", "`std` must not stand beside `fit`"),
        ("methods: [{method: ThetaWarp, fit: {scale: 2}}]", "`scale` must stand beside `fit`"),
    ],
)
def test_what_a_fit_finds_out_is_not_given(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        read(toy_data.written(tmp_path, text))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(toy_data.series, 10), (toy_data.images, [4, 4])],
    ids=["series", "images"],
)
def test_the_data_choose_the_family_that_a_spec_leaves_out(tmp_path, given, wanted):
    path = toy_data.written(tmp_path, "methods: [{method: ThetaWarp, fit: {partners: 1}}]")
    study = toy_data.study(given(), [path], sizes=2, steps=2)
    cell = cell_of(study, "spec")
    for arm in (cells.fitted(study, cell), unfitted(cell.arm, study)):
        (entry,) = [atom.entry for atom in arm.atoms]
        assert entry.build().family.arguments()["cells"] == wanted


def unfitted(arm, study):
    count = len(study.data.classes)
    return arm.with_fits(lambda entry: entry.unfitted(study.data.shape, count))


def test_before_a_fit_a_generator_is_made_for_the_shape_and_classes_of_the_data(tmp_path):
    path = toy_data.written(tmp_path, "methods: [{method: ClassVAE, fit: {network: dense}}]")
    study = toy_data.study(arms=[path], sizes=4, steps=2)  # where it was tried on all classes
    (atom,) = unfitted(cell_of(study, "spec").arm, study).atoms
    method = atom.entry.build()
    assert (method.shape, method.num_classes, method.network) == ([1, 8, 8], 3, "dense")


def test_a_family_for_other_data_is_refused_before_the_first_training(tmp_path):
    path = toy_data.written(tmp_path, "methods:\n- {method: ThetaWarp, fit: {family: [9, 9]}}")
    with pytest.raises(ValueError, match=r"line 2: `family` must have no more cells .*\(4, 4\)"):
        toy_data.study(arms=[path])
    with pytest.raises(ValueError, match="line 2: `family` must be one for series"):
        toy_data.study(toy_data.series(), arms=[path])


def test_a_class_of_one_row_is_moved_without_a_fit_by_the_family_of_the_data(tmp_path):
    path = toy_data.written(tmp_path, "methods: [{method: ThetaWarp, fit: {}}]")
    study = toy_data.study(toy_data.series(), [path], sizes=1, steps=2)
    with pytest.warns(UserWarning, match="It is used without a fit"):
        (atom,) = cells.fitted(study, cell_of(study, "spec")).atoms
    assert atom.entry.build().family.ndim == 1


def test_a_fit_reads_no_more_rows_than_it_uses(tmp_path, monkeypatch):
    path = toy_data.written(tmp_path, "methods: [{method: ThetaWarp, fit: {most: 2}}]")
    study = toy_data.study(arms=[path], sizes="all", steps=2)
    monkeypatch.setattr("albu_learned.comparison.train.KEPT", 0)  # a set too large for the memory
    cell = cell_of(study, "spec")
    feed = cells._feed(study, cell)
    log = toy_data.log_of(study.data)
    log.clear()
    few = cells._fitted(study, cell, feed)
    assert log == [("read train", 6)]
    everything = al.ThetaWarp.fit(  # the same rows are chosen from all
        feed[torch.arange(30)],
        feed.labels,
        most=2,
        seed=subsets.derived("fit", 0, study.settings.sizes[0], "all"),
        progress=False,
    )
    assert torch.equal(few.atoms[0].entry.build().factor, everything.factor)
