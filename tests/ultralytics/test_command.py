"""The command `albu-learned yolo`, without a training; one is in test_processes."""

import logging
import sys

import pytest

pytest.importorskip("typer", reason="the extra `cli` is not installed")
from ultralytics import cfg
from ultralytics.utils.callbacks import base

from albu_learned import cli
from albu_learned.spec import read
from albu_learned.ultralytics import command
from albu_learned.ultralytics.hook import installed
from tests.ultralytics.runs import SETTINGS, model, spec_file


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    return str(spec_file(tmp_path, "method: Flood"))


@pytest.fixture
def seen(monkeypatch):
    """What Ultralytics would find: its arguments, and the hook among its callbacks."""
    found = []

    def entrypoint():
        found.append((cfg.ARGV[1:], installed(base.get_default_callbacks())))

    monkeypatch.setattr(cfg, "entrypoint", entrypoint)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "data=a b", "spec={}"],
        ["--spec", "{}", "train", "data=a b"],
        ["train", "--spec={}", "data=a b"],
        ["train", "spec", "=", "{}", "data=a b"],
        ["train", "data=a b", "--spec", "{}"],
    ],
)
def test_takes_the_spec_out_and_leaves_all_as_it_was(arguments, spec, seen):
    before = {event: list(listed) for event, listed in base.default_callbacks.items()}
    argv = list(cfg.ARGV)
    with pytest.raises(SystemExit) as ended:
        cli.main(["yolo", *(each.format(spec) for each in arguments)])
    assert not ended.value.code
    [(given, hook)] = seen
    assert given == ["train", "data=a b"]
    assert hook.spec == read(spec)
    assert base.default_callbacks == before
    assert argv == cfg.ARGV


@pytest.mark.parametrize(
    "arguments",
    [
        ["val", "model=a.pt"],
        ["train", "mode=val"],
        ["version"],
        ["--help"],
        ["-h"],
        ["Check"],
        ["settings", "sync=False"],
        ["predict"],
        [],
    ],
)
def test_other_commands_pass(arguments, seen):
    command.run(*command.parse(arguments))
    assert seen == [(arguments, None)]


def test_leaves_all_as_it_was_after_an_error(spec, monkeypatch):
    def entrypoint():
        raise RuntimeError("a defect")

    monkeypatch.setattr(cfg, "entrypoint", entrypoint)
    with pytest.raises(RuntimeError, match="a defect"):
        command.run(*command.parse(["train"], spec))
    assert installed(base.default_callbacks) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "data=a"], "`spec` must be given to train"),
        (["data=a", "model=b"], "`spec` must be given to train"),
        (["resume", "model=nowhere/weights/last.pt"], "`spec` must be given to train"),
        (["detect", "model=b"], "`spec` must be given to train"),
        (["val", "mode=train"], "`spec` must be given to train"),
        (["cfg=nowhere.yaml", "epochs=3"], "`spec` must be given to train"),
        (["train", "spec={}", "--spec={}"], "`spec` must be given once"),
        (["version", "spec={}"], "`spec` must be left out of the mode 'version'"),
        (["mode=train", "val=False"], "`spec` must be given to train"),
        (["train", "resume", "model=nowhere/weights/last.pt"], "`spec` must be given to train"),
        (["val", "spec={}"], "`spec` must be left out of the mode 'val'"),
        (["mode=export", "spec={}"], "`spec` must be left out of the mode 'export'"),
        (["train", "spec=nowhere.yaml"], "The spec must be a YAML file, got 'nowhere.yaml'"),
        (["train", "epohs=3", "spec={}"], "'epohs' is not a valid YOLO argument"),
    ],
)
def test_what_the_user_did_wrong_is_one_line(arguments, message, spec, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["yolo", *(each.format(spec) for each in arguments)])
    assert ended.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "albu-learned:" in line]
    assert len(lines) == 1
    assert message in lines[0]


def test_a_file_of_settings_is_read(tmp_path, seen, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text("mode: train\ndata: a.yaml\nresume: null\n")
    with pytest.raises(ValueError, match="`spec` must be given to train"):
        command.parse(["cfg=my.yaml"])
    command.run(*command.parse(["cfg=my.yaml", "val"]))  # arguments go before the file
    (tmp_path / "my.yaml").write_text("mode: val")
    command.run(*command.parse(["cfg=my.yaml"]))
    assert [arguments for arguments, _ in seen] == [["cfg=my.yaml", "val"], ["cfg=my.yaml"]]
    with pytest.raises(ValueError, match="`spec` must be left out of the mode 'val'"):
        command.parse(["cfg=my.yaml", "spec=spec.yaml"])


def test_a_training_that_was_not_foreseen_stops(data, tmp_path, monkeypatch, caplog):
    given = {**SETTINGS, "project": str(tmp_path), "epochs": 1}
    sources = [data("classify"), [data("classify")]]
    monkeypatch.setattr(
        cfg, "entrypoint", lambda: model("classify").train(**given, data=sources[0])
    )
    with pytest.raises(ValueError, match="`spec` must be given to train"):
        command.run(["val"], None)
    monkeypatch.setattr(
        cfg, "entrypoint", lambda: model("classify").train(**given, data=sources[1])
    )
    with caplog.at_level(logging.ERROR, logger="ultralytics"):
        command.run(["val"], None)  # of several data sets the host skips those that fail
    assert "`spec` must be given to train" in caplog.text
    assert not list(tmp_path.rglob("*.pt"))

    def elsewhere():  # the processes of other GPUs run this one alone
        for function in base.get_default_callbacks()["on_pretrain_routine_end"]:
            function(None)

    monkeypatch.setattr(cfg, "entrypoint", elsewhere)
    with pytest.raises(ValueError, match="`spec` must be given to train"):
        command.run(["val"], None)
    elsewhere()


def test_the_environment_names_a_spec(spec, seen, monkeypatch):
    monkeypatch.setenv("ALBU_LEARNED", spec)
    command.run(*command.parse(["train"]))
    assert seen[0][1].spec == read(spec)
