"""How the cells of a comparison are run: here, in processes of this machine, or on a Ray cluster.

A task is handed out, its result comes back, `done` is called here; in what order makes no
difference. What may end early does not take the rest with it: a process or a node that dies costs
the tasks it had, which are handed out again; an exception stops the run, but what has come is kept.

With engine="ray" this package, and the modules that `work` and the payloads come from, must be
importable on every node: install them there.
"""

from __future__ import annotations

import functools
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from typing import Any, Protocol

import torch

from albu_learned import checks

__all__ = ["Task", "check", "run"]

ENGINES = ("local", "ray")
DEATHS = 3  # so often a task may take its process down before it is given up
GOODBYE = 10  # seconds that a process may take to end by itself

Work = Callable[[Any], Any]


@dataclass(frozen=True)
class Task:
    """One call of `work`: with the payload, or with what `load` returns when its turn has come."""

    key: str
    what: str  # for people: "zeta-mixup, 10 a class, seed 3"
    payload: Any = None
    load: Callable[[], Any] | None = None

    def open(self) -> Any:
        return self.payload if self.load is None else self.load()


Done = Callable[[Task, Any], None]


def check(engine: str) -> None:
    """Raises if there is no such engine here."""
    if engine not in ENGINES:
        raise ValueError(f"`engine` must be one of {', '.join(ENGINES)}, got {engine!r}.")
    if engine == "ray":
        _import_ray()


def _import_ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            '`engine="ray"` needs ray. Install it with pip install "albu_learned[ray]".',
            name=error.name,
        ) from error
    return ray


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

    with tqdm(total=len(tasks), desc=title or None, unit="cell", disable=None) as bar:

        def finish(task: Task, result: Any) -> None:
            done(task, result)
            bar.update()

        if engine == "local" and jobs == 1:
            _one_by_one(tasks, work, finish, threads)
        elif engine == "local":
            _hand_out(tasks, finish, _Processes(work, min(jobs, len(tasks)), threads))
        else:
            _hand_out(tasks, finish, _Ray(work, jobs, threads, gpus, address))


def _one_by_one(tasks: Sequence[Task], work: Work, finish: Done, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for task in tasks:
            with _naming(task):
                finish(task, work(task.open()))
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Died:
    how: str


class _Crew(Protocol):
    """Those who work elsewhere."""

    def room(self) -> bool:
        """Whether a task can be given now."""

    def give(self, task: Task, payload: Any) -> None: ...

    def wait(self) -> list[tuple[Task, bytes | _Died]]:
        """Waits until something happens; the tasks that have ended since, with their replies."""

    def stop(self, at_once: bool) -> None: ...


def _hand_out(tasks: Sequence[Task], finish: Done, crew: _Crew) -> None:
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
                    if isinstance(reply, _Died):
                        deaths[task.key] += 1
                        _give_up(task, reply, deaths[task.key])
                        waiting.appendleft(task)
                        continue
                    with _naming(task):
                        finish(task, _unpack(reply))
                    left -= 1
                except Exception as error:  # what came beside it is kept first
                    trouble = trouble or error
            if trouble is not None:
                raise trouble
        at_once = False
    finally:
        crew.stop(at_once)


def _give_up(task: Task, died: _Died, times: int) -> None:
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


class _Remote(Exception):  # noqa: N818
    """The traceback of another process, to be shown as the cause."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _call(work: bytes, payload: bytes, threads: int) -> bytes:
    """Runs in the other process. Bytes go in and out, whatever happens, so that every engine brings
    results and exceptions home in the same way. They are made by plain pickle: that of
    multiprocessing would leave tensors in shared memory, where they end with their process."""
    try:
        torch.set_num_threads(threads)
        return pickle.dumps((_unpickled(work)(pickle.loads(payload)), None, ""))
    except BaseException as error:
        return _failure(error)


@functools.lru_cache(maxsize=1)  # what it has opened serves the next task as well
def _unpickled(work: bytes) -> Work:
    loaded: Work = pickle.loads(work)
    return loaded


def _failure(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        reply = pickle.dumps((None, error, text))
        pickle.loads(reply)  # many exceptions go in but not out
        return reply
    except Exception:
        return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), text))


def _unpack(reply: bytes) -> Any:
    result, error, text = pickle.loads(reply)
    if error is not None:
        raise error from _Remote(text)
    return result


class _Worker:
    """A process that works on a task at a time. Its first message says that it is ready."""

    def __init__(self, work: bytes, threads: int) -> None:
        context = get_context("spawn")  # a forked process cannot use CUDA, and may deadlock
        self.pipe, self.far_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(self.far_end, work, threads))
        self.ready = False
        self.task: Task | None = None

    def start(self) -> None:
        self.process.start()
        self.far_end.close()  # only the process holds it now: when it dies, our end is told


class _Processes:
    """Processes of this machine."""

    def __init__(self, work: Work, jobs: int, threads: int) -> None:
        self.work = pickle.dumps(work)
        self.jobs = jobs
        self.threads = threads
        self.workers: list[_Worker] = []

    def room(self) -> bool:
        return any(worker.ready and worker.task is None for worker in self.workers)

    def give(self, task: Task, payload: Any) -> None:
        content = pickle.dumps(payload)
        worker = next(w for w in self.workers if w.ready and w.task is None)
        worker.task = task
        with suppress(OSError):  # it has died, which `wait` will see
            worker.pipe.send_bytes(content)

    def wait(self) -> list[tuple[Task, bytes | _Died]]:
        while len(self.workers) < self.jobs:
            with _for_workers(self.threads):
                self.workers.append(_Worker(self.work, self.threads))
                self.workers[-1].start()
        ready = connection.wait([worker.pipe for worker in self.workers])
        ended = []
        for worker in [w for w in self.workers if w.pipe in ready]:
            task = worker.task
            reply = self._hear(worker)
            if task is not None:
                ended.append((task, reply))
        return ended

    def _hear(self, worker: _Worker) -> bytes | _Died:
        reply: bytes | _Died
        try:
            reply = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            worker.process.join(GOODBYE)
            reply = _Died(f"exit code {worker.process.exitcode}")
            if not worker.ready:
                raise RuntimeError(
                    f"A process ended with {reply.how} before it could begin, for the reason it "
                    "printed above, or for want of memory. A script must call this under "
                    '`if __name__ == "__main__":`, because every process imports it.'
                ) from None
            self._end(worker)
            self.workers.remove(worker)
        worker.ready, worker.task = True, None
        return reply

    def stop(self, at_once: bool) -> None:
        for worker in self.workers:
            if worker.process.pid is not None and (at_once or not worker.ready):
                worker.process.kill()
            worker.pipe.close()  # which ends the others
        for worker in self.workers:
            self._end(worker)

    def _end(self, worker: _Worker) -> None:
        worker.pipe.close()
        if worker.process.pid is None:
            return
        worker.process.join(GOODBYE)
        worker.process.kill()
        worker.process.join()
        worker.process.close()


@contextmanager
def _for_workers(threads: int) -> Iterator[None]:
    """Processes that are started in here have so many threads, and never hear a Ctrl-C, not even
    while they import: it is for this one to stop them. This one hears it at the end."""
    with _environment(OMP_NUM_THREADS=str(threads)):  # is read when torch is imported
        if not hasattr(signal, "pthread_sigmask"):
            yield
            return
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # starting it in there would unblock the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(pipe: connection.Connection, work: bytes, threads: int) -> None:
    """What a process does: a reply to every payload, until nobody is at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        pipe.send_bytes(b"ready")
        while True:
            pipe.send_bytes(_call(work, pipe.recv_bytes(), threads))


def _end_with_parent() -> None:
    """A parent that is killed cannot stop its processes, which would train on for nobody."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Ray:
    """The nodes of a Ray cluster. Ray itself retries nothing: it would count the deaths of nodes,
    of processes and for want of memory each in its own way, the last without an end."""

    def __init__(
        self, work: Work, jobs: int, threads: int, gpus: float, address: str | None
    ) -> None:
        self.ray = ray = _import_ray()
        self.threads, self.gpus = threads, gpus
        self.given: dict[Any, Task] = {}
        self.connected = not ray.is_initialized()  # by us; a user's own connection stays
        try:
            if self.connected:
                self._connect(address, jobs * threads)
            self.slots = self._count_slots()
            if not self.slots:
                warnings.warn(
                    f"No node of the Ray cluster has {threads} CPUs and {gpus:g} GPUs for a task "
                    "(`threads` and `gpus`). This waits until there is one.",
                    stacklevel=4,
                )
            self.call = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(_call)
            self.work = ray.put(self._pickled(work))
        except BaseException:
            self.stop(at_once=True)
            raise

    def _connect(self, address: str | None, cpus: int) -> None:
        wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        with _environment(RAY_USAGE_STATS_ENABLED="0"):
            if wanted != "local":
                try:
                    self.ray.init(address=wanted, **quiet)
                    return
                except ConnectionError:
                    if wanted != "auto":
                        raise
            here = torch.cuda.device_count()
            if self.gpus > here:
                raise ValueError(
                    f"`gpus` must be at most the {here} of this machine, where Ray is to be "
                    f"started, got {self.gpus:g}. Give fewer, or the `address` of a cluster."
                )
            print("Starting Ray on this machine.", file=sys.stderr)
            self.ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)

    def _count_slots(self) -> int:
        """How many tasks the nodes of now can run at a time."""
        slots = 0
        for node in self.ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            room = has.get("CPU", 0) / self.threads
            slots += int(min(room, has.get("GPU", 0) / self.gpus) if self.gpus else room)
        return slots

    def _pickled(self, value: Any) -> bytes:
        # Which can send what a script itself defines.
        return bytes(self.ray.cloudpickle.dumps(value))

    def room(self) -> bool:
        return len(self.given) < 2 * max(self.slots, 1)  # some wait at the nodes, none idles

    def give(self, task: Task, payload: Any) -> None:
        self.given[self.call.remote(self.work, self._pickled(payload), self.threads)] = task

    def wait(self) -> list[tuple[Task, bytes | _Died]]:
        refs = list(self.given)
        self.ray.wait(refs)
        ready, _ = self.ray.wait(refs, num_returns=len(refs), timeout=0)
        self.slots = self._count_slots()
        return [(self.given.pop(ref), self._hear(ref)) for ref in ready]

    def _hear(self, ref: Any) -> bytes | _Died:
        errors = self.ray.exceptions
        try:
            return bytes(self.ray.get(ref))
        except errors.RayTaskError as error:  # the call could not even begin
            return _failure(error)
        except errors.RayError as error:
            return _Died(type(error).__name__)

    def stop(self, at_once: bool) -> None:
        for ref in self.given:
            self.ray.cancel(ref, force=True)
        if self.connected:
            self.ray.shutdown()
