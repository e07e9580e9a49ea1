"""The door itself: without its host, with an old one, and its trainer classes."""

import copy
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest

from albu_learned.spec import read
from albu_learned.ultralytics import (
    LearnedClassificationTrainer,
    LearnedDetectionTrainer,
    LearnedOBBTrainer,
    LearnedPoseTrainer,
    LearnedSegmentationTrainer,
    install,
)
from albu_learned.ultralytics.hook import Hook, installed
from tests.ultralytics.runs import MODEL, SETTINGS, STILL, Recorder, model, spec_file

HIDE = "import sys; sys.modules['ultralytics'] = None; "
OLD = "import ultralytics; ultralytics.__version__ = '8.4.139'; "
FLOOD = "method: Flood, p: 1"


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (HIDE, "needs Ultralytics, which is not installed"),
        (OLD, "needs ultralytics >= 8.4.140, got 8.4.139"),
    ],
)
def test_names_the_extra(before, message):
    code = before + "import albu_learned.ultralytics"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert message in last
    assert 'pip install "albu_learned[ultralytics]"' in last


@pytest.mark.parametrize(
    ("task", "trainer"),
    [
        ("detect", LearnedDetectionTrainer),
        ("segment", LearnedSegmentationTrainer),
        ("pose", LearnedPoseTrainer),
        ("obb", LearnedOBBTrainer),
        ("classify", LearnedClassificationTrainer),
    ],
)
def test_trainer_classes(task, trainer, data, tmp_path):
    made = model(task)
    record = Recorder().listen(made)
    settings = {**SETTINGS, **STILL, "epochs": 1, "project": str(tmp_path)}
    made.train(trainer=trainer, data=data(task), spec=spec_file(tmp_path, FLOOD), **settings)
    assert record.images(0)[:, 1:].max() < 0.02
    assert installed(made.callbacks) is None  # the model is as it was


def trainer(data, folder, **settings):
    given = {**SETTINGS, "data": data("classify"), "model": MODEL["classify"], **settings}
    return LearnedClassificationTrainer(overrides={**given, "project": str(folder)})


def entries(trainer):
    return [entry.name for entry in installed(trainer.callbacks).spec.entries]


def test_where_a_trainer_finds_its_spec(data, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="`spec` must be given to a learned trainer"):
        trainer(data, tmp_path)
    flood = spec_file(tmp_path, FLOOD)
    monkeypatch.setenv("ALBU_LEARNED", str(flood))
    assert entries(trainer(data, tmp_path)) == ["Flood"]
    (tmp_path / "other").mkdir()
    halves = spec_file(tmp_path / "other", "method: Halves")
    made = install(model("classify"), halves)  # goes before the environment
    given = {**SETTINGS, "data": data("classify"), "model": MODEL["classify"]}
    found = LearnedClassificationTrainer(
        overrides={**given, "project": str(tmp_path)}, _callbacks=made.callbacks
    )
    assert entries(found) == ["Halves"]
    assert entries(trainer(data, tmp_path, spec=read(halves))) == ["Halves"]


def test_a_trainer_has_one_spec(data, tmp_path):
    made = install(model("classify"), spec_file(tmp_path, FLOOD))
    given = {**SETTINGS, **STILL, "data": data("classify"), "project": str(tmp_path), "epochs": 1}
    given["trainer"] = LearnedClassificationTrainer
    made.train(**given, spec=tmp_path / "spec.yaml")
    with pytest.raises(ValueError, match="A training must have one spec, got"):
        made.train(**given, spec=spec_file(tmp_path, "method: Halves"))


def test_a_trainer_checks_its_spec(data, tmp_path):
    with pytest.raises(ValueError, match="needs boxes"):
        trainer(data, tmp_path, spec=spec_file(tmp_path, "method: BoxPaint"))


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_of_a_model_trains_itself(twin_of, data, tmp_path):
    made = install(model("classify"), spec_file(tmp_path, FLOOD))
    twin = twin_of(made)
    record = Recorder().listen(twin)
    given = {**SETTINGS, **STILL, "epochs": 1, "project": str(tmp_path)}
    twin.train(data=data("classify"), **given)
    assert record.images(0)[:, 1:].max() < 0.02
    assert twin.trainer is not None
    assert made.trainer is None


def test_a_train_of_the_model_itself_is_kept(tmp_path):
    made, called = model("classify"), []
    made.trainer = SimpleNamespace(ddp=True)  # as where other processes train
    made.train = lambda **settings: called.append(settings)
    for _ in range(2):
        install(made, spec_file(tmp_path, FLOOD)).train(data="flowers")
    assert called == [{"data": "flowers"}] * 2


def test_tuning_would_lose_the_spec(tmp_path):
    made = install(model("detect"), spec_file(tmp_path, FLOOD))
    with pytest.raises(NotImplementedError, match="`tune` cannot be used on a model with a spec"):
        made.tune(data="data.yaml", iterations=1)


def test_the_last_installation_counts(tmp_path):
    made = install(model("detect"), spec_file(tmp_path, FLOOD))
    before = {event: len(listed) for event, listed in made.callbacks.items()}
    spec = read(spec_file(tmp_path, "method: Halves"))
    assert install(made, spec) is made
    assert {event: len(listed) for event, listed in made.callbacks.items()} == before
    assert installed(made.callbacks).spec is spec
    made.reset_callbacks()
    assert installed(made.callbacks) is None
    Hook(spec).register(made.callbacks)
    assert installed(made.callbacks).spec is spec
