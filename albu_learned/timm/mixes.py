"""The mixes of a spec on the device, under the settings of timm's Mixup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from albu_learned.timm.blend import Blend
from albu_learned.timm.epochs import Clock, Counts, Stage
from albu_learned.timm.settings import Settings

__all__ = ["Mixes"]


class Mixes:
    """At most one of them is active in an epoch. Without one, and when switched off, labels are
    soft all the same, for the loss expects them."""

    def __init__(
        self,
        steps: Stage,
        settings: Settings | None,
        clock: Clock,
        counts: Counts,
    ) -> None:
        self.steps = steps
        self.blends = {number: _blend(step, settings) for number, step in steps}
        self.clock, self.counts = clock, counts

    def __call__(
        self, images: Tensor, target: Tensor, on: bool, unit: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Mixed images and soft labels.

        Args:
            images: a normalised batch.
            target: class numbers, or (B, K).
            on: whether to mix at all.
            unit: makes images in [0, 1] of normalised ones, for a method that reads them.
        """
        active = self.clock.active(self.steps)
        number, step = active[0] if active else self.steps[0]
        step.to(images.device)
        seen = unit(images) if "images" in step.method.needs else None
        mixed, soft, fired = self.blends[number](images, target, on and bool(active), seen)
        if active:
            # p decides once a batch. A mix that was switched off on purpose counts as done.
            self.counts.add(number, 1, int(fired or not on))
        return mixed, soft


def _blend(step: Any, settings: Settings | None) -> Blend:
    """One mix, under timm's settings; without them under the method's own, and no CutMix."""
    method, entry = step.method, step.entry
    if settings is not None and method.smoothing:
        raise ValueError(
            f"{entry.where}: `smoothing` of {entry.name} must be left out, got "
            f"{method.smoothing:g}: timm smooths labels. Give label_smoothing (--smoothing)."
        )
    if settings is None:
        if method.num_classes is None:
            raise ValueError(
                f"{entry.where}: `num_classes` must be known to {entry.name}, and the dataset does "
                "not tell it. Write create_loader(..., num_classes=10)."
            )
        settings = Settings(num_classes=method.num_classes, label_smoothing=method.smoothing)
        method.smoothing = 0.0
    return Blend(method, step.plan, replace(settings, prob=entry.p))
