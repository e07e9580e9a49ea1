"""A whole comparison: what it leaves behind, that it goes on where it was stopped, and that it
finds what was planted."""

import csv
import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
pytest.importorskip("torchmetrics", reason="the extra `cli` is not installed")
from albu_learned.comparison import cells, compare, finish
from albu_learned.comparison.files import read_json
from tests import toys
from tests.cases import shifted
from tests.comparison import toy_data

ROOT = Path(__file__).parents[2]
module = importlib.import_module("albu_learned.comparison.compare")
SETTINGS = {**toy_data.TINY, "sizes": [2, 4], "seeds": 2, "steps": 6}
SPEC = "methods: [{method: ZetaMixup, gamma: 4, p: 0.5, try: {gamma: [4, 6]}}]"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """With a data set and a spec."""
    folder = tmp_path_factory.mktemp("place")
    toy_data.as_npz(folder / "toys.npz", toy_data.images())
    toy_data.written(folder, SPEC, "own.yaml")
    return folder


def carried_out(place, out, arms=("own.yaml",), **given):
    names = [str(place / arm) if arm.endswith(".yaml") else arm for arm in arms]
    data = given.pop("data", place / "toys.npz")
    return compare(data, names, out=out, **{"say": lambda text: None, **SETTINGS, **given})


@pytest.fixture(scope="module")
def whole(place):
    """One comparison with everything, and the lines that it said."""
    said = []
    return carried_out(place, place / "whole", say=said.append), "\n".join(said)


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures take longer than tiny trainings."""
    monkeypatch.setattr(finish, "draw_plots", lambda *_: {})
    monkeypatch.setattr(finish, "draw_samples", lambda *_: {})


def csv_of(folder):
    return (folder / "results.csv").read_bytes()


def test_everything_is_written(place, whole):
    found, said = whole
    out = place / "whole"
    assert found.report == out / "report.html"
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"report.html", "results.csv", "results.json", "cells.jsonl"} <= names
    assert any(name.startswith("plots/") for name in names)
    assert {f"samples/arm_{number}.png" for number in range(3)} <= names
    assert not [name for name in names if name.startswith("weights/")]
    assert found.table in said
    assert found.sentence in said
    assert "toys: 3 classes, 30 images to train on, 12 to test on." in said
    assert "3 arms, 2 seeds, 2, 4 a class: 12 cells of 6 steps." in said


def test_a_row_for_every_cell(place, whole):
    rows = list(csv.DictReader((place / "whole" / "results.csv").open()))
    assert len(rows) == 12
    assert {row["arm"] for row in rows} == {"plain", "own", "label smoothing"}
    assert all(0 <= float(row["accuracy"]) <= 1 for row in rows)
    outcome = whole[0].outcome
    assert read_json(place / "whole" / "results.json").results == outcome.results
    own = [r for r in outcome.results if r.arm == "own"]
    assert all(len(r.tried) == 2 and r.strength in ({"gamma": 4}, {"gamma": 6}) for r in own)


def test_the_command_gives_the_same(place, whole, tmp_path, monkeypatch, undrawn):
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from albu_learned import cli

    program, *words = shlex.split(read_json(place / "whole" / "results.json").command)
    assert program == "albu-learned"
    words[words.index("--out") + 1] = "again"
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app(), words)
    assert result.exit_code == 0, result.output
    assert csv_of(tmp_path / "again") == csv_of(place / "whole")


def test_two_processes_give_the_same(place, whole, tmp_path, undrawn):
    carried_out(place, tmp_path / "two", jobs=2)
    assert csv_of(tmp_path / "two") == csv_of(place / "whole")


def test_what_is_there_is_not_trained_again(place, whole, tmp_path, monkeypatch, undrawn):
    out, trained = tmp_path / "out", []
    train = cells.train_cell
    monkeypatch.setattr(
        cells, "train_cell", lambda study, cell: (trained.append(str(cell)), train(study, cell))[1]
    )
    carried_out(place, out, sizes=4, seeds=1, arms=["label smoothing"])
    assert len(trained) == 2
    said = []
    carried_out(place, out, say=said.append)  # more of all
    assert len(trained) == len(set(trained)) == 12
    assert "12 cells of 6 steps. 2 are there already." in "\n".join(said)
    assert csv_of(out) == csv_of(place / "whole")
    carried_out(place, out)
    assert len(trained) == 12


SCRIPT = "import sys; from albu_learned.cli import main; main(sys.argv[1:])"


def stopped(place, out, how, lines=4):
    """The same comparison in another process, to which `how` is sent midway."""
    words = ["compare", "toys.npz", "--arms", "own.yaml", "--sizes", "2,4", "--seeds", "2"]
    words += ["--steps", "6", "--batch", "8", "--device", "cpu", "--out", str(out)]
    slow = "import time; from albu_learned.comparison import cells; train = cells.train_cell\n"
    slow += "cells.train_cell = lambda *given: (time.sleep(0.2), train(*given))[1]\n"
    process = subprocess.Popen(
        [sys.executable, "-c", slow + SCRIPT, *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    kept, end = out / "cells.jsonl", time.monotonic() + 60
    while not kept.exists() or kept.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(how)
    said, error = process.communicate(timeout=60)
    assert lines <= kept.read_bytes().count(b"\n") < 12
    assert not (out / "results.csv").exists()
    return said, error, process.returncode


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_stopped_comparison_goes_on(place, whole, tmp_path, undrawn, how):
    said, error, code = stopped(place, tmp_path / "out", getattr(signal, how))
    if how == "SIGINT":
        kept = (
            r"Stopped\. What is finished is kept in .*out, (\d+) of 12 cells trained and 0 tested: "
        )
        assert int(re.search(kept + "the same command goes on from here", said)[1]) >= 4
        assert (error, code) == ("albu-learned: stopped.\n", 130)
    again = []
    carried_out(place, tmp_path / "out", say=again.append)
    assert csv_of(tmp_path / "out") == csv_of(place / "whole")
    assert not list((tmp_path / "out" / "weights").iterdir())


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("where", "name", "message"),
    [
        ("prepare", "_check_extras", "Stopped before the first training, .* nothing new to keep"),
        ("compare", "train_work", "Stopped. No training was finished, so nothing is kept: the sa"),
        ("compare", "finish", "kept in .*out, 1 of 1 cell trained and 1 tested: the same command"),
    ],
)
def test_whenever_it_is_stopped_it_says_what_is_kept(
    place, tmp_path, monkeypatch, where, name, message
):
    monkeypatch.setattr(
        importlib.import_module(f"albu_learned.comparison.{where}"), name, interrupt
    )
    said = []
    given = {"sizes": 2, "seeds": 1, "steps": 1, "say": said.append}
    with pytest.raises(KeyboardInterrupt):
        carried_out(place, tmp_path / "out", ["plain"], **given)
    assert re.search(message, said[-1])


def test_one_of_each_is_said_so(place, tmp_path, undrawn):
    said = []
    given = {"sizes": 2, "seeds": 1, "steps": 1, "say": said.append}
    for _ in range(2):
        carried_out(place, tmp_path / "out", ["plain"], **given)
    assert "1 arm, 1 seed, 2 a class: 1 cell of 1 step. 1 is there already." in said
    carried_out(place, tmp_path / "out", ["plain"], **{**given, "steps": 2})
    assert any("has 1 cell of other comparisons too, which stay." in line for line in said)


def test_images_in_both_parts_are_said_and_noted(place, tmp_path, undrawn):
    given = toy_data.images()
    given.test.rows[3] = given.train.rows[5]
    said = []
    options = {"data": given, "sizes": 2, "seeds": 1, "steps": 1, "say": said.append}
    found = carried_out(place, tmp_path / "out", ["plain"], **options)
    remark = (
        "1 of the 12 test images stand in the training part too, such as row 3, which is row 5. "
        "What is learned of them by heart counts as right: take them out of one part."
    )
    assert f"Careful: {remark}" in said
    assert found.outcome.notes[0] == remark


def test_no_test_image_is_read_before_the_last_training_has_ended(
    place, tmp_path, monkeypatch, undrawn
):
    given = toy_data.images()
    log = toy_data.log_of(given)
    train = module.train_work

    def logged(study, cell):
        log.append(("begun", str(cell)))
        found = train(study, cell)
        log.append(("trained", str(cell)))
        return found

    monkeypatch.setattr(module, "train_work", logged)
    carried_out(place, tmp_path / "out", ["label smoothing"], data=given)
    what = [name for name, _ in log]
    assert what.count("trained") == 8
    last = len(what) - what[::-1].index("trained")
    assert "read test" not in what[:last]
    read = sum(rows for name, rows in log if name == "read test")
    assert 12 <= read <= 8 * 12
    assert what[:last].count("check test") == 1


def test_nothing_of_torch_is_changed(place, tmp_path, undrawn):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.manual_seed(7)
        state = torch.get_rng_state()
        carried_out(place, tmp_path / "out", ["label smoothing"], sizes=2, seeds=1, threads=1)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == 2
        assert torch.get_default_device() == torch.device("cpu")
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
    finally:
        torch.set_num_threads(threads)


def test_series(tmp_path):
    found = carried_out(
        tmp_path, tmp_path / "out", ["recipe"], data=toy_data.series(), sizes=4, seeds=1, steps=30
    )
    assert found.outcome.kind == "series"
    assert found.outcome.values("plain", 4)[0] > 0.6
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 2


def test_a_model_of_timm(place, tmp_path, undrawn):
    pytest.importorskip("timm")
    given = {"model": "test_resnet", "image_size": 32, "sizes": 4, "seeds": 1, "steps": 2}
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        carried_out(place, out, ["label smoothing"], **given)
    assert csv_of(outs[0]) == csv_of(outs[1])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision(place, tmp_path, undrawn, precision):
    given = {"precision": precision, "sizes": 4, "seeds": 1, "steps": 30}
    found = carried_out(place, tmp_path / "out", ["label smoothing"], **given)
    assert found.outcome.values("plain", 4)[0] > 0.6


def test_all_images(place, tmp_path, undrawn):
    found = carried_out(place, tmp_path / "out", ["plain"], sizes="all", seeds=1)
    assert found.outcome.sizes == (0,)
    (row,) = csv.DictReader((tmp_path / "out" / "results.csv").open())
    assert row["size"] == "all"
    assert "--sizes all" in found.outcome.command


def test_too_few_images_are_said(place, tmp_path, undrawn):
    found = carried_out(place, tmp_path / "out", sizes=[1], seeds=1)
    assert any("too few images" in note for note in found.outcome.notes)
    assert {r.strength.get("gamma", 4) for r in found.outcome.results} == {4}


def test_strengths_without_a_number_are_drawn_too(tmp_path):
    path = toy_data.written(tmp_path, "methods: [{method: ZetaMixup, try: {top_k: [null, 4]}}]")
    given = {"sizes": 1, "seeds": 1, "steps": 1}  # too few to choose: it stays at None
    found = compare(
        toy_data.images(), [path], out=tmp_path / "out", say=print, **{**SETTINGS, **given}
    )
    assert {"top_k": None} in [r.strength for r in found.outcome.results]


def test_a_planted_winner_is_found_and_a_useless_arm_is_not(tmp_path, undrawn):
    """Test images wander and training images do not: who moves images wins."""
    specs = []
    for name, toy in [("wander", toys.FreeShift(noise=0.2)), ("still", toys.FreeShift())]:
        shifted(toy, [[0.0, 0.0], [0.01, 0.0]]).save_pretrained(tmp_path / name)
        text = f"methods: [{{artifact: {name}, p: 0.9}}]"
        specs.append(toy_data.written(tmp_path, text, f"{name}.yaml"))
    given = {"sizes": 15, "seeds": 5, "steps": 50, "batch": 16}
    found = carried_out(tmp_path, tmp_path / "out", specs, data=toy_data.wandering(), **given)
    assert found.sentence.startswith("Use wander on toys: +")
    accuracy = {arm: found.outcome.values(arm, 15) for arm in ("plain", "wander", "still")}
    gains = [a - b for a, b in zip(accuracy["wander"], accuracy["plain"], strict=True)]
    assert min(gains) > 0.2
    assert "Use still" not in found.sentence
    assert "still beat plain" not in found.sentence


def test_a_cell_whose_weights_are_gone_is_trained_again(place, tmp_path, undrawn, monkeypatch):
    wanted = csv_of_run(place, tmp_path / "whole")

    def stopped(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "test_work", stopped)
        with pytest.raises(KeyboardInterrupt):
            carried_out(place, tmp_path / "again")
    weights = sorted((tmp_path / "again" / "weights").iterdir())
    assert len(weights) == 12
    for path in weights[:5]:
        path.unlink()
    assert csv_of_run(place, tmp_path / "again") == wanted
    assert not list((tmp_path / "again" / "weights").iterdir())


def csv_of_run(place, out):
    carried_out(place, out)
    return csv_of(out)
