"""Other processes: the ones of several GPUs, a resumed run, the command line, no network."""

import dataclasses
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from ultralytics import YOLO
from ultralytics.utils.dist import ddp_cleanup, generate_ddp_file

from albu_learned.spec import Spec, read
from albu_learned.ultralytics import LearnedClassificationTrainer, LearnedDetectionTrainer, install
from tests.ultralytics.runs import MODEL, SETTINGS, STILL, Recorder, model, spec_file

ROOT = Path(__file__).parents[2]
MODULES = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
FLOOD = "method: Flood, p: 1, stage: image"
# Says what the batches of a training in another process were like.
WATCH = """
import torch
torch.set_num_threads(1)

def watch(trainer):
    last = trainer.preprocess_batch
    def told(batch):
        batch = last(batch)
        image = batch["img"]
        red = image[:, 0].min() > 0.4 and image[:, 1:].max() < 0.02
        print("\\nBATCH", trainer.epoch, bool(red))
        return batch
    trainer.preprocess_batch = told
"""


def fresh(code, *arguments, cwd=ROOT, **environment):
    """Runs Python in a process that knows nothing of this one."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": MODULES, "CUDA_VISIBLE_DEVICES": "-1", **environment},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def batches(done):
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("BATCH")]


CHILD = (
    WATCH
    + """
import sys
from ultralytics.utils import DEFAULT_CFG_DICT
from ultralytics.utils.patches import torch_load

assert "albu_learned" not in sys.modules  # it comes back with the state alone
for path in sys.argv[1:]:  # what the script beside it does
    state = torch_load(path, map_location="cpu")
    cfg = {**DEFAULT_CFG_DICT, "save_dir": ""}
    trainer = state["trainer"](cfg=cfg, overrides=state["args"], _callbacks=state["callbacks"])
    trainer.add_callback("on_train_start", watch)
    trainer.model = state["model"]
    trainer.train()
"""
)


def test_the_processes_of_several_gpus(data, tmp_path):
    pytest.importorskip("cloudpickle")
    spec = spec_file(tmp_path, FLOOD)
    given = {**SETTINGS, **STILL, "epochs": 1, "data": data("detect"), "project": str(tmp_path)}
    given |= {"model": MODEL["detect"], "task": "detect", "mode": "train"}
    made = install(model("detect"), spec)
    trainers = [
        made._smart_load("trainer")(overrides=given, _callbacks=made.callbacks),
        LearnedDetectionTrainer(overrides={**given, "spec": spec}),
    ]
    files = [generate_ddp_file(trainer) for trainer in trainers]
    spec.unlink()  # what travels is the spec, not its path
    states = [Path(file).with_suffix(".pt") for file in files]
    done = fresh(CHILD, *states, ALBU_LEARNED="nowhere.yaml")
    for trainer, file in zip(trainers, files, strict=True):
        ddp_cleanup(trainer, file)
    assert batches(done) == [["0", "True"]] * 4
    assert (done.stdout + done.stderr).count("albu_learned: Flood") == 2


RESUME = (
    WATCH
    + """
import sys
from ultralytics import YOLO
from albu_learned.ultralytics import install

model = install(YOLO(sys.argv[1]))
model.add_callback("on_train_start", watch)
model.train(resume=True)
"""
)


def interrupted(data, folder, spec):
    """The checkpoint of a run that was stopped after the first of two epochs."""
    made = install(model("classify"), spec)
    kept = folder / "kept.pt"
    made.add_callback("on_model_save", lambda t: kept.exists() or shutil.copy(t.last, kept))
    made.train(data=data("classify"), project=str(folder), name="run", **SETTINGS, **STILL)
    last = folder / "run" / "weights" / "last.pt"
    shutil.copy(kept, last)
    return last


def test_resuming_in_another_process(data, tmp_path):
    last = interrupted(data, tmp_path, spec_file(tmp_path, f"{FLOOD}, from_epoch: 1"))
    written = yaml.safe_load((tmp_path / "run" / "albu_learned.yaml").read_text())
    assert written["methods"][0]["method"] == "Flood"
    (tmp_path / "spec.yaml").unlink()
    assert batches(fresh(RESUME, last)) == [["1", "True"], ["1", "True"]]


def test_resuming_with_a_method_that_the_script_imported(data, tmp_path):
    spec = spec_file(tmp_path, FLOOD, modules=["albu_learned"])
    importlib.import_module("tests.ultralytics.toys")
    last = interrupted(data, tmp_path, spec)
    assert batches(fresh(RESUME, last)) == [["1", "True"], ["1", "True"]]


def test_a_spec_that_cannot_be_found_again(data, tmp_path):
    last = interrupted(data, tmp_path, spec_file(tmp_path, FLOOD))
    written = tmp_path / "run" / "albu_learned.yaml"
    entry = dataclasses.replace(read(written).entries[0], name="Gone", module="__main__")
    written.write_text(Spec((entry,)).dump())
    with pytest.raises(ValueError, match="for Gone was defined in the script, not in a module"):
        install(YOLO(last))
    model("classify").train(data=data("classify"), project=str(tmp_path), name="run", **SETTINGS)
    with pytest.raises(ValueError, match=r"must be given: .* a later run in this folder was train"):
        install(YOLO(last))


def test_resuming_with_a_trainer_class(data, tmp_path):
    last = interrupted(data, tmp_path, spec_file(tmp_path, FLOOD))
    made = model("classify")
    record = Recorder().listen(made)
    made.train(trainer=LearnedClassificationTrainer, resume=str(last))
    assert list(record.epochs) == [1]
    assert record.images(1)[:, 1:].max() < 0.02


# Python runs this file by itself when it starts.
NO_NETWORK = """
import socket

def refuse(*arguments, **settings):
    with open({log!r}, "a") as log:
        print(arguments, file=log)
    raise OSError("no network")

socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
socket.socket.connect = socket.socket.connect_ex = refuse
"""


def test_the_command_line_and_no_network(data, tmp_path):
    """As a user runs it; its spec's module lies in the current folder."""
    pytest.importorskip("typer")
    script = shutil.which("albu-learned", path=Path(sys.executable).parent)
    if script is None:
        pytest.skip("the package is not installed, so it has no script")
    tried, site = tmp_path / "tried", tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(NO_NETWORK.format(log=str(tried)))
    (tmp_path / "own.py").write_text("from tests.ultralytics.toys import Flood as Flood\n")
    spec = spec_file(tmp_path, FLOOD, modules=["own"])
    given = {**SETTINGS, **STILL, "epochs": 1, "project": tmp_path / "a folder", "name": "run"}
    given |= {"model": MODEL["detect"], "data": data("detect"), "spec": spec.name}
    given.pop("augmentations")
    done = subprocess.run(
        [script, "yolo", "train", *(f"{key}={value}" for key, value in given.items())],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{MODULES}"},
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("albu_learned: Flood on the image p=1") == 1
    assert (tmp_path / "a folder" / "run" / "albu_learned.yaml").is_file()
    assert not tried.exists(), tried.read_text()


def test_a_resumed_command_finds_the_spec(data, tmp_path):
    pytest.importorskip("typer")
    from albu_learned.ultralytics.command import parse

    last = interrupted(data, tmp_path, spec_file(tmp_path, FLOOD))
    for arguments in (["train", "resume", f"model={last}"], ["train", f"resume={last}"]):
        rest, spec = parse(arguments)
        assert rest == arguments
        assert [entry.name for entry in spec.entries] == ["Flood"]
    assert torch.load(last, weights_only=False)["epoch"] == 0
