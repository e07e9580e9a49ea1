"""The engine on a Ray cluster of two nodes, which loses processes and a node."""

import shutil
import signal
import tempfile
import threading
import traceback
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("tqdm", reason="the extra `cli` is not installed")
pytest.importorskip("ray", reason="the extra `ray` is not installed")
import ray
from ray.cluster_utils import Cluster

from albu_learned.engine import run
from tests.engine import works
from tests.engine.test_engine import NOTES, same, table, tasks, wait_for

ROOT = Path(__file__).parents[2]
MEMORY = 80 * 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def environment():
    """A place for Ray's files that no other cluster shares, and no cluster found by itself."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # the paths of its sockets must be short
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(environment):
    one = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=one)
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def wanted(count):
    return {f"cell-{n}": works.draw(n) for n in range(count)}


def test_exceptions_come_back_and_the_rest_is_kept(cluster, tmp_path):
    found = {}

    def done(task, result):
        found[task.key] = result
        (tmp_path / task.key).touch()

    work = partial(works.fail, str(tmp_path))
    with pytest.raises(KeyError, match="accuracy") as caught:
        run(tasks(3), work, done, engine="ray", address=cluster.address)
    assert found == {"cell-0": 0, "cell-1": 1}
    text = "".join(traceback.format_exception(caught.value))
    assert 'raise KeyError("accuracy")' in text
    assert not NOTES or "This was in plain, seed 2." in text
    assert not ray.is_initialized()


def test_payloads_are_loaded_when_their_turn_comes(cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    given = works.Loaded(12)
    run(given.tasks, works.draw, given.done, engine="ray")
    same(given.found, wanted(12))
    assert max(given.ahead) < 4  # two nodes, twice
    assert not ray.is_initialized()


def test_processes_and_a_node_are_lost(cluster, tmp_path):
    """In a connection of the user's own, which stays."""
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    (node,) = cluster.worker_nodes

    def remove():
        wait_for((tmp_path / "there").exists)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=remove)
    thread.start()
    work = partial(works.on_cluster, str(tmp_path), node.node_id)
    found, _ = table(8, work, engine="ray")
    thread.join()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "there"]
    same(found, wanted(8))
    assert ray.is_initialized()


def test_a_task_that_kills_its_process_three_times_is_given_up(cluster, tmp_path):
    (tmp_path / "others").touch()
    with pytest.raises(RuntimeError, match=r"seed 0 died 3 times, .* with WorkerCrashedError"):
        run(tasks(1), partial(works.die, str(tmp_path)), print, engine="ray")
    assert len(list(tmp_path.glob("death*"))) == 3


@pytest.mark.filterwarnings("error:No node of the Ray cluster has 2 CPUs and 0 GPUs")
def test_waiting_for_a_node_is_said(cluster):
    with pytest.raises(UserWarning, match="This waits until there is one"):
        run(tasks(1), works.draw, print, engine="ray", threads=2)


def test_an_interrupt_leaves_no_task(cluster, tmp_path):
    main = threading.main_thread().ident

    def interrupt():
        wait_for((tmp_path / "0").exists)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(tasks(1), partial(works.sleep, str(tmp_path)), print, engine="ray")
    thread.join()
    assert ray.is_initialized()
    wait_for(lambda: ray.available_resources().get("CPU") == 1)
    ray.shutdown()


def test_one_that_is_started_for_it(capfd):
    found, _ = table(3, works.draw, engine="ray", address="local", threads=2)
    assert {result["threads"] for result in found.values()} == {2}
    assert found["cell-2"]["mean"] == pytest.approx(works.draw(2)["mean"])
    assert not ray.is_initialized()
    assert capfd.readouterr() == ("", "Starting Ray on this machine.\n")


def test_more_gpus_than_there_are():
    with pytest.raises(ValueError, match=r"`gpus` must be at most the . of this"):
        run(tasks(1), works.draw, print, engine="ray", address="local", gpus=99)
    assert not ray.is_initialized()
