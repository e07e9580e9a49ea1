"""Whatever is wrong is found before the first training: the argument, the rule, the value."""

import sys

import numpy as np
import pytest
import torch

import albu_learned as al
from albu_learned.comparison import compare, prepare, set_up
from albu_learned.data import open_data
from tests import toys
from tests.cases import shifted
from tests.comparison import toy_data
from tests.comparison.toy_data import TINY
from tests.data import cases as files


def refused(tmp_path, message, data, arms=("mixup",), **given):
    """That `compare` says so, and has not begun."""
    said = []
    with pytest.raises((ValueError, TypeError, OSError, LookupError), match=message) as caught:
        compare(data, list(arms), out=tmp_path / "out", say=said.append, **{**TINY, **given})
    kept = tmp_path / "out" / "cells.jsonl"
    assert not kept.exists() or kept.read_text() == ""
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": [5, 11]}, "`sizes` must be at most 10, .* class 'ant', .* Of these fit: 5"),
        ({"sizes": [11]}, "`sizes` must be at most 10, the training images of class 'ant'"),
        ({"arms": ["mixpu"]}, "`arms` must be .* got 'mixpu'. Did you mean `mixup`"),
        ({"arms": ["nowhere.yaml"]}, r"must be a YAML file, got 'nowhere.yaml'"),
        ({"step": 3}, "`step` is no argument of compare. Did you mean `steps`"),
        ({"seeds": 0}, "`seeds` must be an integer >= 1, got 0"),
        ({"measure": "map50"}, "`measure` must be one of accuracy, .* for images, got 'map50'"),
        ({"against": {"mixup": ["cutmix"]}}, "`against` must name arms .*'cutmix'"),
        ({"jobs": 0}, "`jobs` must be an integer >= 1, got 0"),
        ({"sizes": [0]}, '`sizes` must be integers >= 1, or "all", got 0'),
        ({"batch": 1}, "`batch` must be an integer >= 2, got 1"),
        ({"pretrained": True}, "`pretrained` must be left out but for models of timm"),
        ({"test_share": 0.5}, "must be left out for data that are open"),
        ({"engine": "dask"}, "`engine` must be one of local, ray, got 'dask'"),
        ({"arms": ["recipe + recipe"]}, "`arms` must name each part once, got 'recipe"),
        ({"device": "meta"}, '`device` must be "cpu" or "cuda", got \'meta\''),
        ({"precision": ["x"]}, r"`precision` must be one of float32, .* got \['x'\]"),
        ({"image_size": 9}, "`image_size` must be None for data that are open, got 9"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_asked_for(tmp_path, given, message):
    refused(tmp_path, message, toy_data.images(), given.pop("arms", ["mixup"]), **given)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (([0] * 12, [0] * 6), "must have at least two classes, got 1"),
        (([0, 1, 2] * 4, [0, 1] * 3), "rows in train and in test, but test has none of '2'"),
        (([0, 1] * 6, [0, 1, 2] * 2), "rows in train and in test, but train has none of '2'"),
    ],
)
def test_classes_of_the_data(tmp_path, labels, message):
    arrays = files.parts() | dict(zip(("train_y", "test_y"), labels, strict=True))
    path = files.npz(tmp_path / "toys.npz", **arrays)
    assert "toys.npz" in refused(tmp_path, message, path)


def test_nothing_to_test_on(tmp_path):
    pixels = np.random.randint(0, 255, (12, 8, 8), np.uint8)
    np.savez(tmp_path / "toys.npz", x=pixels, y=np.arange(12) % 2)
    path = tmp_path / "toys.npz"
    refused(tmp_path, r"`test_share` must be in \(0, 1\), got 0", path, test_share=0)
    refused(tmp_path, "must have something to test on", open_data(path, test_share=0))


@pytest.mark.parametrize("part", ["train", "test"])
def test_an_image_that_cannot_be_read(tmp_path, part):
    folder = files.folder(tmp_path / "toys", each=4)
    (folder / part / "bee" / f"{part}11.png").write_bytes(b"no image")
    refused(tmp_path, f"must be readable, but .*{part}11.png.*Mend", folder, image_size=8)


def test_data_that_are_not_there(tmp_path):
    refused(tmp_path, "`path` must be a data set, got .*does not exist", tmp_path / "none")


SPECS = {
    "boxes": ("artifact: boxes", "BoxPaint needs boxes, but .* has only images and labels"),
    "nowhere": ("artifact: nowhere", "line 1: `artifact`: .*does not exist"),
    "large": ("artifact: large", r"'large' cannot be used on toys: .*\(5, 5\).*\(8, 8\)"),
    "few": ("artifact: few", "'few' cannot be used on toys: index 2 is out of bounds"),
    "policy": ("{artifact: few, stage: policy}", "`stage` must not be policy in a comparison"),
    "wrong": ("{method: ZetaMixup, try: {gama: [2]}}", "`gama` is not a key .* `gamma`"),
    "late": (
        "{method: ZetaMixup, from_epoch: 2}",
        "line 1: `from_epoch` must be below 2, the epochs that 3 steps are at size 4, got 2",
    ),
    "later": ("artifact: large, from_epoch: 1", r"'later' cannot be used on toys: .*\(5, 5\)"),
    "named": ("artifact: named", "must name the classes of the artifact"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_specs_that_do_not_fit(tmp_path, name):
    toys.BoxPaint(num_classes=3, channels=1).save_pretrained(tmp_path / "boxes")
    toys.ClassPicture(num_classes=3, size=5, channels=1).save_pretrained(tmp_path / "large")
    shifted(toys.ClassShift(), [[0.1, 0], [0, 0.1]]).save_pretrained(tmp_path / "few")
    named = toys.ClassShift(num_classes=3)
    named.about = al.About(classes=["x", "y", "z"])
    named.save_pretrained(tmp_path / "named")
    method, message = SPECS[name]
    text = f"methods: [{method if method.startswith('{') else '{' + method + ', p: 1}'}]"
    path = toy_data.written(tmp_path, text, f"{name}.yaml")
    refused(tmp_path, message, toy_data.images(), [path])


def test_two_specs_of_one_name(tmp_path):
    text = "methods: [{method: ZetaMixup, gamma: %d}]"
    paths = [toy_data.written(tmp_path / str(gamma), text % gamma) for gamma in (3, 4)]
    refused(tmp_path, "two that are called 'spec'.*Rename one file", toy_data.images(), paths)


def test_lists_are_asked_for(tmp_path):
    for name in ("arms", "specs"):
        with pytest.raises(TypeError, match=rf"`{name}` must be a list, got 'recipe'. Write \["):
            set_up(toy_data.images(), **{name: "recipe"}, **TINY)


def test_a_file_with_a_plus_in_its_name(tmp_path):
    (tmp_path / "a+b").mkdir()
    path = toy_data.written(tmp_path / "a+b", "methods: [{method: ZetaMixup}]", "one+two.yaml")
    study = toy_data.study(None, [path, f"recipe + {path}"])
    assert {"one+two", "recipe + one+two"} <= {arm.name for arm in study.arms}


def test_the_classes_of_a_spec_name_those_of_the_data(tmp_path):
    named = toys.ClassShift(num_classes=3)
    named.about = al.About(classes=["x", "y", "z"])
    named.save_pretrained(tmp_path / "named")
    text = "classes: %s\nmethods: [{artifact: named, p: 1}]"
    path = toy_data.written(tmp_path, text % "[z, x, y]")
    study = toy_data.study(None, [path])
    assert study.given(study.arms[1]).classes == ("z", "x", "y")
    path = toy_data.written(tmp_path, text % "[z, x]", "short.yaml")
    refused(tmp_path, "`classes` must name the 3 of the data", toy_data.images(), [path])


def test_an_argument_that_does_not_fit_what_was_learned(tmp_path):
    toys.ClassShift(num_classes=3).save_pretrained(tmp_path / "warp")
    text = "methods: [{artifact: warp, try: {num_classes: [3, 4]}}]"
    path = toy_data.written(tmp_path, text)
    message = "`num_classes` of this ClassShift cannot be .4.: .* another shape"
    refused(tmp_path, message, toy_data.images(), [path])


def test_models_that_do_not_take_the_images(tmp_path):
    pytest.importorskip("timm")
    path = toy_data.as_npz(tmp_path / "toys.npz", toy_data.images())
    given = {"model": "vit_tiny_patch16_224", "image_size": 8}
    message = r"`model` must take images of \(1, 8, 8\), got 'vit_tiny_patch16_224'"
    refused(tmp_path, message, path, **given)
    message = "`model` must be one that timm knows, got 'test_resnet.nonsense'"
    refused(tmp_path, message, path, model="test_resnet.nonsense")


def test_models(tmp_path):
    pytest.importorskip("timm")
    message = "`model` must be `small` or one that timm knows, got 'resnet19'. Did you mean"
    refused(tmp_path, message, toy_data.images(), model="resnet19")
    message = "`model` must be small or nearest for series, got 'resnet18'"
    refused(tmp_path, message, toy_data.series(), model="resnet18")
    path = toy_data.as_npz(tmp_path / "series.npz", toy_data.series())
    refused(tmp_path, message, path, model="resnet18")
    refused(tmp_path, message, files.ucr(tmp_path / "ucr"), sizes=2, model="resnet18")


def test_a_model_of_timm_has_a_size_of_its_own(tmp_path):
    pytest.importorskip("timm")
    path = toy_data.as_npz(tmp_path / "toys.npz", toy_data.images())
    for given, side in [({"model": "test_resnet"}, 160), ({}, 8), ({"image_size": 12}, 12)]:
        assert set_up(path, ["plain"], **TINY, **given).data.shape == (1, side, side)


def test_every_image_is_checked_and_few_are_read():
    given = toy_data.images()
    toy_data.study(given, ["recipe"])
    log = toy_data.log_of(given)
    assert ("check train", 30) in log
    assert ("check test", 12) in log
    assert not [rows for what, rows in log if what == "read test"]
    assert max(rows for what, rows in log if what == "read train") <= 2 * prepare.TRIED


def test_an_arm_that_breaks_images(tmp_path, monkeypatch):
    from albu_learned.comparison.recipe import Recipe

    monkeypatch.setattr(Recipe, "_images", lambda self, images: images / 0)
    message = "'recipe' must keep images finite and of their size"
    refused(tmp_path, message, toy_data.images(), ["recipe"])


def test_setting_up_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    toy_data.study(arms=["recipe", "mixup"])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", prepare.NEEDED)
def test_what_is_needed_at_the_end_is_asked_for_at_the_beginning(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ModuleNotFoundError, match=rf"needs {name}. .*albu_learned\[cli\]"
    ) as caught:
        toy_data.study()
    assert caught.value.name == name
