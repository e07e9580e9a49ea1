"""A folder that was left half full: what is known by its traces."""

from pathlib import Path

import pytest

from albu_learned.artifact import write_atomically
from albu_learned.synth.begun import FACTS, ROWS, add_lines, begun, read_lines, unfinished


@pytest.mark.parametrize("name", ["nil_000003.png", ".synth.rows", "a b.v0.txt"])
def test_what_a_killed_process_was_writing_is_known_by_its_name(name, tmp_path, monkeypatch):
    def killed(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(tmp_path / name, b"half")
    assert [unfinished(file.name) for file in tmp_path.iterdir()] == [name]
    assert unfinished(name) is None


@pytest.mark.parametrize(
    "name", [".DS_Store", ".directory", "a.0a1b2c3d", ".a.0A1B2C3D", ".0a1b2c3d"]
)
def test_other_files_are_no_such_traces(name):
    assert unfinished(name) is None


def test_a_line_that_was_cut_off_is_forgotten(tmp_path):
    assert read_lines(tmp_path) == []
    add_lines(tmp_path, ["one\n", "two\n"])
    with open(tmp_path / ROWS, "ab") as file:
        file.write(b"thr")
    assert read_lines(tmp_path) == ["one", "two"]
    add_lines(tmp_path, ["three\n"])
    assert read_lines(tmp_path) == ["one", "two", "three"]


def test_foreign_files_are_asked_for_with_what_was_wanted_before(tmp_path):
    asked = []
    for wanted in (2, 2, 5):
        with begun(tmp_path / "out", {"seed": 0}, "images", "count", wanted, asked.append):
            pass
    assert asked == [0, 0, 2, 2]
    with (
        pytest.raises(ValueError, match=r"`count` must be at least 5 .*, got 4\."),
        begun(tmp_path / "out", {"seed": 0}, "images", "count", 4, asked.append),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"hold images of the same .* differ in seed \(0, now 1\)"),
        begun(tmp_path / "out", {"seed": 1}, "images", "count", 5, asked.append),
    ):
        pass


@pytest.mark.parametrize("text", ["{", "null", '{"facts": {}}'])
def test_facts_that_were_changed_are_named(text, tmp_path):
    (tmp_path / FACTS).write_text(text)
    with (
        pytest.raises(ValueError, match=r"must have its .synth.json as it was written"),
        begun(tmp_path, {"seed": 0}, "images", "count", 1, print),
    ):
        pass
