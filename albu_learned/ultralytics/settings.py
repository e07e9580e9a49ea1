"""Settings of a training that would quietly spoil what its spec or its user asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from albu_learned.spec import Spec, Step
from albu_learned.ultralytics.host import LOGGER, Albumentations

__all__ = ["check_albumentations", "check_batch", "check_channels", "check_epochs"]


def check_channels(args: Any, late: Sequence[Step]) -> None:
    """`bgr` leaves some images of a batch with red and blue swapped, and does not say which."""
    for step in late:
        colours = step.entry.kind == "generate" or "images" in step.method.needs
        if colours and args.task != "classify" and args.bgr:
            raise ValueError(
                f"`bgr` must be 0 for {step.entry.name} on the batch, got {args.bgr}: it reads "
                "colours, and this swaps them at random. Use another stage, or bgr=0."
            )


def check_batch(loader: Any, late: Sequence[Step]) -> None:
    """One image has nothing to be mixed with."""
    for step in late:
        if step.entry.kind == "mix" and step.entry.p > 0 and loader.batch_size == 1:
            raise ValueError(
                f"{step.entry.where}: `batch` must be at least 2 for {step.entry.name}, got 1: it "
                "mixes the images of a batch. On several GPUs each needs 2. Raise it, or leave "
                "the mix out."
            )


def check_epochs(trainer: Any, spec: Spec) -> None:
    """An entry that begins behind the last epoch is never used. One that has ended already, in a
    run that is resumed, has been."""
    for entry in spec.entries:
        if entry.p == 0 or any(map(entry.active, range(trainer.epochs))):
            continue
        rule = (
            f"{entry.where}: {entry.name} must be active in one of the {trainer.epochs} epochs of "
            f"the training, which count from 0, got from_epoch={entry.from_epoch}"
        )
        if not trainer.args.time:
            raise ValueError(f"{rule}. Begin it earlier, train longer, or leave it out.")
        LOGGER.warning(f"{rule}. Whether `time` allows for so many will be seen.")


def check_albumentations(args: Any, part: Any) -> None:
    """Ultralytics goes on without the user's own transforms when it cannot make them."""
    if not getattr(args, "augmentations", None):
        return
    for each in _walk(getattr(part, "transforms", None)):
        if isinstance(each, Albumentations) and each.transform is None:
            names = [_name(one) for one in args.augmentations]
            raise RuntimeError(
                f"`augmentations` must be usable, but Ultralytics could not make {names}, and "
                "would train without them. Import the modules of your own transforms before the "
                "training starts, and check their arguments: its log says what was wrong."
            )


def _walk(transform: Any) -> Iterator[Any]:
    yield transform
    for each in getattr(transform, "transforms", None) or []:
        yield from _walk(each)


def _name(transform: Any) -> str:
    if isinstance(transform, dict):
        return str(transform.get("transform", transform).get("__class_fullname__", transform))
    return type(transform).__name__
