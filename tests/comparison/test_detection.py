"""Cells of detection, trained by Ultralytics on tiny images with a tiny network."""

import json

import pytest
import torch

pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
from albu_learned.comparison import compare, detection, set_up
from albu_learned.ultralytics import trial
from tests.ultralytics import trials

SPEC = "methods: [{method: ZetaMixup, p: 0.4, try: {p: [0.4, 1.0]}}]"
TINY = {"sizes": [4], "seeds": 1, "steps": 2, "batch": 2, "image_size": 64, "device": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data set of YOLO with a train and a test part, and a spec."""
    folder = tmp_path_factory.mktemp("boxes")
    paths = trials.make(folder, 9)
    for part, chosen in (("train", paths[:6]), ("test", paths[6:])):
        for kind, suffix in (("images", ".png"), ("labels", ".txt")):
            (folder / kind / part).mkdir()
            for path in chosen:
                old = folder / kind / f"{path.stem}{suffix}"
                old.rename(folder / kind / part / old.name)
    lines = ["path: .", "train: images/train", "val: images/test", "test: images/test"]
    (folder / "data.yaml").write_text("\n".join([*lines, "names: [low, high]\n"]))
    (folder / "spec.yaml").write_text(SPEC)
    return folder


def options(place, **changed):
    return {**TINY, "model": str(place / "tiny.yaml"), **changed}


@pytest.fixture(scope="module")
def whole(place):
    """A comparison of every kind of arm, with what was trained and tested in the order of time."""
    log = []
    patch = pytest.MonkeyPatch()
    for name in ("train_detector", "test_detector"):
        patch.setattr(trial, name, noted(getattr(trial, name), name, log))
    out = place / "out"
    arms = ["label smoothing", "recipe", "recipe + dilution", str(place / "spec.yaml")]
    found = compare(place / "data.yaml", arms, out=out, **options(place))
    patch.undo()
    return found, log, out


def noted(function, name, log):
    def called(*given, **named):
        paths = next(g for g in given if isinstance(g, (list, tuple)) and hasattr(g[0], "parent"))
        log.append((name, {path.parent.name for path in paths}, len(paths), named))
        return function(*given, **named)

    return called


def test_every_arm_has_its_measures_and_its_picture(whole):
    found, _, out = whole
    results = {result.arm: result for result in found.outcome.results}
    assert set(results) == {"plain", "recipe", "recipe + dilution", "spec"}
    assert all(set(r.measures) == {"map50", "map50_95", "f1"} for r in results.values())
    assert results["spec"].strength["p"] in (0.4, 1.0)
    assert results["recipe + dilution"].strength["share"] in (0.5, 0.25, 0.75)
    assert len(list((out / "samples").glob("*.png"))) == 4
    assert found.outcome.measure == "map50_95"


def test_label_smoothing_is_skipped_and_says_why(whole):
    found, _, out = whole
    skipped = next(arm for arm in found.outcome.arms if arm.name == "label smoothing")
    assert "no soft class labels" in skipped.skipped
    assert "no soft class labels" in (out / "report.html").read_text()


def test_arms_become_what_ultralytics_knows(whole):
    _, log, _ = whole
    last = [named for name, _, count, named in log if name == "train_detector" and count == 4]
    plain, recipe, diluted, spec = last
    assert plain == {"spec": None, "overrides": {}, "plain_share": 0.0}
    assert recipe["overrides"] == trial.RECIPE
    assert diluted["overrides"] == trial.RECIPE
    assert diluted["plain_share"] in (0.5, 0.25, 0.75)
    assert [entry.name for entry in spec["spec"].entries] == ["ZetaMixup"]


def test_strengths_are_chosen_on_training_images_and_test_images_come_last(whole):
    _, log, _ = whole
    parts = [(name, folders) for name, folders, _, _ in log]
    first = parts.index(("test_detector", {"test"}))
    assert all(folders == {"train"} for _, folders in parts[:first])
    assert all(entry == ("test_detector", {"test"}) for entry in parts[first:])
    assert len(parts[first:]) == 4
    chosen = [count for name, _, count, _ in log[:first] if name == "train_detector" and count < 4]
    assert chosen  # two thirds of the subset, the rest validates
    assert set(chosen) <= {2, 3}


def test_it_goes_on_and_trains_nothing_twice(place, whole, monkeypatch):
    found, _, out = whole
    before = (out / "results.csv").read_bytes()
    lines = [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"trained", "tested"}
    monkeypatch.setattr(trial, "train_detector", None)
    monkeypatch.setattr(trial, "test_detector", None)
    arms = ["label smoothing", "recipe", "recipe + dilution", str(place / "spec.yaml")]
    again = compare(place / "data.yaml", arms, out=out, say=lambda text: None, **options(place))
    assert (out / "results.csv").read_bytes() == before
    assert again.sentence == found.sentence


def test_subsets_are_nested_and_follow_the_seed(place):
    study = set_up(place / "data.yaml", [], **options(place))
    small, large = (detection._subset(study.data, size, 0) for size in (3, 5))
    assert set(small.tolist()) < set(large.tolist())
    assert not torch.equal(detection._subset(study.data, 0, 0), detection._subset(study.data, 0, 1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sizes": [7]}, "`sizes` must be at most 6, the training images"),
        ({"precision": "bfloat16"}, "needs a GPU"),
        ({"measure": "accuracy"}, "`measure` must be one of map50_95, map50, f1 for detection"),
        ({"image_size": 50}, "`image_size` must be a multiple of 32"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_training(place, changed, message):
    with pytest.raises(ValueError, match=message):
        set_up(place / "data.yaml", ["recipe"], **options(place, **changed))
