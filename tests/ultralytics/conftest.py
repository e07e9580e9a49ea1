import importlib.util

import pytest

if importlib.util.find_spec("ultralytics") is None:  # the extra is not installed
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A function that gives the tiny data set of a task, which is made once."""
    from tests.ultralytics.shapes import make

    made = {}

    def of(task):
        if task not in made:
            made[task] = make(task, tmp_path_factory.mktemp(task))
        return made[task]

    return of
