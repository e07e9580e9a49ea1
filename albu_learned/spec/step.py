"""One method of a spec at work in a host: chosen rows, mapped classes, a plan, the change.

Randomness is torch's own in the process, which hosts seed for every rank and worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch
from albu_learned.kinds import Mix
from albu_learned.method import Method, Plan
from albu_learned.spec.entry import Entry

__all__ = ["Given", "Step", "check_needs", "steps"]


@dataclass(frozen=True)
class Given:
    """What a host has to give at a stage.

    Args:
        host: what it is, for messages: "a classifier of Ultralytics".
        parts: the parts of a Batch that it has.
        classes: the names of its classes in the order of its numbers, where it knows them.
        num_classes: how many there are, where images have labels.
    """

    host: str
    parts: frozenset[str]
    classes: tuple[str, ...] | None = None
    num_classes: int | None = None


class Step:
    """An entry, built for a host."""

    def __init__(self, entry: Entry, given: Given) -> None:
        if entry.fit is not None and entry.fitted is None:
            raise ValueError(
                f"{entry.where}: `fit` is for `albu-learned compare`, which fits {entry.name} to "
                f"the training images of every cell, not for {given.host}. Fit it once, with "
                "`albu-learned fit`, and name its folder as `artifact`."
            )
        self.entry = entry
        labelled = "labels" in given.parts
        self.method = entry.build(given.num_classes if labelled else None)
        check_needs(entry, self.method, given)
        self.order = self._class_order(given)

    def _class_order(self, given: Given) -> Tensor | None:
        known = self.method.about.classes
        if "labels" not in self.method.needs or known is None:
            return None
        if given.classes is None:
            raise ValueError(
                f"{self.entry.where}: {self.entry.name} was fitted to the classes {known}, but "
                f"{given.host} does not know the names of yours. Name them in the order of your "
                "labels, as `classes` at the top of the spec."
            )
        try:
            return self.method.class_order(given.classes)
        except ValueError as error:
            raise ValueError(f"{self.entry.where}: {error}") from None

    def to(self, device: torch.device) -> Step:
        self.method.to(device)
        self.order = None if self.order is None else self.order.to(device)
        return self

    def choose(self, count: int) -> Tensor:
        """The numbers of the rows, of so many, that shall be changed."""
        return (torch.rand(count) < self.entry.p).nonzero()[:, 0]

    @torch.no_grad()
    def plan(self, batch: Batch) -> Plan:
        """What shall happen to every row of a batch."""
        with self.naming_errors():
            plan = self.method.planned(self._in_its_order(batch))
            self._check_finite(plan)
            return plan

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[Batch, int]:
        """The batch, changed with probability p, and how many of its rows were.

        p decides for each row; for a mix once for all. A mix makes labels soft in any case. One row
        has none to be mixed with, so it is left as it is.
        """
        with self.naming_errors(), torch.autocast(batch.device.type, enabled=False):
            if isinstance(self.method, Mix):
                return self._mix(self.method, batch)
            rows = self.choose(len(batch))
            if len(rows) == 0:
                return batch, 0
            chosen = batch if len(rows) == len(batch) else batch.select(rows)
            plan = self.plan(chosen)
            made: Batch = self.method.apply(chosen, plan)
            count = self.method.changed(plan)
            return made if chosen is batch else batch.put(rows, made), count

    def _mix(self, method: Mix, batch: Batch) -> tuple[Batch, int]:
        fires = bool(torch.rand(()) < self.entry.p) and len(batch) > 1
        plan = self.plan(batch) if fires else method.identity(len(batch), batch.device)
        mixed: Batch = method.apply(batch, plan)
        return mixed, len(batch) if fires else 0

    @contextmanager
    def naming_errors(self) -> Iterator[None]:
        """Errors inside, such as those of a user's method, tell which entry they come from."""
        try:
            yield
        except Exception as error:
            note = f"{self.entry.where}: {self.entry.name} on the {self.entry.stage}"
            told = note in getattr(error, "__notes__", ()) or self.entry.where in str(error)
            if not told and hasattr(error, "add_note"):  # not before Python 3.11
                error.add_note(note)
            raise

    def _check_finite(self, plan: Plan) -> None:
        """Images of integers would hide a NaN: it turns into black."""
        for name, values in plan.items():
            if values.is_floating_point():
                checks.require(
                    values.isfinite().all(),
                    f"{self.entry.where}: {name!r} in the plan of {self.entry.name} must be "
                    "finite, got NaN or infinity. Look at what it was fitted to, or at its `plan`.",
                )

    def _in_its_order(self, batch: Batch) -> Batch:
        """The batch with the numbers that the method has for its classes."""
        if self.order is None or batch.labels is None:
            return batch
        checks.hard_labels(self.method, batch)
        checks.class_numbers(batch.labels.long(), len(self.order), "the classes of the artifact")
        labels = self.order[batch.labels.long()]
        return Batch(images=batch.images, labels=labels, boxes=batch.boxes, files=batch.files)


def check_needs(entry: Entry, method: Method, given: Given) -> None:
    """Raises if a host does not have what the method plans from."""
    strange = sorted(method.needs - given.parts)
    if strange:
        raise ValueError(
            f"{entry.where}: {entry.name} needs {' and '.join(strange)}, but on the "
            f"{entry.stage} {given.host} has only {' and '.join(sorted(given.parts))}. "
            f"Use another stage, or another method.{method.instead}"
        )


def steps(entries: Iterable[Entry], given: Given) -> list[Step]:
    """The entries of a stage, built for a host."""
    return [Step(entry, given) for entry in entries]
