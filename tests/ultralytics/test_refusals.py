"""What a spec cannot do here, said before the first epoch; and no epoch goes without its work."""

import logging
import sys
from types import SimpleNamespace

import pytest
import torch
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.utils import DEFAULT_CFG

import albu_learned as al
from albu_learned.spec import read
from albu_learned.ultralytics import install
from albu_learned.ultralytics.hook import EVENTS, Hook
from albu_learned.ultralytics.settings import check_epochs
from tests.toys import ClassPicture
from tests.ultralytics.runs import SETTINGS, STILL, model, spec_file, train


def fitted(folder, method, **about):
    method.about = al.About(**about)
    method.save_pretrained(folder / "fitted")
    return f"artifact: {folder / 'fitted'}"


@pytest.mark.parametrize(
    ("task", "entry", "message"),
    [
        ("classify", "method: BoxPaint, stage: sample", "needs boxes, but on the sample a class"),
        ("detect", "method: ClassShift", "needs labels, but on the sample a detector of Ultra"),
        ("classify", "method: FreeShift, stage: policy", "Ultralytics, which has no such stage"),
        ("detect", "artifact: nowhere", "nowhere"),
        ("detect", "method: Nothing", "`method` must be one of"),
    ],
)
def test_at_the_installation(task, entry, message, tmp_path):
    with pytest.raises((ValueError, OSError), match=message) as raised:
        install(model(task), spec_file(tmp_path, entry))
    assert str(tmp_path / "spec.yaml") in str(raised.value)


def test_other_tasks(tmp_path):
    spec = spec_file(tmp_path, "method: FreeShift")
    made = model("detect")
    made.task = "semantic"
    with pytest.raises(ValueError, match="must be one of detect, segment, pose, obb, classify"):
        install(made, spec)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("yolo11n.yaml", "spec.yaml"), "`model` must be a model of Ultralytics, got str"),
        ((None, 3), "`spec` must be the path of a YAML file, got int"),
        ((None, None), "`spec` must be given: albu_learned.yaml"),
        ((None, "nowhere.yaml"), "The spec must be a YAML file, got 'nowhere.yaml'"),
    ],
)
def test_arguments(arguments, message):
    made, spec = arguments
    with pytest.raises((TypeError, ValueError, OSError), match=message):
        install(model("classify") if made is None else made, spec)


def begin(task, data, folder, spec, **settings):
    callbacks = settings.pop("callbacks", {})
    made = install(model(task), spec)
    for event, function in callbacks.items():
        made.add_callback(event, function)
    made.train(data=data(task), project=str(folder), **{**SETTINGS, **STILL, **settings})


def test_a_hook_alone_checks_too(data, tmp_path):
    """As the command line uses it, which learns of the task late."""
    spec = read(spec_file(tmp_path, "method: FreeShift, stage: policy"))
    made = model("classify")
    Hook(spec).register(made.callbacks)
    with pytest.raises(ValueError, match="`stage` policy is for timm"):
        made.train(data=data("classify"), project=str(tmp_path), **SETTINGS)


def test_unknown_class_names(data, tmp_path):
    method = ClassPicture(num_classes=2, size=8)
    entry = fitted(tmp_path, method, classes=["cat", "dog"]) + ", resize: true"
    with pytest.raises(ValueError, match=r"\['cat', 'dog'\], .* got \['high', 'low'\]"):
        begin("classify", data, tmp_path, spec_file(tmp_path, entry))


def test_classes_are_mapped_by_name(data, tmp_path):
    """Ultralytics numbers the folders by their names: high is 0, low is 1."""
    method = ClassPicture(num_classes=2, size=8)
    method.picture.data[0], method.picture.data[1] = 0.0, 1.0
    entry = fitted(tmp_path, method, classes=["low", "high"]) + ", resize: true, p: 1"
    record = train("classify", data("classify"), tmp_path, spec_file(tmp_path, entry))
    for batch in record.epochs[1]:
        lit = batch["img"].amax((1, 2, 3)) > 0.01
        assert torch.equal(lit, batch["cls"] == 0)


def test_other_classes_than_the_data_have(data, tmp_path):
    spec = spec_file(tmp_path, "method: FreeShift", top="classes: [low, high]")
    with pytest.raises(ValueError, match=r"of the data, \['high', 'low'\].* got \['low', 'high'\]"):
        begin("classify", data, tmp_path, spec)


def test_a_wrong_number_of_classes(data, tmp_path):
    spec = spec_file(tmp_path, "method: ZetaMixup, num_classes: 7")
    with pytest.raises(ValueError, match="must be 2, as your data has it, got 7"):
        begin("classify", data, tmp_path, spec)


def test_channels_that_are_swapped_at_random(data, tmp_path):
    spec = spec_file(tmp_path, "method: Flood, stage: batch")
    with pytest.raises(ValueError, match=r"`bgr` must be 0 for Flood on the batch, got 0\.5"):
        begin("detect", data, tmp_path, spec, bgr=0.5)


def test_a_mix_of_one_image(data, tmp_path):
    spec = spec_file(tmp_path, "method: ZetaMixup")
    with pytest.raises(ValueError, match=r"`batch` must be at least 2 for ZetaMixup, got 1"):
        begin("detect", data, tmp_path, spec, batch=1)
    begin(
        "detect", data, tmp_path, spec_file(tmp_path, "method: ZetaMixup, p: 0"), batch=1, epochs=1
    )


def test_a_last_batch_of_one_image_is_not_counted(data, tmp_path, monkeypatch):
    """One batch that p=0.9999 spares is chance; two would not be."""
    monkeypatch.setattr("albu_learned.ultralytics.session.change_classified", lambda *_: 0)
    spec = spec_file(tmp_path, "method: Halves, p: 0.9999")
    begin("classify", data, tmp_path, spec, batch=7, epochs=1)
    with pytest.raises(RuntimeError, match="none of 2 rows"):
        begin("classify", data, tmp_path, spec, batch=6, epochs=1)


def test_an_entry_behind_the_last_epoch(data, tmp_path, caplog):
    spec = spec_file(tmp_path, "method: FreeShift, from_epoch: 2")
    with pytest.raises(ValueError, match=r"FreeShift must be active in one of the 2 epochs"):
        begin("classify", data, tmp_path, spec)
    with caplog.at_level(logging.WARNING, logger="ultralytics"):
        begin("classify", data, tmp_path, spec, time=1e-5)  # which says how many there are
    assert "FreeShift must be active in one of the 2 epochs" in caplog.text
    begin("classify", data, tmp_path, spec_file(tmp_path, "method: FreeShift, p: 0, from_epoch: 2"))
    over = read(spec_file(tmp_path, "method: FreeShift, until_epoch: 2"))
    check_epochs(SimpleNamespace(epochs=5, start_epoch=3, args=SimpleNamespace(time=None)), over)


def test_a_transform_that_ultralytics_could_not_make(data, tmp_path):
    pytest.importorskip("albumentations")
    wrong = [
        {"__version__": "2.0.8", "transform": {"__class_fullname__": "gone.Transform", "p": 1}}
    ]
    spec = spec_file(tmp_path, "method: FreeShift")
    with pytest.raises(RuntimeError, match=r"could not make \['gone.Transform'\]"):
        begin("detect", data, tmp_path, spec, augmentations=wrong)


def replaced_data(trainer):
    plain = trainer.get_dataloader.args[0]  # the host's own, past ours
    trainer.train_loader = plain(trainer.data["train"], batch_size=4, rank=-1, mode="train")


def replaced_transforms(trainer):
    listed = trainer.train_loader.dataset.transforms.transforms
    listed[:] = [each for each in listed if type(each).__name__ != "LabelStage"]


def replaced_batch(trainer):
    trainer.preprocess_batch = trainer.preprocess_batch.args[0]


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        (replaced_data, "has replaced the training data set or its collate_fn"),
        (replaced_transforms, "in epoch 0 it changed nothing: it was never called"),
        (replaced_batch, "in epoch 0 it changed nothing: it was never called"),
    ],
)
def test_a_dropped_hook(replace, message, data, tmp_path):
    spec = spec_file(tmp_path, "method: FreeShift, p: 1")
    with pytest.raises(RuntimeError, match=message):
        begin("detect", data, tmp_path, spec, callbacks={"on_train_start": replace})


def test_an_epoch_in_which_nothing_changed(data, tmp_path, monkeypatch):
    monkeypatch.setattr("albu_learned.ultralytics.work.change_labels", lambda *_: False)
    spec = spec_file(tmp_path, "method: FreeShift, p: 1")
    with pytest.raises(RuntimeError, match="in epoch 0 it changed none of 8 rows"):
        begin("detect", data, tmp_path, spec)


def test_a_mix_is_decided_once_a_batch(data, tmp_path, monkeypatch):
    """Two batches that p=0.99 spares are chance; eight images would not be."""
    monkeypatch.setattr("albu_learned.ultralytics.session.change_classified", lambda *_: 0)
    begin("classify", data, tmp_path, spec_file(tmp_path, "method: Halves, p: 0.99"), epochs=1)
    monkeypatch.setattr("albu_learned.ultralytics.session.change_batch", lambda *_, **__: 0)
    flood = spec_file(tmp_path, "method: Flood, p: 0.99, stage: batch")
    with pytest.raises(RuntimeError, match="none of 8 rows"):
        begin("detect", data, tmp_path, flood, epochs=1)


def workers(trainer):
    trainer.args.workers = 2


@pytest.mark.parametrize("task", ["detect", "classify"])
def test_a_defect_in_a_worker_ends_the_training(task, data, tmp_path):
    spec = spec_file(tmp_path, "method: Broken, p: 1, stage: sample")
    with pytest.raises(ZeroDivisionError, match="a defect of the method") as raised:
        begin(task, data, tmp_path, spec, callbacks={"on_pretrain_routine_start": workers})
    if sys.version_info >= (3, 11):
        assert "spec.yaml, line 4: Broken on the sample" in str(raised.value)


def without(event):
    def lose(trainer):
        trainer.callbacks[event] = []

    return lose


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("on_pretrain_routine_end", "must run `on_pretrain_routine_end` of its hook"),
        ("on_train_epoch_start", "epoch 0 began without it"),
    ],
)
def test_callbacks_that_are_lost_on_the_way(event, message, data, tmp_path):
    spec = spec_file(tmp_path, "method: FreeShift")
    lose = {"on_pretrain_routine_start": without(event)}
    with pytest.raises(RuntimeError, match=message):
        begin("classify", data, tmp_path, spec, callbacks=lose)


class Forgetful(ClassificationTrainer):
    """Drops the callbacks that it is given, as trainers of users do."""

    def __init__(self, cfg=DEFAULT_CFG, overrides=None, _callbacks=None):
        super().__init__(cfg, overrides)


@pytest.mark.parametrize("several", [False, True])
def test_a_trainer_without_callbacks(several, data, tmp_path):
    made = install(model("classify"), spec_file(tmp_path, "method: FreeShift"))
    given = {**SETTINGS, **STILL, "epochs": 1, "project": str(tmp_path)}
    given["data"] = [data("classify")] * 2 if several else data("classify")
    with pytest.raises(RuntimeError, match="has trained without it"):
        made.train(trainer=Forgetful, **given)
    results = made.train(**given)
    if several:
        assert len(made.trainer.trainers) == 2
        assert all(results.values())


@pytest.mark.parametrize("event", [None, *EVENTS])
def test_callbacks_that_are_cleared(event, tmp_path):
    made = install(model("classify"), spec_file(tmp_path, "method: FreeShift"))
    made.clear_callback(event) if event else made.reset_callbacks()
    with pytest.raises(RuntimeError, match=f"must have its hook, but {event or ''}.*lost it"):
        made.train(data="nowhere")


def test_two_hooks(data, tmp_path):
    spec = spec_file(tmp_path, "method: FreeShift")
    other = install(model("classify"), spec)
    ours = other.callbacks["on_pretrain_routine_end"][-1]
    with pytest.raises(RuntimeError, match="A training must have one spec"):
        begin("classify", data, tmp_path, spec, callbacks={"on_pretrain_routine_end": ours})
