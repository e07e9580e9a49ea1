"""timm's create_loader with a spec."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from albu_learned.spec import Entry, Given, Spec, Step, as_spec
from albu_learned.timm import host
from albu_learned.timm.dataset import LearnedDataset
from albu_learned.timm.epochs import Clock, Counts, Stage, Teller
from albu_learned.timm.loader import LearnedLoader, Normal
from albu_learned.timm.mixes import Mixes
from albu_learned.timm.policy import LearnedOp, use_in_policies
from albu_learned.timm.refusals import refuse, refuse_odd, refuse_soft
from albu_learned.timm.settings import Settings

__all__ = ["arguments_of", "assemble", "create_loader"]

PARTS = frozenset({"images", "labels"})
HOST = "a loader of timm"


def create_loader(
    dataset: Any,
    *args: Any,
    spec: Spec | str | os.PathLike[str],
    num_classes: int | None = None,
    **kwargs: Any,
) -> Any:
    """`timm.data.create_loader`, with the methods of a spec in its training loader.

    Args:
        dataset: as timm's.
        *args: as timm's.
        spec: a YAML file, see `albu_learned.spec`. Mixes make labels soft: the loss must be
            `timm.loss.SoftTargetCrossEntropy`. With `from_epoch` or `until_epoch` in it, call
            loader.dataset.set_epoch(epoch) before each epoch. A loader without is_training=True is
            timm's own.
        num_classes: how many classes there are, for mixes; left out where the dataset tells it.
        **kwargs: as timm's.
    """
    given = arguments_of(dataset, *args, **kwargs)
    if not given.get("is_training"):
        return host.create_loader(dataset, *args, **kwargs)
    return assemble(given, as_spec(spec), None, num_classes)[0]


def arguments_of(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """What timm's create_loader is told, with its defaults."""
    bound = inspect.signature(host.create_loader).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def assemble(
    given: dict[str, Any], spec: Spec, settings: Settings | None, num_classes: int | None
) -> tuple[LearnedLoader, Mixes | None]:
    """The loader, and its mixes.

    Args:
        given: the arguments of timm's create_loader.
        spec: the methods.
        settings: of timm's Mixup where there is one; else the spec's own.
        num_classes: how many classes there are, where it is known.
    """
    refuse(given, spec, mixed_elsewhere=settings is None)
    classes = _classes(given["dataset"], spec)
    if num_classes is None and classes is not None:
        num_classes = len(classes)
    facts = Given(HOST, PARTS, classes, num_classes)
    counted = spec.at("image", "sample", "batch")  # RandAugment sees to the others
    clock = Clock(next((entry.where for entry in counted if entry.limited), None))
    counts = Counts(counted, given["num_workers"])
    stages = {stage: _stage(counted, stage, facts) for stage in ("image", "sample", "batch")}
    mixes = None
    if spec.mixes:
        refuse_odd(given, settings)
        steps = [(counted.index(entry), Step(entry, facts)) for entry in spec.mixes]
        mixes = Mixes(steps, settings, clock, counts)
    if settings is None:
        refuse_soft(given, stages["batch"])
    _use_policies(spec)
    given = {**given, "dataset": _dataset(given["dataset"], stages, clock, counts)}
    inner = host.create_loader(**given)
    if spec.at("policy"):
        _check_policy(given["dataset"].transform, given["auto_augment"])
    normal = _normal(inner, given)
    ahead = bool(given["use_multi_epochs_loader"])
    loader = LearnedLoader(inner, spec, stages["batch"], normal, clock, counts, mixes, ahead)
    return loader, mixes


def _stage(entries: Sequence[Entry], stage: str, facts: Given) -> Stage:
    return [
        (number, Step(entry, facts))
        for number, entry in enumerate(entries)
        if entry.stage == stage and entry.kind != "mix"
    ]


def _dataset(dataset: Any, stages: dict[str, Stage], clock: Clock, counts: Counts) -> Any:
    """The dataset that tells the epoch; it is wrapped only where its images are changed."""
    with suppress(AttributeError):  # an object may refuse; its epochs are then not told
        dataset.set_epoch = Teller(dataset, clock)
    if not stages["image"] and not stages["sample"]:
        return dataset
    return LearnedDataset(dataset, stages["image"], stages["sample"], clock, counts)


def _classes(dataset: Any, spec: Spec) -> tuple[str, ...] | None:
    """The names of the classes in the order of their numbers, from the dataset or the spec."""
    if getattr(dataset, "target_transform", None) is not None:  # its numbers may be others
        return None if spec.classes is None else tuple(spec.classes)
    for owner in (getattr(dataset, "reader", None), dataset):
        numbers = getattr(owner, "class_to_idx", None)
        if isinstance(numbers, dict) and sorted(numbers.values()) == list(range(len(numbers))):
            found = tuple(sorted(numbers, key=lambda name: numbers[name]))
            if spec.classes is not None and tuple(spec.classes) != found:
                raise ValueError(
                    f"`classes` of the spec must be left out, for the dataset has {list(found)}, "
                    f"got {spec.classes}."
                )
            return found
    return None if spec.classes is None else tuple(spec.classes)


def _use_policies(spec: Spec) -> None:
    entries = spec.at("policy")
    if not entries:
        return
    try:
        use_in_policies([entry.build() for entry in entries])
    except ValueError as error:
        raise ValueError(f"{entries[0].where}: {error}") from None


def _check_policy(transform: Any, auto_augment: str) -> None:
    """timm drops a policy without a word in several of its modes."""
    listed = getattr(transform, "transforms", [])
    operations = [op for one in listed for op in getattr(one, "ops", [])]
    if not any(isinstance(getattr(op, "aug_fn", None), LearnedOp) for op in operations):
        raise RuntimeError(
            f"The policy {auto_augment!r} must be among the transforms of the loader, but timm has "
            "left it out. Leave out no_aug (--no-aug)."
        )


def _normal(inner: Any, given: dict[str, Any]) -> Normal:
    if isinstance(inner, host.PrefetchLoader):
        return Normal(inner.mean.float().cpu() / 255, inner.std.float().cpu() / 255)
    return Normal(given["mean"], given["std"])
