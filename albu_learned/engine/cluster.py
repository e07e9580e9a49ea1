"""A Ray cluster that works on tasks."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import torch

from albu_learned.engine.task import Died, Task, Work, call, environment, failure

__all__ = ["Cluster", "import_ray"]


def import_ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            '`engine="ray"` needs ray. Install it with pip install "albu_learned[ray]".',
            name=error.name,
        ) from error
    return ray


class Cluster:
    """The nodes of a Ray cluster. Ray itself retries nothing: it would count the deaths of nodes,
    of processes and for want of memory each in its own way, the last without an end."""

    def __init__(
        self, work: Work, jobs: int, threads: int, gpus: float, address: str | None
    ) -> None:
        self.ray = ray = import_ray()
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
            self.call = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=0)(call)
            self.work = ray.put(self._pickled(work))
        except BaseException:
            self.stop(at_once=True)
            raise

    def _connect(self, address: str | None, cpus: int) -> None:
        wanted = address or os.environ.get("RAY_ADDRESS") or "auto"
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        with environment(RAY_USAGE_STATS_ENABLED="0"):
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

    def wait(self) -> list[tuple[Task, bytes | Died]]:
        refs = list(self.given)
        self.ray.wait(refs)
        ready, _ = self.ray.wait(refs, num_returns=len(refs), timeout=0)
        self.slots = self._count_slots()
        return [(self.given.pop(ref), self._hear(ref)) for ref in ready]

    def _hear(self, ref: Any) -> bytes | Died:
        errors = self.ray.exceptions
        try:
            return bytes(self.ray.get(ref))
        except errors.RayTaskError as error:  # the call could not even begin
            return failure(error)
        except errors.RayError as error:
            return Died(type(error).__name__)

    def stop(self, at_once: bool) -> None:
        for ref in self.given:
            self.ray.cancel(ref, force=True)
        if self.connected:
            self.ray.shutdown()
