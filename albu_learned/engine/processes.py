"""Processes of this machine that work on tasks."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from typing import Any

from albu_learned.engine.task import Died, Task, Work, call, environment

__all__ = ["Processes"]

GOODBYE = 10  # seconds that a process may take to end by itself


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


class Processes:
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

    def wait(self) -> list[tuple[Task, bytes | Died]]:
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

    def _hear(self, worker: _Worker) -> bytes | Died:
        reply: bytes | Died
        try:
            reply = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            worker.process.join(GOODBYE)
            reply = Died(f"exit code {worker.process.exitcode}")
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
    with environment(OMP_NUM_THREADS=str(threads)):  # is read when torch is imported
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


def _serve(pipe: connection.Connection, work: bytes, threads: int) -> None:
    """What a process does: a reply to every payload, until nobody is at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        pipe.send_bytes(b"ready")
        while True:
            pipe.send_bytes(call(work, pipe.recv_bytes(), threads))


def _end_with_parent() -> None:
    """A parent that is killed cannot stop its processes, which would train on for nobody."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
