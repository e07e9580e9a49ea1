"""One learned mix under timm's rules: prob, CutMix in turns, smoothing, soft labels in every batch.

The core refuses to smooth (B, K) labels, for it cannot know whether they are probabilities or
independent classes. Here `multi_label` says so, and they are smoothed beforehand as timm does it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from albu_learned.batch import Batch
from albu_learned.kinds import Mix
from albu_learned.method import Plan
from albu_learned.timm.cutmix import cutmix
from albu_learned.timm.settings import Settings

__all__ = ["Blend"]


class Blend:
    """Mixes batches of images and targets; new tensors, nothing in place.

    Args:
        method: the mix.
        plan: what plans it: the method's own `planned`, or a step of a spec.
        settings: of timm's Mixup.
    """

    def __init__(self, method: Mix, plan: Callable[[Batch], Plan], settings: Settings) -> None:
        self.method = method
        self.plan = plan
        self.settings = settings
        self.plain = _twin(method, settings.num_classes, 0.0)
        self.smooth = _twin(method, settings.num_classes, settings.label_smoothing)

    @torch.no_grad()
    def __call__(
        self, images: Tensor, target: Tensor, on: bool = True, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor, bool]:
        """Mixed images, (B, K) soft labels, and whether p left the batch alone.

        Args:
            images: (B, C, H, W) of any dtype, normalised or not.
            target: (B,) class numbers or (B, K).
            on: whether to mix at all; labels become soft in any case.
            seen: what the method reads in the place of the images, where they are normalised.
        """
        self._check(images, target)
        labels = self._smoothed(target)
        with torch.autocast(images.device.type, enabled=False):
            fires = bool(torch.rand(()) < self.settings.prob)
            if on and fires and self.settings.cuts and torch.rand(()) < self.settings.switch_prob:
                return *self._cut(images, labels), True
            given = Batch(images=images if seen is None else seen, labels=target)
            plan = self._plan(given, on and fires)
            mixed = self.plain.apply(Batch(images=images), plan).images if on and fires else images
            return mixed[: len(plan["index"])], self._mix_labels(labels, plan), fires

    def _plan(self, batch: Batch, fires: bool) -> Plan:
        rows = len(batch)
        plan = self.plan(batch) if fires else self.plain.identity(rows, batch.device)
        return {name: values[: self._outputs(rows)] for name, values in plan.items()}

    def _outputs(self, rows: int) -> int:
        return (rows + 1) // 2 if self.settings.mode == "half" else rows

    def _cut(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        cut, kept = cutmix(images, self.settings)
        soft = self._mix_labels(labels, self.plain.identity(len(images), images.device))
        soft = soft * kept + soft.flip(0) * (1 - kept)
        outputs = self._outputs(len(images))
        return cut[:outputs], soft[:outputs]

    def _mix_labels(self, labels: Tensor, plan: Plan) -> Tensor:
        method = self.smooth if labels.ndim == 1 else self.plain  # (B, K) are smoothed already
        return method.mix_labels(labels, plan).float()

    def _smoothed(self, target: Tensor) -> Tensor:
        """Class numbers as they are; (B, K) smoothed as timm does it."""
        if target.ndim != 2:
            return target
        share, count = self.settings.label_smoothing, self.settings.num_classes
        level = 0.5 if self.settings.multi_label else 1 / count
        return target.float() * (1 - share) + level * share

    def _check(self, images: Tensor, target: Tensor) -> None:
        count = self.settings.num_classes
        if self.settings.multi_label and (target.ndim != 2 or target.shape[1] != count):
            raise ValueError(
                f"`target` must be (B, {count}) for multi_label=True and num_classes={count}, got "
                f"{tuple(target.shape)}."
            )
        if self.settings.cuts and len(images) % 2:
            raise ValueError(
                f"The batch must have an even number of images where CutMix is on, got "
                f"{len(images)}. Set drop_last and an even batch size, or turn CutMix off."
            )


def _twin(method: Mix, num_classes: int, smoothing: float) -> Mix:
    """The same mix, sharing its parameters, with the host's classes and smoothing."""
    if method.num_classes not in (None, num_classes):
        raise ValueError(
            f"`num_classes` must be {method.num_classes}, as the {type(method).__name__} has it, "
            f"got {num_classes}. Write num_classes={method.num_classes} (timm's default is 1000)."
        )
    if method.smoothing:
        raise ValueError(
            f"`smoothing` of the {type(method).__name__} must be 0 in timm, got "
            f"{method.smoothing:g}. Give timm's `label_smoothing` (--smoothing) in its place."
        )
    twin = copy.copy(method)
    twin.num_classes = num_classes
    twin.smoothing = smoothing
    return twin
