"""Every Python block of the README runs, by itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)
ANCHORS = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)", README, flags=re.M)}
EXAMPLES = sorted((ROOT / "examples").glob("*_*.py"))


def test_the_readme_has_its_parts():
    lines = README.splitlines()
    first_picture = next(
        i for i, line in enumerate(lines) if "<img" in line or line.startswith("![")
    )
    first_code = next(i for i, line in enumerate(lines) if line.startswith("```python"))
    assert first_picture < 6
    assert first_code < 25
    assert len(lines[first_code:]) > 30
    commands = [
        'pip install -e ".[all]" && albu-learned demo',
        'pip install -e ".[all,test]" && pytest',
    ]
    assert all(README.count(command) == 1 for command in commands)
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_readme_block_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), {"__name__": "readme"})


def test_pictures_and_links_exist():
    for target in re.findall(r'(?:src="|\]\()([^"):]+)[")]', README):
        if target.startswith("#"):
            assert target[1:] in ANCHORS, target
        else:
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_trains(path, tmp_path):
    """A real short training, which learns something."""
    assert len(path.read_text().splitlines()) < 80
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    accuracy = float(re.findall(r"0\.\d+|1\.000", done.stdout)[-1])
    assert accuracy > 0.6, done.stdout
