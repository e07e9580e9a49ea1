"""Without Kornia, or with an old one, the door says what to install."""

import subprocess
import sys

import pytest

HIDE = "import sys; sys.modules['kornia'] = None; sys.modules['kornia.augmentation'] = None; "
OLD = "import kornia; kornia.__version__ = '0.8.3'; "


@pytest.mark.parametrize(
    ("before", "error", "message"),
    [
        (HIDE, "ModuleNotFoundError", "needs Kornia, which is not installed"),
        (OLD, "ImportError", "needs kornia >= 0.9, got 0.8.3"),
    ],
)
def test_names_the_extra(before, error, message):
    code = before + "import albu_learned.kornia"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(error)
    assert message in last
    assert 'pip install "albu_learned[kornia]"' in last
