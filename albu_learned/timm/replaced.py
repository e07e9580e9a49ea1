"""What an unedited train.py builds in the place of timm's Mixup and FastCollateMixup.

train.py takes a loss for soft labels only when it was told to use mixup. So both stand for the
mixes of the spec, done on the device: behind the prefetcher by the loader, without it here.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from albu_learned.timm import host
from albu_learned.timm.loader import Normal
from albu_learned.timm.mix import stack
from albu_learned.timm.mixes import Mixes
from albu_learned.timm.settings import Settings

__all__ = ["SpecCollate", "SpecMixup", "settings_of"]


def settings_of(options: dict[str, Any]) -> Settings:
    """timm's settings, whose `prob` must be left alone: the spec has p."""
    settings = Settings.of(options)
    if settings.prob != 1:
        raise ValueError(
            f"`prob` (--mixup-prob) must be 1 with a spec, got {settings.prob:g}. Give the mix its "
            "`p` in the spec."
        )
    if settings.cuts and settings.switch_prob == 1:
        raise ValueError(
            "`switch_prob` (--mixup-switch-prob) must be below 1 with a spec that mixes, got 1: "
            "every batch would be CutMix's. Leave it out, or take the mix out of the spec."
        )
    if settings.mode == "half":
        raise ValueError(
            "`mode` (--mixup-mode) must be batch, pair or elem with a spec, got 'half'."
        )
    return settings


class SpecMixup(host.Mixup):
    """In the place of Mixup: without the prefetcher train.py hands it batches on the device."""

    latest: ClassVar[SpecMixup | None] = None  # for create_loader, which is not handed it

    def __init__(self, **options: Any) -> None:
        self.settings = settings_of(options)
        super().__init__(**self.settings.for_timm())
        SpecMixup.latest = self
        self.mixes: Mixes | None = None
        self.normal: Normal | None = None

    def attach(self, mixes: Mixes, normal: Normal) -> None:
        """By create_loader, which knows the data."""
        if self.mixes is not None:
            raise RuntimeError(
                "A Mixup must belong to one training loader where a spec mixes, but a second one "
                "was made. Build a Mixup for each loader."
            )
        self.mixes, self.normal = mixes, normal

    def __call__(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if self.mixes is None or self.normal is None:
            raise RuntimeError(
                "Mixup must belong to a training loader to follow a spec. Build it before "
                "create_loader(..., is_training=True), as timm's train.py does."
            )
        self.normal.to(x.device)
        return self.mixes(x, target, bool(self.mixup_enabled), self.normal.unit)


class SpecCollate(host.FastCollateMixup):
    """In the place of FastCollateMixup: collates, and leaves mixing to the loader."""

    def __init__(self, **options: Any) -> None:
        self.settings = settings_of(options)
        super().__init__(**self.settings.for_timm())
        self.claimed = False  # by a loader that mixes

    def __call__(self, batch: list[Any], _: Any = None) -> tuple[Tensor, Tensor]:
        if not self.claimed:
            raise RuntimeError(
                "FastCollateMixup must be given to create_loader as it was patched, for the loader "
                "does the mixing of the spec. Import it after albu_learned.timm.register."
            )
        return stack(batch)
