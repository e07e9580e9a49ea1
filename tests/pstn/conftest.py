"""First weights and unseeded motions come from the global generator: here they are the same every
time, and the other tests do not notice."""

import gc

import pytest
import torch

from tests.pstn.loops import hooks


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def no_hooks_left():
    """Torch is as fast after a test as before."""
    yield
    if hooks():
        gc.collect()  # of errors that hold on to what they passed
        torch.nn.Identity()(torch.zeros(1))  # the first call with nothing owed
    assert hooks() == 0
