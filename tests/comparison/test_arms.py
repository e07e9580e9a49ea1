"""Arms by their names: what they are made of, the strengths they choose from, their controls."""

import pickle
import shutil

import pytest
import torch

from albu_learned.comparison import arms
from albu_learned.comparison.arms import DEFAULT, arms_of
from albu_learned.comparison.atoms import BUILT_IN, built_in
from albu_learned.spec import Given
from tests import pools, toys
from tests.cases import shifted
from tests.comparison import toy_data

GIVEN = Given("a test", frozenset({"images", "labels"}), toy_data.CLASSES, 3)
MIX = "methods: [{method: ZetaMixup, gamma: 4}]"
MIX_HALF = "methods: [{method: ZetaMixup, gamma: 4, p: 0.5}]"
WARP = "methods: [{artifact: warp, p: 0.25}]"


@pytest.fixture
def spec(tmp_path):
    """Writes a spec, beside which there is an artifact."""
    shifted(toys.FreeShift(noise=0.1), [[0.1, 0], [0, 0.1]]).save_pretrained(tmp_path / "warp")
    return lambda text, name="own.yaml": toy_data.written(tmp_path, text, name)


def found(names, specs=(), kind="images", **against):
    return {arm.name: arm for arm in arms_of(names, specs, kind, **against)}


def controls(names, specs=(), kind="images"):
    return {name: arm.controls for name, arm in found(names, specs, kind).items()}


def test_the_usual_arms():
    every = found(None)
    assert list(every) == list(DEFAULT)
    assert next(iter(found(["mixup"]))) == "plain"  # asked for or not
    assert found(["plain", "plain"]).keys() == {"plain"}


def test_a_spec_is_an_arm_alone_and_with_the_recipe(spec):
    every = list(found(None, [spec(WARP)]))
    assert every[: len(DEFAULT)] == list(DEFAULT)
    assert every[len(DEFAULT) :] == ["own", "recipe + own", "recipe + dilution 0.25"]


@pytest.mark.parametrize("name", ["zeta", "zeta-mixup", "ZetaMixup", " Zeta-Mixup "])
def test_names_have_short_forms(name):
    assert "zeta-mixup" in found([name])
    assert "label smoothing" in found(["smoothing"])


def test_an_arm_that_is_named_twice_is_one(spec):
    path = spec(WARP)
    every = arms_of(["mixup", "mixup", path], [path], "images")
    assert len({arm.name for arm in every}) == len(every)


@pytest.mark.parametrize(
    ("arm", "text", "wanted"),
    [
        ("recipe", None, {"recipe": ()}),
        ("mixup", None, {"mixup": ("label smoothing",)}),
        ("label smoothing", None, {"label smoothing": ()}),
        (
            "recipe + mixup",
            None,
            {
                "recipe + mixup": ("recipe", "recipe + label smoothing", "recipe + dilution 1/0.5"),
                "recipe + label smoothing": ("recipe",),
            },
        ),
        (
            "recipe + label smoothing + own",
            MIX,
            {"recipe + label smoothing + own": ("recipe + label smoothing",)},
        ),
        ("own", MIX, {"own": ("label smoothing",)}),
        ("own", WARP, {"own": ()}),
        ("recipe + own", MIX, {"recipe + own": ("recipe", "recipe + label smoothing")}),
        (
            "recipe + own",
            MIX_HALF,
            {"recipe + own": ("recipe", "recipe + label smoothing", "recipe + dilution 0.5")},
        ),
        ("recipe + own", WARP, {"recipe + own": ("recipe", "recipe + dilution 0.25")}),
        ("recipe + own", WARP.replace("0.25", "1"), {"recipe + own": ("recipe",)}),
        (
            "recipe + own",
            WARP.replace("0.25", "0.25, try: {p: [0.5, 0.25]}"),
            {"recipe + own": ("recipe", "recipe + dilution 0.25/0.5")},
        ),
        (
            "recipe + own",
            "methods: [{artifact: warp, p: 0.5}, {method: ZetaMixup, p: 0.5}]",
            {"recipe + own": ("recipe", "recipe + label smoothing", "recipe + dilution 0.75")},
        ),
    ],
)  # fmt: skip
def test_controls_are_added(spec, arm, text, wanted):
    name = arm if text is None else arm.replace("own", spec(text))
    of = controls([name])
    assert wanted.items() <= of.items()
    assert {control for names in of.values() for control in names} <= of.keys()
    assert of["plain"] == ()


def test_dilution_offers_the_shares_that_the_last_part_may_change(spec):
    text = WARP.replace("0.25", "0.25, try: {p: [0.5, 0.25, 1]}")
    every = found([f"recipe + {spec(text)}"])
    offered = {c["share"] for c in every["recipe + dilution 0.25/0.5/1"].candidates}
    assert offered == {0.25, 0.5, 1.0}
    fixed = found([f"recipe + {spec(WARP)}"])["recipe + dilution 0.25"]
    assert fixed.pipeline({}, GIVEN).plain == 0.25


def test_a_learned_mix_has_to_beat_mixup_where_it_runs(spec):
    assert controls(["zeta-mixup"])["zeta-mixup"] == ("label smoothing",)
    assert controls(["zeta-mixup", "mixup"])["zeta-mixup"] == ("label smoothing", "mixup")
    both = controls(["recipe + mixup", f"recipe + {spec(MIX)}", "mixup"])
    assert both["recipe + own"] == ("recipe", "recipe + label smoothing", "recipe + mixup")


def test_against_adds_a_control():
    every = found(["mixup", "recipe"], against={"mixup": ["recipe"], "recipe": ["plain"]})
    assert every["mixup"].controls == ("label smoothing", "recipe")
    assert every["recipe"].controls == ("plain",)


def test_detectors_take_no_soft_labels():
    every = found(["label smoothing", "mixup", "recipe + mixup"], kind="detection")
    assert [name for name, arm in every.items() if arm.skipped] == ["label smoothing"]
    assert every["recipe + mixup"].controls == ("recipe", "recipe + dilution 0.15/0.5/1")


@pytest.mark.parametrize("kind", ["images", "series", "detection"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_arm_says_what_it_does(name, kind):
    assert all(atom.about for atom in built_in(name, kind))
    assert found([name], kind=kind)[name].facts().about


def test_defaults_come_first(spec):
    mixup = tuple({"alpha": a, "p": p} for a in (0.2, 0.4, 1.0) for p in (1.0, 0.5))
    assert found(["mixup"])["mixup"].candidates == mixup
    assert found(["zeta-mixup"])["zeta-mixup"].candidates[0] == {"gamma": 2.8, "p": 1.0}
    recipe = found(["recipe"])["recipe"].candidates
    assert recipe[0] == {"magnitude": 0.5, "flip": False}
    assert len(recipe) == 6
    assert found(["recipe"], kind="series")["recipe"].candidates[0] == {"magnitude": 0.5}
    assert found(["plain"])["plain"].candidates == ()
    text = "methods: [{method: ZetaMixup, gamma: 6, p: 0.5, try: {gamma: [2.8, 6], p: [1, 0.5]}}]"
    assert found([spec(text)])["own"].candidates == tuple(
        {"gamma": gamma, "p": p} for gamma in (6, 2.8) for p in (0.5, 1)
    )


def test_a_single_strength_is_nothing_to_choose_from(spec):
    text = "methods: [{method: ZetaMixup, gamma: 4, try: {gamma: [4]}}]"
    assert found([spec(text)])["own"].candidates == ()
    assert found([spec(MIX)])["own"].candidates == ()  # what a spec says is not tried


def test_strengths_of_one_name_are_told_apart(spec):
    text = "methods: [{method: ZetaMixup, gamma: 4, smoothing: 0.2, try: {smoothing: [0.2, 0.3]}}]"
    arm = found([f"{spec(text)} + label smoothing"])["own + label smoothing"]
    assert arm.candidates[0] == {"ZetaMixup.smoothing": 0.2, "label smoothing.smoothing": 0.1}
    strength = {"ZetaMixup.smoothing": 0.3, "label smoothing.smoothing": 0.05}
    pipeline = arm.pipeline(strength, GIVEN)
    (learned,) = pipeline.changes
    assert pipeline.smoothing == 0.05
    assert learned.steps[0].method.smoothing == 0.3


def test_gamma_reaches_the_method():
    arm = found(["zeta-mixup"])["zeta-mixup"]
    leads = []
    for gamma in (2.8, 6.0):
        torch.manual_seed(0)
        soft = arm.pipeline({"gamma": gamma}, GIVEN)(torch.rand(9, 1, 4, 4), torch.arange(9) % 3, 0)
        leads.append(soft[1].amax(dim=1).mean().item())
    # Nine ranks: the first has 1 / (1 + 2^-g + ... + 9^-g) of the weight.
    for gamma, lead in zip((2.8, 6.0), leads, strict=True):
        assert lead >= 1 / sum(rank**-gamma for rank in range(1, 10)) - 1e-6
    assert leads[0] < leads[1] - 0.05


@pytest.mark.parametrize(("p", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_p_reaches_the_method(spec, p, share):
    arm = found([spec(WARP.replace("0.25", "0.5, try: {p: [0, 0.25, 0.5, 1]}"))])["own"]
    torch.manual_seed(0)
    images = torch.rand(400, 1, 4, 4)
    changed, _ = arm.pipeline({"p": p}, GIVEN)(images, torch.zeros(400, dtype=torch.int64), 0)
    moved = (changed != images).flatten(1).any(dim=1).float().mean()
    assert abs(moved - share) < 0.08


def test_an_argument_of_an_artifact_is_tried_and_what_was_learned_stays(spec):
    arm = found([spec("methods: [{artifact: warp, try: {noise: [0.0, 0.5]}}]")])["own"]
    assert arm.candidates[0] == {"noise": 0.1}  # as it was saved
    (learned,) = arm.pipeline({"noise": 0.5}, GIVEN).changes
    assert learned.steps[0].method.noise == 0.5
    torch.testing.assert_close(
        learned.steps[0].method.shift.detach(), torch.tensor([[0.1, 0], [0, 0.1]])
    )


def test_generators_work_before_the_recipe_and_mixes_last(spec, monkeypatch):
    monkeypatch.setattr(arms, "MOST_CANDIDATES", 10**6)
    toys.ClassPicture(num_classes=3, size=8, channels=1).save_pretrained(spec("") + ".d")
    path = spec("methods: [{artifact: own.yaml.d}]")
    name = f"label smoothing + mixup + recipe + {path}"
    kinds = [atom.kind for atom in found([name])["label smoothing + mixup + recipe + own"].atoms]
    assert kinds == ["generate", "recipe", "mixup", "label smoothing"]


def test_an_artifact_that_is_fitted_anew_is_another_arm(spec, tmp_path):
    path = spec(WARP)
    before = found([path])["own"].described()
    assert found([path])["own"].described() == before
    shifted(toys.FreeShift(noise=0.1), [[0.2, 0], [0, 0.1]]).save_pretrained(tmp_path / "warp")
    assert found([path])["own"].described() != before


def test_a_pool_that_is_made_anew_is_another_arm(spec, tmp_path):
    path = spec("methods: [{method: PSLDPool, pool: pool}]")
    pools.pool_of(tmp_path, pools.scenes(2), variants=1)
    before = found([path], kind="detection")["own"].described()
    assert found([path], kind="detection")["own"].described() == before
    shutil.rmtree(tmp_path / "pool")
    pools.pool_of(tmp_path, pools.scenes(2), variants=1, seed=1)
    assert found([path], kind="detection")["own"].described() != before


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["mixpu"], "`arms` must be plain, .* got 'mixpu'. Did you mean `mixup`"),
        (["recipe + zeta-mixpu"], "got 'zeta-mixpu'. Did you mean `zeta-mixup`"),
        (["mixup + zeta-mixup"], r"`arms` must have one mix each, got \['mixup', 'zeta-mixup'\]"),
        (["recipe + recipe"], "`arms` must name each part once, got 'recipe [+] recipe'"),
        ([""], "`arms` must be names, got ''"),
        ([3], "`arms` must be names, got 3"),
        (["recipe + label smoothing + dilution"], "at most .* strengths to choose from, got 54"),
    ],
)
def test_what_is_no_arm(names, message):
    with pytest.raises((ValueError, TypeError), match=message):
        arms_of(names, [], "images")


def test_two_specs_of_one_name(spec, tmp_path):
    first = spec(MIX)
    other = toy_data.written(tmp_path / "b", MIX_HALF, "own.yaml")
    with pytest.raises(ValueError, match=r"names of their own, got two .* 'own'.*Rename one file"):
        arms_of([first, other], [], "images")
    same = toy_data.written(tmp_path / "c", MIX, "own.yaml")
    assert list(found([first, same])) == ["plain", "own", "label smoothing"]


def test_stage_policy_belongs_to_timm(spec):
    with pytest.raises(ValueError, match=r"line 1: `stage` must not be policy in a comparison"):
        arms_of([spec("methods: [{artifact: warp, stage: policy}]")], [], "images")


@pytest.mark.parametrize("against", [{"mixup": ["recipee"]}, {"recipee": ["mixup"]}])
def test_against_names_arms(against):
    message = "`against` must name arms of the comparison, .* Did you mean `recipe`"
    with pytest.raises(ValueError, match=message):
        arms_of(["mixup", "recipe"], [], "images", against)


@pytest.mark.parametrize("kind", ["images", "series", "detection"])
def test_arms_travel_to_other_processes(kind):
    every = arms_of(None, [], kind)
    twins = pickle.loads(pickle.dumps(every))
    assert [arm.described() for arm in twins] == [arm.described() for arm in every]
