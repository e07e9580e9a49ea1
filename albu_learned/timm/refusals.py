"""Which modes of timm's create_loader go with which spec: said before a training starts."""

from __future__ import annotations

from typing import Any

from torch.utils.data import IterableDataset

from albu_learned.spec import Spec
from albu_learned.timm import host
from albu_learned.timm.epochs import Stage
from albu_learned.timm.policy import learned_sets
from albu_learned.timm.settings import Settings

__all__ = ["refuse", "refuse_odd", "refuse_soft"]

WORKER_STAGES = ("image", "sample")


def refuse(given: dict[str, Any], spec: Spec, mixed_elsewhere: bool) -> None:
    """Raises if a spec cannot work in the loader that is asked for.

    Args:
        given: the arguments of timm's create_loader.
        spec: the methods.
        mixed_elsewhere: whether a collate function of timm's Mixup would be a second mix.
    """
    if given["num_aug_splits"]:
        raise ValueError(
            f"`num_aug_splits` (--aug-splits) must be 0 with a spec, got "
            f"{given['num_aug_splits']}: the splits of a batch would be changed apart."
        )
    _refuse_worker_stages(given, spec)
    _refuse_epochs(given, spec)
    _refuse_policies(given, spec)
    if spec.mixes and mixed_elsewhere and isinstance(given["collate_fn"], host.FastCollateMixup):
        raise ValueError(
            f"`collate_fn` must not mix where the spec does ({spec.mixes[0].where}), got "
            f"{type(given['collate_fn']).__name__}. Leave it out."
        )


def refuse_soft(given: dict[str, Any], batch: Stage) -> None:
    """Raises if timm's own mix, in the workers, makes labels soft that a method has to read."""
    if not isinstance(given["collate_fn"], host.FastCollateMixup):
        return
    for _, step in batch:
        entry = step.entry
        if "labels" in step.method.needs:
            raise ValueError(
                f"{entry.where}: {entry.name} on the batch reads class numbers, but "
                f"{type(given['collate_fn']).__name__} (--mixup, --cutmix) has mixed them before. "
                "Write `stage: sample`, or let the spec mix."
            )


def refuse_odd(given: dict[str, Any], settings: Settings | None) -> None:
    """Raises if CutMix cannot pair the rows of a batch."""
    if settings is not None and settings.cuts and given["batch_size"] % 2:
        raise ValueError(
            "`batch_size` (-b) must be even where CutMix is on, which pairs rows, got "
            f"{given['batch_size']}. Change it, or leave out --cutmix."
        )


def _refuse_worker_stages(given: dict[str, Any], spec: Spec) -> None:
    entries = spec.at(*WORKER_STAGES)
    reasons = {
        "an iterable dataset": isinstance(given["dataset"], IterableDataset),
        "scheduled input sizes (--train-img-sizes)": given.get("input_size_choices") is not None,
        "tf_preprocessing": given["tf_preprocessing"],
    }
    for reason, holds in reasons.items():
        if entries and holds:
            raise ValueError(
                f"{entries[0].where}: `stage` must be batch with {reason}, got "
                f"{entries[0].stage}. Write `stage: batch`."
            )


def _refuse_epochs(given: dict[str, Any], spec: Spec) -> None:
    for entry in spec.at(*WORKER_STAGES):
        if entry.limited and given["use_multi_epochs_loader"]:
            raise ValueError(
                f"{entry.where}: `from_epoch` and `until_epoch` must be left out on the "
                f"{entry.stage} with use_multi_epochs_loader, whose workers run ahead into the "
                "next epoch. Write `stage: batch`, or leave that loader out."
            )


def _refuse_policies(given: dict[str, Any], spec: Spec) -> None:
    entries, auto_augment = spec.at("policy"), given["auto_augment"]
    if entries and given.get("input_size_choices") is not None:
        raise ValueError(
            f"{entries[0].where}: `stage` must not be policy with scheduled input sizes "
            "(--train-img-sizes), which have transforms for each. Write `stage: batch`."
        )
    if entries and not learned_sets(auto_augment):
        raise ValueError(
            f"{entries[0].where}: a warp with `stage: policy` must have a policy to be in, got "
            f"auto_augment={auto_augment!r}. Write --aa rand-m9-mstd0.5-tlearned."
        )
