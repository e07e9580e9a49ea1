"""Every example in a docstring runs."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import albu_learned

# To import this one is to patch timm in the whole process, by a spec that must be given.
HOOK = "albu_learned.timm.register"
FOUND = [m.name for m in pkgutil.walk_packages(albu_learned.__path__, "albu_learned.")]
MODULES = [name for name in FOUND if name != HOOK]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    result = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder()
    found = [e for name in MODULES for e in finder.find(import_module(name)) if e.examples]
    assert len(found) >= 6
