"""First weights and unseeded motions come from the global generator: here they are the same every
time, and the other tests do not notice."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
