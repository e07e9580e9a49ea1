"""Learned warps in timm's RandAugment: `--aa rand-m9-mstd0.5-tlearned`.

`-tlearned` is the stock set with each of its geometric operations given to the learned warps, in
turn; `-tlearnedonly` is the learned warps alone. How strong a learned warp is was fitted to data:
the magnitude `m` does not change it.

timm gives its stock set for every set name that it does not know, without a word. Once this module
is imported, such a name raises.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import Any

from albu_learned.kinds import Warp
from albu_learned.method import hold
from albu_learned.timm import host
from albu_learned.timm.pictures import changed, refuse_needs

__all__ = ["LearnedOp", "learned_sets", "use_in_policies"]

SETS = ("learned", "learnedonly")
KNOWN = ("weights", "3a", "3aw", *SETS)
GEOMETRIC = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
PREFIX = "Learned"


class LearnedOp:
    """A warp as an operation of timm, which travels to worker processes."""

    def __init__(self, warp: Warp) -> None:
        self.warp = warp

    def __call__(self, img: Any, *level: Any, **kwargs: Any) -> Any:
        return changed(img, self.warp)


def use_in_policies(warps: Any) -> list[str]:
    """Makes warps the learned operations of timm's RandAugment, in the place of earlier ones.

    Args:
        warps: a `Warp` or the folder of one, or several of them. RandAugment knows no labels, so
            they must not need any; they must be on the CPU.

    Returns:
        The names of the operations, for timm's `rand_augment_transform(transforms=[...])`.
    """
    single = isinstance(warps, (Warp, str, os.PathLike))
    live = [hold(warp, Warp) for warp in ([warps] if single else _several(warps))]
    if not live:
        raise ValueError("`warps` must hold at least one warp, got none.")
    for warp in live:
        refuse_needs(warp, "RandAugment")
    operations, levels = host.auto_augment.NAME_TO_OP, host.auto_augment.LEVEL_TO_ARG
    for name in _names():
        del operations[name], levels[name]
    for number, warp in enumerate(live):
        operations[f"{PREFIX}{number}"] = LearnedOp(warp)
        levels[f"{PREFIX}{number}"] = None
    return _names()


def learned_sets(auto_augment: str | None) -> list[str]:
    """The learned sets that a policy asks for."""
    parts = (auto_augment or "").split("-")
    return [part[1:] for part in parts[1:] if parts[0] == "rand" and part[1:] in SETS]


def _several(warps: Any) -> Iterable[Any]:
    if not isinstance(warps, Iterable):
        raise TypeError(
            f"`warps` must be a Warp, a folder or several of them, got {type(warps).__name__}."
        )
    return warps


def _names() -> list[str]:
    operations = host.auto_augment.NAME_TO_OP
    return [name for name, op in operations.items() if isinstance(op, LearnedOp)]


_stock = getattr(
    host.auto_augment.rand_augment_choices, "stock", host.auto_augment.rand_augment_choices
)


def _choices(name: str, increasing: bool = True) -> Any:
    """timm's sets and ours; an unknown name raises."""
    stock = _stock("", increasing)
    if name not in SETS:
        chosen = _stock(name, increasing)
        if chosen is stock:  # what timm gives for any name that it does not know
            near = difflib.get_close_matches(name, KNOWN, n=1)
            hint = f" Did you mean -t{near[0]}?" if near else ""
            raise ValueError(
                f"The set of a RandAugment policy must be one of {', '.join(KNOWN)}, got "
                f"{name!r}.{hint} Without -t timm's own set is used."
            )
        return chosen
    learned = _names()
    if not learned:
        raise ValueError(
            f"-t{name} must be told its learned warps, and there are none yet. Name one with "
            "`stage: policy` in the spec, or call albu_learned.timm.use_in_policies first."
        )
    if name == "learnedonly":
        return learned
    given = [i for i, slot in enumerate(stock) if slot in GEOMETRIC]
    turns = {slot: learned[turn % len(learned)] for turn, slot in enumerate(given)}
    return [turns.get(i, slot) for i, slot in enumerate(stock)]


_choices.stock = _stock  # type: ignore[attr-defined]
host.auto_augment.rand_augment_choices = _choices
