"""What is kept survives whatever the process that keeps it does not."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from albu_learned.comparison.store import Store

TRAINED, TESTED = {"loss": 0.1 + 0.2, "steps": 3}, {"accuracy": 1 / 3}


@pytest.fixture
def folder(tmp_path):
    """One cell with two stages, another with one."""
    with Store(tmp_path / "run") as store:
        store.append("a", "trained", TRAINED)
        store.append("b", "trained", {"loss": 1.0})
        store.append("a", "tested", TESTED)
    return tmp_path / "run"


KEPT = {"a": {"trained": TRAINED, "tested": TESTED}, "b": {"trained": {"loss": 1.0}}}


def test_stages_are_put_together(folder):
    with Store(folder) as store:
        assert store.read() == KEPT


def test_a_new_folder_is_empty(tmp_path):
    with Store(tmp_path / "some" / "where") as store:
        assert store.read() == {}


def test_lines_are_json_with_sorted_keys(tmp_path):
    with Store(tmp_path) as store:
        store.append("ä\nb", "trained", {"b": [1, None, "ü\n"], "a": {"d": 1, "c": 2}})
        text = (tmp_path / "cells.jsonl").read_text()
        assert text.endswith("\n")
        assert text.count("\n") == 1
        assert text == json.dumps(json.loads(text), sort_keys=True) + "\n"
        assert store.read() == {"ä\nb": {"trained": {"b": [1, None, "ü\n"], "a": {"d": 1, "c": 2}}}}


def test_the_first_of_two_lines_counts(folder):
    with Store(folder) as store:
        store.append("a", "tested", {"accuracy": 0})
        assert store.read() == KEPT


@pytest.mark.parametrize(
    "tail",
    [
        b'{"key": "c", "stage": "trained", "values": {"loss": 0.',
        b'{"key": "c", "stage": "trained", "values": {}}',  # all but its newline
        b"\0\0\0\0",  # after a power cut
        b'{"key": "c", "sta\n',
        b"7\n",
        b'{"key": "c", "stage": 1, "values": {}}\n',
        b"\xff\n",
    ],
)
def test_a_half_written_line_is_dropped(folder, tail):
    path = folder / "cells.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    with Store(folder) as store:
        assert store.read() == KEPT
        store.append("b", "tested", TESTED)
        assert store.read() == {**KEPT, "b": {**KEPT["b"], "tested": TESTED}}
    assert path.read_bytes().startswith(whole + b'{"key": "b"')


@pytest.mark.parametrize("cut", range(0, 180, 7))
def test_a_file_that_ends_anywhere(folder, cut):
    path = folder / "cells.jsonl"
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    with Store(folder) as store:
        before = store.read()
        assert sum(map(len, before.values())) == content.count(b"\n")
        store.append("z", "trained", {"n": 1})
    with Store(folder) as store:
        assert store.read() == {**before, "z": {"trained": {"n": 1}}}


def test_a_line_of_somebody_else_is_named(folder):
    path = folder / "cells.jsonl"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, b"<<<<<<< HEAD\n", *rest]))
    with Store(folder) as store, pytest.raises(ValueError, match=r"HEAD\\n' in line 2"):
        store.read()


@pytest.mark.parametrize(
    ("value", "kind"),
    [(float("nan"), ValueError), (float("inf"), ValueError), (torch.zeros(1), TypeError)],
)
def test_what_is_no_number_is_refused(folder, value, kind):
    before = (folder / "cells.jsonl").read_bytes()
    with Store(folder) as store, pytest.raises(kind, match="'tested' of 'b'"):
        store.append("b", "tested", {"deep": [value]})
    assert (folder / "cells.jsonl").read_bytes() == before


def test_a_full_disk_leaves_no_half_line(folder, monkeypatch):
    write = os.write
    with Store(folder) as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda file, line: write(file, line[:9]))
            with pytest.raises(OSError, match="the disk is full"):
                store.append("b", "tested", TESTED)
        assert store.read() == KEPT
        store.append("b", "tested", TESTED)
        assert store.read()["b"]["tested"] == TESTED


HOLD = """
import sys, time
from albu_learned.comparison.store import Store
store = Store(sys.argv[1])
store.append("of another", "trained", {})
print("held", flush=True)
time.sleep(60)
"""


def test_two_processes_are_refused_until_one_dies(folder):
    pytest.importorskip("fcntl")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=r"`folder` must be used by one .* choose anothe"):
            Store(folder)
        other.send_signal(signal.SIGKILL)
    with Store(folder) as store:
        assert store.read() == {**KEPT, "of another": {"trained": {}}}
        with pytest.raises(BlockingIOError):
            Store(folder)


WRITE = """
import sys, itertools
from albu_learned.comparison.store import Store
store = Store(sys.argv[1])
print("begin", flush=True)
for n in itertools.count():
    store.append(f"cell-{n}", "trained", {"n": n, "filling": "x" * 3000})
"""


def test_killed_while_it_writes(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "begin\n"
        time.sleep(0.3)
        other.send_signal(signal.SIGKILL)
    with Store(tmp_path) as store:
        found = store.read()
        store.append("after", "trained", {})
        assert [cell["trained"].get("n") for cell in store.read().values()] == [
            *range(len(found)),
            None,
        ]
    assert len(found) > 3


def test_weights_come_back_as_they_were(folder):
    shared = torch.rand(4, 3)
    tensors = {"a": shared, "b": shared.T, "c": torch.tensor(3), "d": shared[1:].bfloat16()}
    with Store(folder) as store:
        store.put_weights("a/seed 1", tensors)
        store.put_weights("a/seed 1", tensors)
        assert store.weights("a/seed 1").parent == folder / "weights"
        found = store.take_weights("a/seed 1")
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(found[name], tensor)
            assert found[name].dtype == tensor.dtype
        assert store.weights("a/seed 1").is_file()
        store.drop_weights("a/seed 1")
        store.drop_weights("a/seed 1")
        assert list((folder / "weights").iterdir()) == []


def test_every_key_has_a_file_of_its_own(folder):
    keys = ["a/b", "a_b", "A_b", "..", ".", "a b", "x" * 300, "x" * 301, "ä", "ö"]
    with Store(folder) as store:
        names = {store.weights(key).name.lower() for key in keys}
        assert len(names) == len(keys)
        for n, key in enumerate(keys):
            store.put_weights(key, {"n": torch.tensor(n)})
        assert [store.take_weights(key)["n"].item() for key in keys] == list(range(len(keys)))
    assert {path.parent for path in (folder / "weights").iterdir()} == {folder / "weights"}


def test_weights_that_are_not_there(folder):
    with Store(folder) as store:
        for content in (None, b"torn"):
            if content is not None:
                store.weights("a").write_bytes(content)
            with pytest.raises(ValueError, match="`key` must be a cell whose weights are kept"):
                store.take_weights("a")


def test_the_weights_of_a_killed_process_are_removed(folder):
    with Store(folder) as store:
        store.put_weights("a", {"n": torch.zeros(1)})
        path = store.weights("a")
    left = path.with_name(f".{path.name}.abc")
    left.touch()
    Store(folder).close()
    assert path.is_file()
    assert not left.exists()
