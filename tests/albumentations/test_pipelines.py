"""The host's conventions, for a transform of each kind: saving, replaying, seeding, composing."""

import json
import pickle
import subprocess
import sys
import warnings

import albumentations as A
import numpy as np
import pytest

import albu_learned.albumentations as door
from albu_learned.albumentations import (
    GenerateTransform,
    MixTransform,
    PSLDInpaint,
    WarpTransform,
    ZetaMixup,
)
from tests.albumentations.cases import CASES, DUAL, X, boxes, compose, data_for, picture, shift
from tests.toys import ClassPicture


@pytest.fixture(params=CASES)
def name(request):
    return request.param


def same(first, second):
    assert np.array_equal(first["image"], second["image"])
    assert np.array_equal(first["label"], second["label"])


def test_p_1_changes_and_p_0_is_the_identity(name, tmp_path):
    data = data_for(name)
    mask = {} if name == "zeta" else {"mask": picture(channels=None)}
    out = compose(name, CASES[name](tmp_path, p=1), seed=1)(**data, **mask)
    assert not np.array_equal(out["image"], data["image"])
    assert out["image"].any()
    if mask:
        assert np.array_equal(out["mask"], mask["mask"]) == (name not in DUAL)
    still = compose(name, CASES[name](tmp_path, p=0))(**data, **mask)
    assert np.array_equal(still["image"], data["image"])


def test_seeds(name, tmp_path):
    def run(seed, count=3):
        transform = compose(name, CASES[name](tmp_path, p=1), seed=seed)
        return [transform(**data_for(name))["image"] for _ in range(count)]

    first, again, other = run(1), run(1), run(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert not np.array_equal(first[0], first[1])
    transform = compose(name, CASES[name](tmp_path, p=1), seed=7)
    transform(**data_for(name))
    transform.set_random_seed(1)
    assert np.array_equal(transform(**data_for(name))["image"], first[0])


def test_torch_s_global_numbers_are_neither_used_nor_touched(name, tmp_path):
    import torch

    transform = compose(name, CASES[name](tmp_path, p=1), seed=1)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    transform(**data_for(name))
    assert torch.equal(torch.get_rng_state(), before)


def test_pickling_keeps_the_stream(name, tmp_path):
    transform = compose(name, CASES[name](tmp_path, p=1), seed=1)
    transform(**data_for(name))
    copy = pickle.loads(pickle.dumps(transform))
    same(transform(**data_for(name)), copy(**data_for(name)))


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_saved_pipelines_come_back_whole(name, form, tmp_path):
    transform = compose(name, CASES[name](tmp_path, p=0.875))
    path = str(tmp_path / f"pipeline.{form}")
    A.save(transform, path, data_format=form)
    loaded = A.load(path, data_format=form)
    assert A.to_dict(loaded) == A.to_dict(transform)
    transform.set_random_seed(3)
    loaded.set_random_seed(3)
    for _ in range(3):
        same(transform(**data_for(name)), loaded(**data_for(name)))


def test_the_saved_name_is_the_public_path_and_every_argument_survives():
    given = {
        "gamma": 3.5,
        "top_k": 4,
        "num_classes": 7,
        "smoothing": 0.1,
        "metadata_key": "others",
        "label_key": "kind",
        "p": 0.25,
    }
    saved = A.to_dict(ZetaMixup(**given))["transform"]
    assert saved == {"__class_fullname__": "albu_learned.albumentations.ZetaMixup", **given}
    assert A.to_dict(A.from_dict({"transform": saved}))["transform"] == saved
    json.dumps(saved)
    for cls in (WarpTransform, GenerateTransform, MixTransform):
        assert cls.get_class_fullname() == f"albu_learned.albumentations.{cls.__name__}"
        assert getattr(door, cls.__name__) is cls


@pytest.mark.parametrize(
    "cls", [WarpTransform, GenerateTransform, MixTransform, PSLDInpaint, ZetaMixup]
)
def test_no_argument_is_missing_from_the_schema(cls):
    """The host drops an argument that the schema does not name, without a word."""
    import inspect

    arguments = set(inspect.signature(cls.__init__).parameters) - {"self"}
    assert arguments == set(cls.InitSchema.model_fields) - {"strict"}


def test_a_folder_s_arguments_survive(tmp_path):
    import torch

    ClassPicture().save_pretrained(tmp_path)
    transform = GenerateTransform(tmp_path, label_key="kind", resize=True, p=0.5)
    saved = A.to_dict(transform)["transform"]
    assert saved["method"] == str(tmp_path)
    assert saved["label_key"] == "kind"
    assert saved["resize"] is True
    loaded = A.from_dict({"transform": saved})
    assert torch.equal(loaded._live.picture, transform._live.picture)


def test_a_pipeline_of_another_process_comes_back_after_one_import(tmp_path):
    path = str(tmp_path / "pipeline.json")
    A.save(A.Compose([ZetaMixup(num_classes=3)]), path)
    code = f"import albumentations as A; print(A.load({path!r}))"
    run = [sys.executable, "-c", "import albu_learned.albumentations; " + code]
    assert "ZetaMixup(" in subprocess.run(run, capture_output=True, text=True, check=True).stdout


def test_a_live_method_works_but_is_not_saved():
    transform = A.Compose([WarpTransform(shift(3, 2), p=1)])
    with pytest.raises(
        TypeError, match=r"`method` must be the folder .* save_pretrained\(folder\)"
    ):
        A.to_dict(transform)
    record = A.ReplayCompose([WarpTransform(shift(3, 2, noise=0.1), p=1)])
    out = record(image=picture())
    again = A.ReplayCompose.replay(out["replay"], image=picture())
    assert np.array_equal(out["image"], again["image"])


@pytest.mark.parametrize("wrap", [A.Compose, A.OneOf, lambda ts: A.Compose([A.OneOf(ts)])])
def test_a_composition_shows_a_live_method_and_does_not_save_it(wrap, tmp_path):
    live = [WarpTransform(shift(3, 2)), GenerateTransform(ClassPicture()), A.NoOp()]
    transform = wrap(live)
    assert "FreeShift" in repr(transform)
    assert "ClassPicture" in str(transform)
    path = tmp_path / "pipeline.json"
    for refused in (lambda: A.to_dict(transform), lambda: A.save(transform, str(path))):
        with pytest.raises(TypeError, match="`method` must be the folder of an artifact"):
            refused()
    assert not path.exists()


@pytest.mark.parametrize("case", CASES)
def test_after_to_tensor_the_right_order_is_named(case, tmp_path):
    to_tensor = pytest.importorskip("albumentations.pytorch").ToTensorV2()
    transform = CASES[case](tmp_path, p=1)
    options = {"bbox_params": boxes()} if case == "paint" else {}
    words = r"`image` must be a numpy array .* Put \w+ before ToTensorV2"
    with pytest.raises(TypeError, match=words):
        A.Compose([to_tensor, transform], **options)(**data_for(case))


def test_replay_is_exact_and_its_record_is_json(name, tmp_path):
    transform = compose(name, CASES[name](tmp_path, p=1), A.ReplayCompose)
    data = data_for(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the host warns where params depend on targets
        out = transform(**data)
    record = json.loads(json.dumps(out["replay"]))
    same(A.ReplayCompose.replay(record, **data), out)
    if name in DUAL:
        other = picture(20, 24, seed=5)
        replayed = A.ReplayCompose.replay(record, image=other, mask=other[..., 0])
        assert replayed["mask"].shape == (20, 24)


def test_applied_params_are_kept(name, tmp_path):
    transform = compose(name, CASES[name](tmp_path, p=1), save_applied_params=True)
    applied = transform(**data_for(name))["applied_transforms"]
    assert len(applied) == 1
    json.dumps(applied)


def test_an_unknown_argument_warns_and_strict_raises(name, tmp_path):
    with pytest.warns(UserWarning, match="'strength' are not valid"):
        CASES[name](tmp_path, strength=3)
    with pytest.raises(ValueError, match="strength"):
        CASES[name](tmp_path, strength=3, strict=True)
    with pytest.raises(ValueError, match="p"):
        CASES[name](tmp_path, p=1.5)


def test_a_strict_compose_accepts_the_keys(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transform = compose(name, CASES[name](tmp_path, p=1), strict=True)
    data = data_for(name)
    unread = ("warp", "image_warp", "theta", "posterior", "psld")
    if name in unread:  # read no label: a strict host rightly refuses one
        del data["label"]
    assert transform(**data)["image"].shape == data["image"].shape


def test_repr_names_the_arguments(name, tmp_path):
    text = repr(CASES[name](tmp_path, p=0.25))
    assert "p=0.25" in text
    told = {"zeta": "num_classes=3", "theta": "std=0.05"}
    assert told.get(name, str(tmp_path)) in text


@pytest.mark.parametrize("case", [n for n in CASES if n not in ("zeta", "paint", "psld")])
def test_additional_targets_get_the_same_change(case, tmp_path):
    transform = A.Compose([CASES[case](tmp_path, p=1)], additional_targets={"image2": "image"})
    image = picture()
    out = transform(image=image, image2=image.copy(), label=1)
    assert np.array_equal(out["image"], out["image2"])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: A.OneOf([t], p=1),
        lambda t: A.SomeOf([t], n=1, p=1),
        lambda t: A.Sequential([t], p=1),
        lambda t: A.Compose([A.Sequential([A.OneOf([t], p=1)], p=1), A.HorizontalFlip(p=0)]),
    ],
)
def test_compositions(name, wrap, tmp_path):
    transform = wrap(CASES[name](tmp_path, p=1))
    data = data_for(name)
    if name == "paint":
        data["bboxes"] = data["bboxes"] / 40
    out = transform(**data)
    assert out["image"].shape == data["image"].shape
    assert not np.array_equal(out["image"], data["image"])


@pytest.mark.parametrize("case", ["warp"])
def test_a_selection_of_channels(case, tmp_path):
    transform = A.SelectiveChannelTransform([CASES[case](tmp_path, p=1)], channels=[0, 2], p=1)
    image = picture()
    out = transform(image=image)["image"]
    assert np.array_equal(out[..., 1], image[..., 1])
    assert not np.array_equal(out[..., 0], image[..., 0])


@pytest.mark.parametrize("cls", [WarpTransform, GenerateTransform])
def test_declared_targets_are_those_of_the_docstring(cls, tmp_path):
    method = {WarpTransform: shift(1, 1), GenerateTransform: ClassPicture()}[cls]
    line = cls.__doc__.split("Targets:")[1].strip().splitlines()[0]
    named = {word.strip() for word in line.split(",")}
    keys = cls(method).available_keys - {"label"}
    assert named <= keys
    extra = keys - named
    assert {key.rstrip("s").replace("masks3d", "mask3d") for key in extra} <= {
        word.rstrip("s") for word in named
    }


@pytest.mark.skipif(not X, reason="2.0.8 does not bind boxes and masks to instances")
def test_an_instance_that_left_goes_with_its_mask():
    gone, stays = np.zeros((2, 32, 40), np.uint8)
    gone[28:, 34:] = stays[4:8, 4:9] = 1
    transform = A.Compose(
        [WarpTransform(shift(8, 4), p=1)],
        bbox_params=boxes(),
        instance_binding=("masks", "bboxes"),
    )
    given = [{"mask": gone, "bbox": [34, 28, 40, 32]}, {"mask": stays, "bbox": [4, 4, 9, 8]}]
    (left,) = transform(image=picture(), instances=given)["instances"]
    rows, columns = np.nonzero(left["mask"].reshape(32, 40))
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.allclose(left["bbox"], found)
