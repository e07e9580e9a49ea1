"""How tasks are run: here, in processes of this machine, or on a Ray cluster.

A task is handed out, its result comes back, `done` is called here; in what order makes no
difference. What may end early does not take the rest with it: a process or a node that dies costs
the tasks it had, which are handed out again; an exception stops the run, but what has come is kept.

With engine="ray" this package, and the modules that `work` and the payloads come from, must be
importable on every node: install them there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from albu_learned import checks
from albu_learned.engine.cluster import Cluster, import_ray
from albu_learned.engine.processes import Processes
from albu_learned.engine.task import Crew, Died, Task, Work, unpacked

__all__ = ["Task", "check", "run"]

ENGINES = ("local", "ray")
DEATHS = 3  # so often a task may take its process down before it is given up

Done = Callable[[Task, Any], None]


def check(engine: str) -> None:
    """Raises if there is no such engine here."""
    if engine not in ENGINES:
        raise ValueError(f"`engine` must be one of {', '.join(ENGINES)}, got {engine!r}.")
    if engine == "ray":
        import_ray()


def run(
    tasks: Sequence[Task],
    work: Work,
    done: Done,
    *,
    engine: str = "local",
    jobs: int = 1,
    threads: int = 1,
    gpus: float = 0,
    title: str = "",
    address: str | None = None,
    bar: bool = True,
) -> None:
    """Calls `work` with the payload of every task, and `done`, here, with what it returned.

    Args:
        tasks: What to do; their keys differ.
        work: A function of a module, or a functools.partial of one, so that it can be sent.
        done: Called with a task and its result, once a task, as the results come.
        engine: "local" or "ray". Local with one job is this process, task after task, in order.
        jobs: Processes at a time on this machine. A Ray cluster that runs already is given as many
            tasks as it has room for.
        threads: CPU threads of a task.
        gpus: GPUs of a task on Ray; a part of one is possible. Locally the processes share them.
        title: Of the progress bar, which is shown on terminals.
        address: Of the Ray cluster, as ray.init takes it. By default RAY_ADDRESS, else the one that
            runs on this machine; where there is none, one is started. "local" always starts one.
        bar: Whether there is a progress bar at all.

    Raises:
        Exception: As `work`, `load` or `done` raised it, with a note that names the task.
        RuntimeError: If a task's process died three times.
    """
    check(engine)
    jobs, threads = checks.integer("jobs", jobs, 1), checks.integer("threads", threads, 1)
    gpus = checks.between("gpus", gpus, "[0, inf)")
    twice = [key for key, count in Counter(task.key for task in tasks).items() if count > 1]
    if twice:
        raise ValueError(f"`tasks` must have keys that differ, got {twice[0]!r} more than once.")
    if not tasks:
        return
    from tqdm import tqdm

    with tqdm(
        total=len(tasks), desc=title or None, unit="cell", disable=None if bar else True
    ) as shown:

        def finish(task: Task, result: Any) -> None:
            done(task, result)
            shown.update()

        if engine == "local" and jobs == 1:
            _one_by_one(tasks, work, finish, threads)
        elif engine == "local":
            _hand_out(tasks, finish, Processes(work, min(jobs, len(tasks)), threads))
        else:
            _hand_out(tasks, finish, Cluster(work, jobs, threads, gpus, address))


def _one_by_one(tasks: Sequence[Task], work: Work, finish: Done, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for task in tasks:
            with _naming(task):
                finish(task, work(task.open()))
    finally:
        torch.set_num_threads(before)


def _hand_out(tasks: Sequence[Task], finish: Done, crew: Crew) -> None:
    waiting, deaths, left = deque(tasks), Counter[str](), len(tasks)
    at_once = True
    try:
        while left:
            while waiting and crew.room():
                task = waiting.popleft()
                with _naming(task):
                    crew.give(task, task.open())
            trouble: Exception | None = None
            for task, reply in crew.wait():
                try:
                    if isinstance(reply, Died):
                        deaths[task.key] += 1
                        _give_up(task, reply, deaths[task.key])
                        waiting.appendleft(task)
                        continue
                    with _naming(task):
                        finish(task, unpacked(reply))
                    left -= 1
                except Exception as error:  # what came beside it is kept first
                    trouble = trouble or error
            if trouble is not None:
                raise trouble
        at_once = False
    finally:
        crew.stop(at_once)


def _give_up(task: Task, died: Died, times: int) -> None:
    if times >= DEATHS:
        raise RuntimeError(
            f"`jobs` must be few enough for the memory of the machine: the process of {task.what} "
            f"died {times} times, the last time with {died.how}. Give fewer (--jobs), or a smaller "
            "model."
        )


@contextmanager
def _naming(task: Task) -> Iterator[None]:
    """Adds the task to what is raised."""
    try:
        yield
    except BaseException as error:
        if hasattr(error, "add_note"):  # from Python 3.11 on
            error.add_note(f"This was in {task.what}.")
        raise
