"""What tests let an engine do: in a module, so that other processes can import it."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import torch

from albu_learned.engine import Task


class PickyError(Exception):
    """Like many exceptions it cannot be unpickled: its text is not its arguments."""

    def __init__(self, what, where):
        super().__init__(f"{what} in {where}")


class Loaded:
    """Tasks whose payloads are loaded when they are asked for, which tell how many are ahead.

    Args:
        count: how many tasks.
    """

    def __init__(self, count):
        self.seen, self.found, self.ahead = [], {}, []
        self.tasks = [Task(f"cell-{n}", "", load=partial(self._load, n)) for n in range(count)]

    def _load(self, number):
        self.seen.append(number)
        return number

    def done(self, task, result):
        self.found[task.key] = result
        self.ahead.append(len(self.seen) - len(self.found))


def draw(seed):
    """A stand-in for a training: numbers that depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(1000, generator=generator)
    return {"mean": weights.mean().item(), "weights": weights, "threads": torch.get_num_threads()}


def where(_):
    deaf = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return os.getpid(), os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads(), deaf


def fail(folder, number):
    """The third fails, but not before `done` has made a file for each of the others."""
    if number != 2:
        return number
    while len(list(Path(folder).iterdir())) < 2:
        time.sleep(0.01)
    raise KeyError("accuracy")


def picky(number):
    raise PickyError("accuracy", number)


def unpicklable(number):
    return lambda: number


def leave(number):
    raise SystemExit(number)


def die_once(folder, seed):
    """Every third dies the first time."""
    flag = Path(folder) / str(seed)
    if seed % 3 == 0 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(seed)


def die(folder, seed):
    """The first dies every time, once the others are done."""
    folder = Path(folder)
    if seed:
        return draw(seed)
    while not (folder / "others").exists():
        time.sleep(0.01)
    (folder / f"death {time.time_ns()}").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(folder, number):
    (Path(folder) / str(number)).touch()
    time.sleep(600)


def on_cluster(folder, doomed, seed):
    """On the node that will be removed nothing ends; elsewhere one process dies."""
    import ray

    if ray.get_runtime_context().get_node_id() == doomed:
        (Path(folder) / "there").touch()
        time.sleep(600)
    return die_once(folder, seed) if seed == 3 else draw(seed)
