"""The engine on one machine: the same results however they are run, and nothing left behind."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch

pytest.importorskip("tqdm", reason="the extra `cli` is not installed")
from albu_learned import engine
from albu_learned.engine import Task, run
from albu_learned.engine.task import failure
from tests.engine import works

ROOT = Path(__file__).parents[2]
NOTES = sys.version_info >= (3, 11)


def tasks(count):
    return [Task(f"cell-{n}", f"plain, seed {n}", n) for n in range(count)]


def table(count, work, **settings):
    """Results by key, and the keys in the order they came in."""
    found, order = {}, []

    def done(task, result):
        order.append(task.key)
        found[task.key] = result

    run(tasks(count), work, done, **settings)
    assert len(order) == len(set(order)) == count
    return found, order


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for key, result in wanted.items():
        assert found[key]["mean"] == result["mean"]
        assert torch.equal(found[key]["weights"], result["weights"])


def test_the_same_results_from_one_process_and_from_two(capfd):
    wanted, order = table(6, works.draw)
    assert order == [f"cell-{n}" for n in range(6)]
    found, _ = table(6, works.draw, jobs=2, title="training")
    same(found, wanted)
    assert capfd.readouterr() == ("", "")  # as this is no terminal
    assert {result["threads"] for result in (wanted | found).values()} == {1}


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_where_tasks_run_with_how_many_threads_and_deaf_to_interrupts():
    before, outside = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    here, _ = table(2, works.where, threads=3)
    assert set(here.values()) == {(os.getpid(), outside, 3, False)}
    there, _ = table(4, works.where, jobs=2, threads=3)
    assert {place[1:] for place in there.values()} == {("3", 3, True)}
    assert os.getpid() not in {place[0] for place in there.values()}
    assert len({place[0] for place in there.values()}) <= 2
    assert (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")) == (before, outside)


@pytest.mark.parametrize("jobs", [1, 2])
def test_payloads_are_loaded_when_their_turn_comes(jobs):
    given = works.Loaded(6)
    run(given.tasks, works.draw, given.done, jobs=jobs)
    assert given.seen == list(range(6))
    assert max(given.ahead) <= jobs
    same(given.found, {f"cell-{n}": works.draw(n) for n in range(6)})


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_work_raises_is_raised_here_and_the_rest_is_kept(jobs, tmp_path):
    found = {}

    def done(task, result):
        found[task.key] = result
        (tmp_path / task.key).touch()

    with pytest.raises(KeyError, match="accuracy") as caught:
        run(tasks(3), partial(works.fail, str(tmp_path)), done, jobs=jobs)
    assert found == {"cell-0": 0, "cell-1": 1}
    text = "".join(traceback.format_exception(caught.value))
    assert 'raise KeyError("accuracy")' in text
    assert not NOTES or "This was in plain, seed 2." in text


@pytest.mark.parametrize(
    ("work", "kind", "message"),
    [
        (works.picky, RuntimeError, "PickyError: accuracy in [01]"),
        (works.unpicklable, Exception, r"(?i)pickle|local object"),
        (works.leave, SystemExit, "[01]"),
    ],
)
def test_what_can_hardly_be_sent_is_raised_too(work, kind, message):
    with pytest.raises(kind, match=message) as caught:
        run(tasks(1), work, print, jobs=2)
    assert "Traceback" in str(caught.value.__cause__)


def test_what_came_beside_an_exception_is_kept():
    class Crew:
        """All three have ended by the time it is asked."""

        given, stopped = (), None

        def room(self):
            return True

        def give(self, task, payload):
            self.given += (task,)

        def wait(self):
            bad, *good = self.given
            failed = failure(KeyError("accuracy"))
            return [(bad, failed), *((task, pickle.dumps((1, None, ""))) for task in good)]

        def stop(self, at_once):
            self.stopped = at_once

    crew, found = Crew(), []
    with pytest.raises(KeyError, match="accuracy"):
        engine._hand_out(tasks(3), lambda task, result: found.append((task.key, result)), crew)
    assert found == [("cell-1", 1), ("cell-2", 1)]
    assert crew.stopped is True


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("given", [{"payload": 1}, {"load": Path("nowhere").read_text}])
def test_what_done_and_load_raise_names_the_task(jobs, given):
    def done(task, result):
        raise FileNotFoundError("the disk is gone")

    with pytest.raises(FileNotFoundError) as caught:
        run([Task("a", "mixup", **given)], works.draw, done, jobs=jobs)
    assert ("nowhere" in str(caught.value)) == ("load" in given)
    assert not NOTES or caught.value.__notes__ == ["This was in mixup."]


def test_the_tasks_of_a_process_that_dies_are_done_by_another(tmp_path):
    found, _ = table(6, partial(works.die_once, str(tmp_path)), jobs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "3"]
    same(found, {f"cell-{n}": works.draw(n) for n in range(6)})


def test_a_task_that_kills_its_process_three_times_is_given_up(tmp_path):
    found = {}

    def done(task, result):
        found[task.key] = result
        if len(found) == 4:
            (tmp_path / "others").touch()

    with pytest.raises(RuntimeError, match=r"plain, seed 0 died 3 times.*code -9.*fewer \(--jobs"):
        run(tasks(5), partial(works.die, str(tmp_path)), done, jobs=2)
    assert len(list(tmp_path.glob("death*"))) == 3
    same(found, {f"cell-{n}": works.draw(n) for n in range(1, 5)})


SCRIPT = """
    import sys
    from functools import partial
    from albu_learned.engine import Task, run
    from tests.engine import works

    if {guard}:
        try:
            print("begin", flush=True)
            given = [Task(str(n), "", n) for n in range(4)]
            run(given, partial(works.sleep, sys.argv[1]), print, jobs=2)
        except KeyboardInterrupt:
            print("stopped", flush=True)
            sys.exit(130)
"""


@pytest.fixture(scope="class")
def start(tmp_path_factory):
    """Starts a script that runs endless tasks. Its pipes end when its last process has ended."""
    started = []

    def start(guard='__name__ == "__main__"'):
        place = tmp_path_factory.mktemp("script")
        script, folder = place / "script.py", place / "marks"
        script.write_text(textwrap.dedent(SCRIPT.format(guard=guard)))
        folder.mkdir()
        process = subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,  # a group, which Ctrl-C on a terminal reaches as a whole
        )
        started.append(process)
        return process, folder

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="class")
def early(start):
    """Scripts whose moment does not matter, started at once: most of their time is imports."""
    return {"at work": start(), "killed": start(), "without a guard": start(guard="True")}


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(os.name != "posix", reason="signals")
class TestInterrupted:
    def test_at_work(self, early):
        process, folder = early["at work"]
        wait_for(lambda: len(list(folder.iterdir())) == 2)
        os.killpg(process.pid, signal.SIGINT)
        out, error = process.communicate(timeout=20)
        assert (out, error, process.returncode) == ("begin\nstopped\n", "", 130)

    @pytest.mark.parametrize("after", [0.05, 1])
    def test_while_the_processes_start(self, start, after):
        process, _ = start()
        assert process.stdout.readline() == "begin\n"
        time.sleep(after)
        os.killpg(process.pid, signal.SIGINT)
        out, error = process.communicate(timeout=20)
        assert (out, error, process.returncode) == ("stopped\n", "", 130)

    def test_killed(self, early):
        process, folder = early["killed"]
        wait_for(lambda: len(list(folder.iterdir())) == 2)
        process.kill()
        process.communicate(timeout=20)  # its processes have ended with it

    def test_a_script_without_a_guard(self, early):
        process, _ = early["without a guard"]
        _, error = process.communicate(timeout=60)
        assert process.returncode == 1
        assert 'A script must call this under `if __name__ == "__main__":`' in error


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "dask"}, "`engine` must be one of local, ray, got 'dask'"),
        ({"jobs": 0}, "`jobs` must be an integer >= 1, got 0"),
        ({"threads": 0}, "`threads` must be"),
        ({"gpus": -1}, "`gpus` must be in"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        run(tasks(1), works.draw, print, **settings)


def test_keys_that_are_the_same():
    with pytest.raises(ValueError, match="`tasks` must have keys that differ, got 'cell-0'"):
        run(tasks(1) * 2, works.draw, print)


def test_nothing_to_do():
    run([], works.draw, print, jobs=2)


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "albu_learned\[ray\]"') as caught:
        run(tasks(1), works.draw, print, engine="ray")
    assert caught.value.name == "ray"


def test_the_bar_on_a_terminal(monkeypatch):
    class Terminal:
        text = ""
        encoding = "utf-8"

        def isatty(self):
            return True

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run(tasks(2), works.draw, lambda task, result: None, title="training")
    assert "training: 100%" in terminal.text
    assert "2/2" in terminal.text


def test_the_public_names():
    assert engine.__all__ == ["Task", "check", "run"]
