"""The arms of generators: what they have to beat, where they work in a combination, how they are
fitted, and a share of none, which is one of their strengths."""

import numpy as np
import pytest
import torch

import albu_learned as al
from albu_learned.comparison import arms, cells, compare, finish
from albu_learned.comparison.arms import DEFAULT, arms_of
from albu_learned.comparison.recipe import Recipe
from albu_learned.spec import read
from tests.comparison import toy_data

QUICK = "methods: [{method: ClassVAE, fit: {%s}%s}]"
DENSE = "network: dense, steps: 50"
TRIES = ", p: 0.5, try: {p: [0.5, 0.0], sampler: [prior, posterior]}"


pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture
def quick(tmp_path):
    """Writes a spec: how to fit, and more of the entry."""
    return lambda more="", fit=DENSE, name="quick.yaml": toy_data.written(
        tmp_path, QUICK % (fit, more), name
    )


def found(names, kind="images"):
    return {arm.name: arm for arm in arms_of(names, [], kind)}


def cell_of(study, arm):
    return next(cell for cell in study.cells() if cell.arm.name == arm)


def names_of(arm):
    return [atom.name for atom in arm.atoms]


def counted(monkeypatch):
    """How many rows ClassVAE is fitted to, fit by fit."""
    calls, fit = [], al.ClassVAE.fit

    def counting(data, **how):
        calls.append(len(data.train))
        return fit(data, **how)

    monkeypatch.setattr(al.ClassVAE, "fit", counting)
    return calls


def test_they_are_not_among_the_usual_arms():
    assert not {"class-vae", "pca-gaussian"} & set(DEFAULT)
    usual = arms_of(None, [], "images")
    assert not any(atom.kind == "generate" for arm in usual for atom in arm.atoms)


@pytest.mark.parametrize("name", ["class-vae", "ClassVAE", "pca-gaussian", "PCA"])
def test_the_share_is_a_strength_and_may_be_none(name):
    arm = [*found([name]).values()][1]
    assert [strength["p"] for strength in arm.candidates] == [0.4, 0.2, 0.0]


def test_a_comparison_fits_in_its_own_way_unless_told(quick):
    usual = {"few": "keep", "expect": False}
    every = found(["class-vae", quick(), quick(fit="few: merge, expect: true", name="own.yaml")])
    fits = {name: arm.atoms[0].entry.fit for name, arm in every.items() if arm.atoms}
    assert fits == {
        "class-vae": usual,
        "pca-gaussian": {**usual, "network": "pca"},
        "quick": {**usual, "network": "dense", "steps": 50},
        "own": {"few": "merge", "expect": True},
    }


@pytest.mark.parametrize(
    ("arm", "wanted"),
    [
        ("class-vae", ("pca-gaussian",)),
        ("pca-gaussian", ()),
        ("recipe + class-vae", ("recipe", "recipe + pca-gaussian", "recipe + dilution 0.4/0.2/0")),
        ("recipe + pca-gaussian", ("recipe", "recipe + dilution 0.4/0.2/0")),
        (
            "theta-warp + class-vae",
            ("theta-warp", "theta-warp + pca-gaussian", "theta-warp + dilution 0.4/0.2/0"),
        ),
    ],
)
def test_controls_are_added(arm, wanted):
    every = found([arm])
    assert every[arm].controls == wanted
    assert set(wanted) <= every.keys()


def test_the_gaussian_is_no_rival_of_itself(quick):
    assert found([quick(fit="network: pca, latent: 2")])["quick"].controls == ()


def test_the_rival_works_where_the_generator_does(quick):
    early, late = quick(", stage: image"), quick(name="late.yaml")
    every = found([early, f"recipe + {early}", f"recipe + {late}"])
    assert every["quick"].controls == ("pca-gaussian",)  # alone, there is no before and after
    assert "recipe + pca-gaussian on the image" in every["recipe + quick"].controls
    assert "recipe + pca-gaussian" in every["recipe + late"].controls
    assert names_of(every["recipe + quick"]) == ["ClassVAE", "recipe"]
    rival = every["recipe + pca-gaussian on the image"]
    assert names_of(rival) == ["pca-gaussian on the image", "recipe"]
    assert names_of(every["recipe + late"]) == ["recipe", "ClassVAE"]
    assert names_of(every["recipe + pca-gaussian"]) == ["recipe", "pca-gaussian"]


def test_atoms_work_where_their_stage_has_them(tmp_path, monkeypatch):
    monkeypatch.setattr(arms, "MOST_CANDIDATES", 10**6)
    text = "methods: [{method: ClassVAE, stage: batch, fit: {}}, {method: ThetaWarp, stage: batch}]"
    path = toy_data.written(tmp_path, text)  # as a training does it, in the order of the file
    both = found([f"zeta-mixup + recipe + {path}"])["zeta-mixup + recipe + spec"]
    assert names_of(both) == ["recipe", "ClassVAE", "ThetaWarp", "zeta-mixup"]
    both = found(["class-vae + theta-warp"])["class-vae + theta-warp"]
    assert names_of(both) == ["theta-warp", "class-vae"]
    path = toy_data.written(tmp_path, "methods: [{method: ThetaWarp, stage: image}]", "early.yaml")
    assert names_of(found([f"recipe + {path}"])["recipe + early"]) == ["ThetaWarp", "recipe"]


def test_what_is_made_stays_as_it_is_beside_the_recipe(quick, monkeypatch):
    """The recipe changes real images alone; a generator of the stage image has its own changed."""
    monkeypatch.setattr(al.ClassVAE, "pixels", lambda self, images, plan: 0 * images + 0.75)
    marks = []
    for name in ("recipe + pca-gaussian", "recipe + early"):
        arm = found(
            [name.replace("early", quick(", stage: image", fit="network: pca", name="early.yaml"))]
        )[name]
        arm = arm.with_fits(lambda entry: entry.unfitted((1, 8, 8), 3))
        made = arm.pipeline({"p": 0.5}, toy_data.study().given(arm))
        made.changes = [
            (lambda batch: batch.with_images(batch.images / 3)) if isinstance(c, Recipe) else c
            for c in made.changes
        ]
        torch.manual_seed(0)
        images, _ = made(torch.full((99, 1, 8, 8), 0.3), torch.arange(99) % 3, 0)
        marks.append([round(value, 2) for value in images.unique().tolist()])
    assert marks == [[0.1, 0.75], [0.1, 0.25]]


@pytest.mark.parametrize("kind", ["series", "detection"])
def test_only_images_are_generated(kind):
    names = ["class-vae", "recipe + pca-gaussian"]
    every = found(names, kind)
    assert [*every] == ["plain", *names]  # and no controls of what does not run
    assert all("whole images of one class" in every[name].skipped for name in names)


def test_series_are_compared_without_generators():
    study = toy_data.study(toy_data.series(), ["class-vae", "recipe"], steps=2)
    assert {cell.arm.name for cell in study.cells()} == {"plain", "recipe"}


def test_a_share_of_none_is_tried_once(quick):
    every = found([quick(TRIES)])["quick"].candidates
    assert [tuple(one.values()) for one in every] == [
        (0.5, "prior"),
        (0.5, "posterior"),
        (0.0, "prior"),
    ]


@pytest.mark.parametrize(
    ("more", "fit", "said"),
    [
        (", try: {sampler: [prior, posteror]}", DENSE, ".*`sampler` must be one of"),
        (", try: {p: [0.5, 2]}", DENSE, "`p` must be in"),
        (", temperature: -1", DENSE, "`temperature` must be"),
        (", latent: 3", "latent: 3", "`latent` must not stand beside `fit`"),
        ("", "network: densed", "`network` must be one of"),
        ("", "latnt: 3", "`latnt` is not a key of `fit`"),
    ],
)
def test_what_is_wrong_in_a_spec_is_named(quick, more, fit, said):
    with pytest.raises((ValueError, TypeError), match=f"quick.yaml, line 1: {said}"):
        read(quick(more, fit))


def test_every_sampler_has_the_same_fit(quick, monkeypatch):
    study = toy_data.study(arms=[quick(TRIES)], sizes=6, steps=2, holdouts=2)
    cell, calls = cell_of(study, "quick"), counted(monkeypatch)
    assert len(cells.train_cell(study, cell)["tried"]) == 3
    assert calls == [12, 12, 18]  # each hold-out once, and all rows; whatever the strengths
    arm = cells.fitted(study, cell)
    used = [arm.pipeline(s, study.given(arm)).changes[0].steps[0] for s in arm.candidates]
    assert [step.method.sampler for step in used] == ["prior", "posterior", "prior"]
    assert [step.entry.p for step in used] == [0.5, 0.5, 0.0]
    first, *others = [torch.cat([w.flatten() for w in s.method.parameters()]) for s in used]
    assert all(torch.equal(first, other) for other in others)
    assert not torch.equal(first, torch.cat([w.flatten() for w in fresh(used[0].method)]))


def fresh(method):
    return type(method)(**method.arguments()).parameters()


def test_arms_share_their_fits(monkeypatch):
    study = toy_data.study(
        arms=["pca-gaussian", "label smoothing + pca-gaussian"], sizes=6, steps=2
    )
    calls = counted(monkeypatch)
    for cell in study.cells():
        cells.train_cell(study, cell)
    assert calls == [12, 18]
    cells.forget()
    cells.train_cell(study, cell_of(study, "pca-gaussian"))
    assert calls == [12, 18, 12, 18]


def test_seeds_have_fits_of_their_own(monkeypatch):
    study = toy_data.study(arms=["pca-gaussian"], sizes=[4, 6], seeds=2, steps=2)
    calls = counted(monkeypatch)
    for cell in study.cells():
        cells.train_cell(study, cell)
    assert calls == 2 * [9, 12, 12, 18]


def test_a_share_of_none_is_plain_training(quick):
    study = toy_data.study(arms=[quick(", p: 0, try: {sampler: [prior]}")], sizes=6, steps=20)
    plain, none = (cells.train_cell(study, cell_of(study, name)) for name in ("plain", "quick"))
    assert all(torch.equal(w, none["weights"][name]) for name, w in plain["weights"].items())


def test_validation_can_choose_a_share_of_none(quick, monkeypatch):
    """Here samples are images of other rows, and so of other classes."""
    monkeypatch.setattr(al.ClassVAE, "pixels", lambda self, images, plan: images.roll(1, 0))
    path = quick(", p: 0.8, stage: batch, try: {p: [0.8, 0.0]}")
    study = toy_data.study(arms=[path], sizes="all", steps=60)
    trained = cells.train_cell(study, cell_of(study, "quick"))
    assert trained["strength"] == {"p": 0.0}
    assert [strength["p"] for strength, _ in trained["tried"]] == [0.8, 0.0]


@pytest.mark.filterwarnings("error")
def test_one_image_of_each_class_is_enough():
    study = toy_data.study(arms=["pca-gaussian"], sizes=[1, 2], steps=3)
    assert not [remark for remark in study.remarks if "cannot be fitted" in remark]
    for cell in study.cells():
        cells.train_cell(study, cell)


def test_a_warp_without_a_fit_leaves_the_generator_its_own():
    study = toy_data.study(arms=["theta-warp + pca-gaussian"], sizes=1, steps=2)
    cell = cell_of(study, "theta-warp + pca-gaussian")
    with pytest.warns(UserWarning, match="It is used without a fit"):
        warp, gaussian = cells.fitted(study, cell).atoms
    assert warp.entry.fitted is not None
    rows = cells._feed(study, cell)[torch.arange(3)]  # one of each class, which it knows by heart
    made = gaussian.entry.fitted.sample(torch.arange(3))
    torch.testing.assert_close(made, rows, atol=2e-2, rtol=0)


def test_a_generator_of_no_data_is_not_used(quick):
    study = toy_data.study(arms=[quick(fit="network: dense, steps: 5, few: error")], sizes=1)
    with pytest.raises(ValueError, match=r"must have 4 or more of every class.*few=\"keep\""):
        cells.train_cell(study, cell_of(study, "quick"))


def test_a_whole_comparison_of_digits(tmp_path, quick, monkeypatch):
    datasets = pytest.importorskip("sklearn.datasets")
    given = datasets.load_digits(n_class=3)
    images = (given.images * 15.9).astype(np.uint8)
    split = np.arange(len(images)) < 300
    parts = {"train_x": images[split], "train_y": given.target[split]}
    parts |= {"test_x": images[~split], "test_y": given.target[~split]}
    np.savez(tmp_path / "digits.npz", **parts)
    monkeypatch.setattr(finish, "draw_plots", lambda *_: {})  # they take longer than all the rest
    path = quick(", stage: batch, p: 0.4, try: {p: [0.4, 0.0]}")
    done = compare(
        tmp_path / "digits.npz",
        [path],
        out=tmp_path / "out",
        say=lambda text: None,
        **{**toy_data.TINY, "seeds": 2, "steps": 30, "measure": "macro_f1"},
    )
    assert [facts.name for facts in done.outcome.ran] == ["plain", "quick", "pca-gaussian"]
    assert len(done.outcome.results) == 6
    for result in done.outcome.results:
        assert 0.4 < result.measures["macro_f1"] <= 1  # of three classes
        tried = [strength["p"] for strength, _ in result.tried]
        assert tried == {"plain": [], "quick": [0.4, 0.0]}.get(result.arm, [0.4, 0.2, 0.0])
    assert len([*(tmp_path / "out" / "samples").glob("arm_*.png")]) == 3
    assert "from the Gaussian of each class" in done.report.read_text()
