"""The benchmark counts what passes through each part of a model, and the published loop's is what
its formula says."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.methods.psld import tiny

PATH = Path(__file__).parents[3] / "examples" / "benchmarks" / "psld.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("psld_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def given(benchmark):
    ldm = tiny.model()
    return ldm, *benchmark.masked(ldm, 2, SimpleNamespace(mask="gaussian-blobs"))


def passes(benchmark, given, *setting, **more):
    how = benchmark.Setting(*setting, **more)
    run = benchmark.ran(given[0], how, *given[1:])
    assert run.seconds > 0
    return [run.passes[kind] for kind in benchmark.KINDS]


def test_the_published_loop_is_as_dear_as_its_formula(benchmark, given):
    published = {"omega": 1.0, "gamma": 0.2, "published": True}
    found = passes(benchmark, given, "psld", 5, published, twice=True)
    # The first and last image of all: how large latents are, and what is drawn.
    assert found == [10, 10, 5 + 1, 5, 5 + 1, 5]


def test_ours_is_without_a_gradient_of_the_network(benchmark, given):
    network, network_back, *rest = passes(
        benchmark, given, "decoder-only", 4, {"guidance": 1, "polish": 1}
    )
    assert (network, network_back) == (4, 0)
    # A look with its way back and one along the line, at each level but the last, and the polish;
    # the floor and the image. If all rows agree before, it is less.
    assert all(got <= most for got, most in zip(rest, [4 * 2 + 2, 4, 2, 0], strict=True))
    assert passes(benchmark, given, "blending", 4, {}) == [4, 0, 1, 0, 2, 0]


def test_asking_twice_changes_nothing(benchmark):
    ldm = tiny.told()
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(benchmark.Twice(ldm).noise(latents, 5), ldm.noise(latents, 5))


def test_operations_are_those_of_the_layers(benchmark, given):
    """A pass back through frozen layers costs about as much as one forwards."""
    found = benchmark.operations(given[0], 16)
    assert list(found) == benchmark.KINDS
    for part in benchmark.PARTS:
        assert 0.9 < found[f"{part} backwards"] / found[f"{part} forwards"] < 1.3
