"""The script that repeats the paper's table makes its variants, its nulls and its table, and goes
on where it was. What `compare` does with them is made up here: its own tests train detectors."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra `diffusion` is not installed")
pytest.importorskip("PIL", reason="the extra `cli` is not installed")

import albu_learned as al
from albu_learned.comparison.result import ALL, ArmFacts, Outcome, Result
from albu_learned.data import pictures
from albu_learned.spec import read
from tests.methods.psld import tiny
from tests.synth import sets

FOLDER = Path(__file__).parents[3] / "examples" / "reproduce"
ARMS = {"plain": 0.5, "psld": 0.6, "autoencoded": 0.55, "recipe": 0.7}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield __import__("psld_bccd")
    sys.modules.pop("psld_bccd", None)


def pixels(path):
    found = torch.from_numpy(pictures.decoded(path.read_bytes()).copy())
    return found.permute(2, 0, 1)[None]


def outcome(seeds=2):
    """What each arm reaches, and a point of mAP50 more in the second seed."""
    controls = {"psld": ("autoencoded",)}
    facts = tuple(ArmFacts(name, name, controls.get(name, ())) for name in ARMS)
    results = [
        Result(
            name,
            ALL,
            seed,
            {"map50": level + seed / 100, "map50_95": level / 2, "f1": level},
            {"p": 0.5} if name == "psld" else {},
        )
        for name, level in ARMS.items()
        for seed in range(seeds)
    ]
    return Outcome("cells", "detection", "map50_95", facts, (ALL,), (0, 1), tuple(results))


@pytest.fixture
def whole(script, tmp_path, monkeypatch):
    """The script on two images, with a model that is not fitted."""
    asked = []
    ldm = tiny.model("tiny")

    def fit(data, folder, **how):
        asked.append(("fit", {path.name for path in data.train}, how["background"]))
        ldm.save_pretrained(folder)
        return ldm

    def compare(data, arms, **how):
        asked.append(("compare", arms, how["against"], data))
        return SimpleNamespace(outcome=outcome())

    monkeypatch.setattr(al.LatentDiffusion, "fit", fit)
    monkeypatch.setattr(al, "compare", compare)
    data = sets.detection(tmp_path / "data", count=2)

    def ran(*more):
        given = [data, "--out", tmp_path / "out", "--side", 16, "--sampling", 2, "--tile", 16]
        given += ["--variants", 1, "--shares", 0.5, 0, "--jobs", 1, "--grow", 0, *more]
        monkeypatch.setattr(sys, "argv", ["psld_bccd", *map(str, given)])
        script.main()
        return tmp_path / "out", asked

    return ran


def test_variants_and_nulls_are_in_pools_that_specs_name(whole, script, capsys):
    out, asked = whole()
    assert asked[0] == ("fit", {"train0.png", "train1.png"}, False)  # not what is validated on
    _, arms, against, data = asked[1]
    assert Path(data) == out / "data" / "data.yaml"
    for name in ("psld", "autoencoded", "blank"):
        spec = next(arm for arm in arms if arm.endswith(f"{name}.yaml"))
        (entry,) = read(spec).entries
        assert (entry.p, entry.stage, entry.tries["p"]) == (0.5, "image", (0.5, 0))
        assert f"recipe + {spec}" in arms
        pool = entry.build()
        real = [pixels(path) for path in sorted((out / "data/images/train").iterdir())]
        assert {image.shape for image in real} == {(1, 3, 16, 16)}
        assert all((pool(image) != image).any() for image in real)
        assert (pool.hits, pool.misses) == (2, 0)
        settings = json.loads((out / name / "manifest.json").read_text())["settings"]
        assert settings["model"].startswith("none, ") == (name == "blank")
        assert settings["model"].endswith(" alone") == (name == "autoencoded")
    assert against == {
        "psld": ["autoencoded", "blank"],
        "recipe + psld": ["recipe + autoencoded", "recipe + blank"],
    }
    assert (out / "table.md").read_text() in capsys.readouterr().out


def test_some_classes_alone(script, tmp_path):
    root = tmp_path / "set"
    file = sets.detection(root, count=1)
    sets.write_image(root, "train", 0, lines="0 0.4 0.4 0.3 0.3\n1 0.7 0.3 0.2 0.2\n")
    sets.write_image(root, "train", 1, lines="0 0.4 0.4 0.3 0.3\n")
    names = list(script.Reader(file).names())
    given = SimpleNamespace(data=file, side=None, classes=names[1:])
    made = script.prepared(given, tmp_path / "out")
    assert script.Reader(made).names() == (names[1],)
    labels = tmp_path / "out/labels/train"
    assert (labels / "train0.txt").read_text() == "0 0.7 0.3 0.2 0.2\n"
    assert (labels / "train1.txt").read_text() == ""
    real, new = (pixels(each / "images/train/train0.png") for each in (root, tmp_path / "out"))
    assert torch.equal(real, new)
    given.classes = ["unknown"]
    with pytest.raises(SystemExit, match=r"--classes must be of .* got .'unknown'"):
        script.prepared(given, tmp_path / "other")


def test_a_model_that_is_there_is_taken(whole, script, tmp_path, monkeypatch):
    tiny.model("tiny").save_pretrained(tmp_path / "there")
    out, asked = whole("--ldm", tmp_path / "there")
    assert [one[0] for one in asked] == ["compare"]
    model = json.loads((out / "psld/manifest.json").read_text())["settings"]["model"]
    assert model == al.PSLDInpaint(str(tmp_path / "there")).identity()


def test_blank_paints_what_is_erased_with_its_mean(script):
    blank = script.Blank(tiny.model("tiny"))
    images = torch.rand(2, 3, 6, 5)
    keep = torch.rand(2, 1, 6, 5) < 0.5
    made = blank.unglued(images, {"keep": keep})
    assert made.shape == images.shape
    for image, kept, painted in zip(images, keep[:, 0], made, strict=True):
        for channel, colour in zip(image, painted, strict=True):
            torch.testing.assert_close(colour, channel[~kept].mean().expand(6, 5))


def test_null_keeps_the_same_and_draws_nothing(script):
    ldm = tiny.model("tiny")
    null, vary = script.Autoencoded(ldm, "outside"), al.PSLDInpaint(ldm, "outside", 2)
    images = torch.rand(1, 3, 18, 16)
    boxes = al.Rows.of([torch.tensor([[0.3, 0.3, 0.7, 0.7]])])
    batch = al.Batch(images=images, boxes=boxes)
    noise = vary.draw(1, torch.Generator().manual_seed(0))
    plan = null.plan(batch, noise)
    assert torch.equal(plan["keep"], vary.plan(batch, noise)["keep"])
    other = null.plan(batch, vary.draw(1, torch.Generator().manual_seed(1)))
    made = null.unglued(images, plan)
    assert torch.equal(made, null.unglued(images, other))
    assert made.shape == images.shape
    wide = torch.cat([images, images[:, :, -2:].flip(2)], dim=2)  # up to a multiple of 4
    torch.testing.assert_close(made, ldm.decode(ldm.encode(wide))[:, :, :18])
    glued = null.pixels(images, plan)
    keep = plan["keep"].expand_as(images)
    assert torch.equal(glued[keep], images[keep])
    assert not torch.equal(glued, images)
    assert null.identity() != vary.identity()


def test_goes_on_without_another_fit(whole, monkeypatch):
    out, asked = whole()
    files = {path: path.read_bytes() for path in out.rglob("*.png")}

    def refused(*_):
        raise AssertionError("varied again")

    monkeypatch.setattr(al.PSLDInpaint, "_made", refused)
    whole()
    assert [one[0] for one in asked] == ["fit", "compare", "compare"]
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == files


def test_table_tells_gains_and_the_papers_figures(script):
    text = script.table(outcome())
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if " | " in line}
    assert rows["plain"] == "| plain |  | 50.5 | 25.0 | 50.0 |  |  | 69.9, 0.73 |"
    assert "| psld | 0.5, 0.5 | 60.5 | 30.0 | 60.0 | +10.0 ± 0.0 | +5.0 ± 0.0 |" in rows["psld"]
    assert rows["psld"].endswith("| 78.2, 0.82 |")
    assert rows["psld - autoencoded"].startswith("| psld - autoencoded | +5.0 ± 0.0 | +2.5 ± 0.0 |")
