"""The host's trainer and validator for comparisons: all arms of a seed get the same of everything.

No class here has `Trainer` in its name: Ultralytics would bring the loggers of experiments that the
user has switched on, which write elsewhere and over the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
from ultralytics.utils import DEFAULT_CFG
from ultralytics.utils.plotting import plot_images

from albu_learned.spec.tally import BY_CHANCE
from albu_learned.ultralytics.hook import Callbacks
from albu_learned.ultralytics.order import Order
from albu_learned.ultralytics.subset import PLAIN_KEY, check_all_used, dilute

__all__ = ["Drawn", "Painter", "Plan", "Tester", "Trial"]

SIDE = 320  # of an image in a picture, at least about that


@dataclass(frozen=True)
class Plan:
    """What Ultralytics has no argument for.

    Args:
        steps: optimiser steps.
        plain_share: the share of samples that are given plain.
        plain: the arguments that make them so.
    """

    steps: int
    plain_share: float = 0.0
    plain: dict[str, Any] = field(default_factory=dict)


class Trial(DetectionTrainer):
    """Trains for a number of steps, and neither validates nor stops early.

    Args:
        plan: see there.
    """

    stop: bool

    def __init__(
        self,
        plan: Plan,
        cfg: Any = DEFAULT_CFG,
        overrides: dict[str, Any] | None = None,
        _callbacks: Callbacks | None = None,
    ) -> None:
        self.plan = plan
        self.taken = 0
        self.built = False
        self.shown = self.plain = 0
        self.own_callbacks = {key: list(each) for key, each in (_callbacks or {}).items()}
        super().__init__(cfg, overrides, _callbacks)

    def run_callbacks(self, event: str) -> None:
        """Those that were given; not those that the host has added since, which send telemetry."""
        if event == "on_train_epoch_end":
            self._check_epoch()
        for callback in self.own_callbacks.get(event, []):
            callback(self)

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        dataset = super().build_dataset(img_path, mode, batch)
        if mode != "train":
            return dataset
        if self.built:  # the host has halved the batch, after running out of memory
            raise MemoryError(
                f"`batch` must fit into the memory of {self.args.device}, and did not: all arms of "
                "a comparison have the same batches. Lower it, or `image_size`."
            )
        self.built = True
        check_all_used(dataset)
        if self.plan.plain_share > 0:
            dilute(dataset, self.plan.plain_share, self.args, self.plan.plain)
        return dataset

    def get_dataloader(
        self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        loader = super().get_dataloader(dataset_path, batch_size, rank, mode)
        if mode == "train":
            self._put_in_order(loader)
        return loader

    def _put_in_order(self, loader: Any) -> None:
        order, restart = loader.sampler, loader.reset
        order.__class__ = Order
        order.seed = self.args.seed

        def reset() -> None:
            order.set_epoch(getattr(self, "epoch", 0))
            restart()

        loader.reset = reset
        order.set_epoch(0)
        if loader.iterator is not None:  # older loaders begin when they are made
            loader.reset()

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        plain = batch.pop(PLAIN_KEY, ())
        self.shown += len(plain)
        self.plain += sum(map(bool, plain))
        return super().preprocess_batch(batch)

    def optimizer_step(self) -> None:
        super().optimizer_step()
        self.taken += 1
        self.stop = self.stop or self.taken >= self.plan.steps

    def _check_epoch(self) -> None:
        """Called at the end of each, before the host can go back to earlier weights."""
        if not torch.isfinite(self.loss):
            raise FloatingPointError(
                f"The loss must stay finite, got {self.loss.item()} at step {self.taken}. Lower "
                f"`learning_rate`, which is {self.args.lr0:g}."
            )
        share, shown, plain = self.plan.plain_share, self.shown, self.plain
        self.shown = self.plain = 0
        if share > 0 and not plain and (not shown or (1 - share) ** shown < BY_CHANCE):
            raise RuntimeError(
                f"`plain_share` must have an effect, got {share:g}, but in epoch {self.epoch} none "
                f"of {shown} samples that told of it was plain: something has replaced the "
                "training data set."
            )

    def validate(self) -> tuple[dict[str, float], float]:
        """Nothing. The host asks for it after the last epoch, whatever `val` is."""
        return {}, 0.0


class Drawn(Exception):  # noqa: N818, no error
    """The picture is there."""


class Painter(Trial):
    """Draws the first batch, as it would go into the network, and goes no further."""

    def plot_training_labels(self) -> None:
        """Nothing, which the host would draw besides."""

    def plot_training_samples(self, batch: dict[str, Any], ni: int) -> None:
        path = Path(self.save_dir) / "batch.jpg"
        images = batch["img"]
        larger = max(1, SIDE // images.shape[-1])  # the names of classes have a size of their own
        images = F.interpolate(images, scale_factor=larger)
        shown = {**batch, "img": images}
        plot_images(labels=shown, fname=path, names=self.data["names"], threaded=False)
        raise Drawn(path)


class Tester(DetectionValidator):
    """Tests on images that must all be usable, and tells nobody."""

    def build_dataset(self, img_path: str, mode: str = "val", batch: int | None = None) -> Any:
        dataset = super().build_dataset(img_path, mode, batch)
        check_all_used(dataset)
        return dataset

    def run_callbacks(self, event: str) -> None:
        """None: the host's own send telemetry."""
