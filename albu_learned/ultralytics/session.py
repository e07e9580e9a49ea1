"""One running training with its methods at work: what is attached to a trainer, and taken off it.

Everything of ours hangs on the trainer object: the data set of its loader, and three of its methods
wrapped on the instance. A loader that the trainer builds anew (it does when memory runs out) is
attached again; validation has loaders and batches of its own, and is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from albu_learned import artifact
from albu_learned.spec import Spec, Step, Tally, steps
from albu_learned.ultralytics import dataset
from albu_learned.ultralytics.device import change_batch, change_classified
from albu_learned.ultralytics.find import RUN_FILE
from albu_learned.ultralytics.given import check_classes, check_stages, given
from albu_learned.ultralytics.host import LOGGER, RANK
from albu_learned.ultralytics.settings import (
    check_albumentations,
    check_batch,
    check_channels,
    check_epochs,
)
from albu_learned.ultralytics.work import KEY, Work, total

__all__ = ["Session"]


class Session:
    """The methods of a spec, in a trainer that has its model and its data."""

    def __init__(self, trainer: Any, spec: Spec) -> None:
        self.trainer = trainer
        self.spec = spec
        self.task = str(trainer.args.task)
        names = [name for _, name in sorted(trainer.data["names"].items())]
        check_stages(spec)
        check_classes(spec, names)
        host = given(self.task, names)
        self.early = steps(spec.at("image", "sample"), host)
        self.late = [step.to(trainer.device) for step in steps(spec.at("batch"), host)]
        self.tally = Tally([step.entry for step in (*self.early, *self.late)])
        self.epoch = int(trainer.start_epoch)
        self.told: int | None = None  # the epoch that was begun
        self.undo: list[tuple[str, Any]] = []
        self.announced = RANK not in (-1, 0)

    def attach(self) -> None:
        check_channels(self.trainer.args, self.late)
        check_epochs(self.trainer, self.spec)
        self._dress(self.trainer.train_loader)
        self._wrap("get_dataloader", self._loader)
        self._wrap("preprocess_batch", self._batch)
        if self.task == "classify":
            self._wrap("plot_training_samples", self._plot)
        if RANK in (-1, 0):  # what a resumed run shall find
            path = Path(self.trainer.save_dir) / RUN_FILE
            artifact.write_atomically(path, self.spec.dump().encode())

    def detach(self) -> None:
        for name, before in reversed(self.undo):
            if before is None:
                delattr(self.trainer, name)
            else:
                setattr(self.trainer, name, before)
        self.undo.clear()
        for part in dataset.parts(self.trainer.train_loader.dataset):
            dataset.detach(part)

    def begin(self, epoch: int) -> None:
        """An epoch, or the same epoch once more."""
        self.tally.clear()
        self.told = self.epoch = epoch
        loader = self.trainer.train_loader
        active = self._active()
        stale = [work for work in dataset.works(loader.dataset) if work.active != active]
        if not stale:
            return
        for work in stale:
            work.active = active
        # Workers hold copies of the data set, and have samples of this epoch ready by now.
        if hasattr(loader.sampler, "set_epoch"):
            loader.sampler.set_epoch(epoch)  # before a worker draws from it
        loader.reset()

    def end(self) -> None:
        """Raises if the epoch was not what the spec says."""
        if self.told != self.trainer.epoch:
            raise RuntimeError(
                f"A training with a spec must run `on_train_epoch_start` of its hook, but epoch "
                f"{self.trainer.epoch} began without it. Leave that callback where it is."
            )
        self.tally.close(self.epoch)

    def _active(self) -> frozenset[int]:
        return frozenset(i for i, step in enumerate(self.early) if step.entry.active(self.epoch))

    def _wrap(self, name: str, wrapper: Callable[..., Any]) -> None:
        self.undo.append((name, vars(self.trainer).get(name)))
        setattr(self.trainer, name, partial(wrapper, getattr(self.trainer, name)))

    def _loader(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        loader = original(*args, **kwargs)
        if (args[3:4] or (kwargs.get("mode", "train"),))[0] == "train":
            self._dress(loader)
        return loader

    def _dress(self, loader: Any) -> None:
        check_batch(loader, self.late)
        for part in dataset.parts(loader.dataset):
            check_albumentations(self.trainer.args, part)
            dataset.attach(part, Work(self.early, self._active()))
        if getattr(loader, "iterator", None) is not None:  # its workers have copies already
            loader.reset()

    def _batch(self, original: Callable[..., Any], batch: dict[str, Any]) -> dict[str, Any]:
        self._count(batch.pop(KEY, None))
        batch = original(batch)
        for number, step in self._late():
            changed = self._change(step, batch)
            self._add(number, step, len(batch["img"]), changed)
        self._announce()
        return batch

    def _late(self) -> Iterator[tuple[int, Step]]:
        for number, step in enumerate(self.late, start=len(self.early)):
            if step.entry.active(self.epoch):
                yield number, step

    def _change(self, step: Step, batch: dict[str, Any]) -> int:
        if self.task == "classify":
            return change_classified(step, batch)
        return change_batch(step, batch, self.task, overlap=bool(self.trainer.args.overlap_mask))

    def _add(self, number: int, step: Step, rows: int, changed: int) -> None:
        """p is decided for each row, by a mix for all of them at once. A last batch of one image
        can be mixed with nothing, so it is not counted."""
        if step.entry.kind == "mix":
            rows, changed = int(rows > 1), min(changed, 1)
        self.tally.add(number, rows, changed)

    def _count(self, evidence: Any) -> None:
        if not self.early:
            return
        if evidence is None:
            raise RuntimeError(
                "Every training batch must tell what the spec has done to its samples, but this "
                "one does not: something has replaced the training data set or its collate_fn, so "
                "the training was stopped. Replace them before the training starts."
            )
        for number, (shown, changed) in enumerate(total(evidence)):
            self.tally.add(number, int(shown), int(changed))

    def _announce(self) -> None:
        if not self.announced:
            LOGGER.info(f"albu_learned: {self.spec}")
            self.announced = True

    def _plot(self, original: Callable[..., Any], batch: dict[str, Any], *args: Any) -> Any:
        if batch["cls"].ndim == 2:  # the host draws one class an image
            batch = {**batch, "cls": batch["cls"].argmax(dim=1)}
        return original(batch, *args)
