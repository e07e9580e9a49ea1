"""The command `albu-learned yolo`, without a training; one is in test_processes."""

import sys

import pytest

pytest.importorskip("typer", reason="the extra `cli` is not installed")
from ultralytics import cfg
from ultralytics.utils.callbacks import base

from albu_learned import cli
from albu_learned.spec import read
from albu_learned.ultralytics import command
from albu_learned.ultralytics.hook import installed
from tests.ultralytics.runs import spec_file


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


@pytest.mark.parametrize("arguments", [["val", "model=a.pt"], ["version"], ["predict"], []])
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


def test_the_environment_names_a_spec(spec, seen, monkeypatch):
    monkeypatch.setenv("ALBU_LEARNED", spec)
    command.run(*command.parse(["train"]))
    assert seen[0][1].spec == read(spec)
