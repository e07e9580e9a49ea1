"""The arguments of timm's Mixup, checked: every mix of this door takes all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from albu_learned import checks

__all__ = ["Settings"]

MODES = ("batch", "pair", "elem", "half")


@dataclass(frozen=True)
class Settings:
    """What timm's Mixup is told, with timm's own defaults.

    Args:
        mixup_alpha: taken and not used: how strong a learned mix is, is its own affair, for
            zeta-mixup gamma's.
        cutmix_alpha: if > 0, timm's CutMix takes turns with the learned mix. It pairs the rows of a
            batch, and so needs an even number of them.
        cutmix_minmax: bounds of CutMix's boxes as fractions of the sides; turns CutMix on.
        prob: the probability that a batch is mixed, decided once a batch.
        switch_prob: the share of CutMix among the batches that are mixed, where it is on.
        mode: how CutMix draws its boxes: one a "batch", a "pair" or an image ("elem"). With "half"
            a collate returns half as many rows as it is given.
        correct_lam: whether CutMix's labels follow the pixels that were in fact replaced.
        label_smoothing: the share of a label's probability spread over all classes; with
            `multi_label` each label is drawn towards 0.5 by it. 0.1 unless told, as in timm.
        num_classes: how many classes there are. 1000 unless told, as in timm.
        multi_label: whether targets are (B, num_classes) independent labels.
    """

    mixup_alpha: float = 1.0
    cutmix_alpha: float = 0.0
    cutmix_minmax: Sequence[float] | None = None
    prob: float = 1.0
    switch_prob: float = 0.5
    mode: str = "batch"
    correct_lam: bool = True
    label_smoothing: float = 0.1
    num_classes: int = 1000
    multi_label: bool = False

    def __post_init__(self) -> None:
        checks.between("cutmix_alpha", self.cutmix_alpha, "[0, inf)")
        checks.between("prob", self.prob, "[0, 1]")
        checks.between("switch_prob", self.switch_prob, "[0, 1]")
        checks.between("label_smoothing", self.label_smoothing, "[0, 1)")
        checks.integer("num_classes", self.num_classes, 1)
        if self.mode not in MODES:
            raise ValueError(f"`mode` must be one of {', '.join(MODES)}, got {self.mode!r}.")
        if self.cutmix_minmax is not None:
            self._check_minmax(self.cutmix_minmax)

    def _check_minmax(self, bounds: Sequence[float]) -> None:
        if not isinstance(bounds, Sequence):
            raise TypeError(f"`cutmix_minmax` must be two numbers, low and high, got {bounds!r}.")
        if len(bounds) != 2 or not 0 <= bounds[0] < bounds[1] <= 1:
            raise ValueError(
                f"`cutmix_minmax` must be two numbers, 0 <= low < high <= 1, got {list(bounds)}."
            )

    @classmethod
    def of(cls, options: dict[str, Any]) -> Settings:
        """The settings among keyword arguments; a strange one is named."""
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                hint = checks.nearest(name, known)
                raise TypeError(f"`{name}` is not an argument of timm's Mixup.{hint}")
        return cls(**options)

    @property
    def cuts(self) -> bool:
        """Whether CutMix is on."""
        return self.cutmix_alpha > 0 or self.cutmix_minmax is not None

    def for_timm(self) -> dict[str, Any]:
        """What every release of timm's Mixup takes (`multi_label` came late, and is ours)."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in known.items() if name != "multi_label"}
