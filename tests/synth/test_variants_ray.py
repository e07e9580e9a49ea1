"""Variants made by a Ray cluster of two nodes, which loses a process."""

import pytest

pytest.importorskip("PIL", reason="the extra `cli` is not installed")
pytest.importorskip("tqdm", reason="the extra `cli` is not installed")
pytest.importorskip("ray", reason="the extra `ray` is not installed")

from tests.engine.test_ray import cluster as cluster
from tests.engine.test_ray import environment as environment
from tests.synth import sets
from tests.synth.test_variants import content, write


def test_the_same_files_though_a_process_dies(cluster, tmp_path):
    data, killed = sets.detection(tmp_path / "set", 4), tmp_path / "killed"
    method = sets.Fatal(str(killed))
    written = write(data, tmp_path / "out", 2, method, engine="ray", address=cluster.address)
    assert killed.exists()
    assert (written.images, written.new, written.errors) == (8, 8, {})
    write(data, tmp_path / "here", 2, method)
    assert content(tmp_path / "here") == content(tmp_path / "out")
