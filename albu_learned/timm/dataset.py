"""Learned methods at the images of a dataset, where their labels are known."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from albu_learned.batch import Batch
from albu_learned.timm.epochs import Clock, Counts, Stage, work
from albu_learned.timm.pictures import picture_from, picture_to

__all__ = ["LearnedDataset", "needs_labels"]

# What turns a picture into a tensor, of timm and of both versions of torchvision's transforms.
CONVERSIONS = {"MaybePILToTensor", "MaybeToTensor", "ToNumpy", "PILToTensor", "ToTensor", "ToImage"}


class LearnedDataset(Dataset[Any]):
    """A dataset of (PIL image, target) with the steps of the stages "image" and "sample".

    timm's create_loader assigns `transform`. It is kept here and not given to the dataset within,
    which so yields raw images: steps of the image work on those, steps of the sample just before
    the transform makes a tensor. Everything else is the inner dataset's.
    """

    def __init__(
        self, dataset: Any, image: Stage, sample: Stage, clock: Clock, counts: Counts
    ) -> None:
        self.inner = dataset
        self.image, self.sample = image, sample
        self.clock, self.counts = clock, counts
        self.transform = None
        if hasattr(dataset, "transform"):
            dataset.transform = None

    @property
    def transform(self) -> Any:
        return self._transform

    @transform.setter
    def transform(self, transform: Any) -> None:
        self._transform = transform
        listed = _flat(transform)
        found = [i for i, one in enumerate(listed) if _converts(one)]
        if transform is not None and self.sample and not found:
            raise ValueError(
                "`transform` must be a Compose with a conversion to a tensor, such as timm's "
                f"MaybePILToTensor, before which samples are changed, got {transform}. "
                "Use `stage: batch`."
            )
        cut = found[0] if found else len(listed)
        self._before, self._after = listed[:cut], listed[cut:]

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: Any) -> Any:
        image, target, *features = self.inner[index]
        image = self._change(self.image, image, target)
        for transform in self._before:
            image = transform(image)
        image = self._change(self.sample, image, target)
        for transform in self._after:
            image = transform(image)
        return (image, target, *features)

    def set_epoch(self, epoch: int) -> None:
        """Tells the epoch to the steps, and to the inner dataset."""
        self.clock.tell(epoch)
        if hasattr(self.inner, "set_epoch"):
            self.inner.set_epoch(epoch)

    def __getattr__(self, name: str) -> Any:
        # Never special ones: with the `__getitems__` of an inner Subset torch would pass us by.
        if name == "inner" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def _change(self, stage: Stage, image: Any, target: Any) -> Any:
        epoch = self.clock.epoch
        active = [(number, step) for number, step in stage if step.entry.active(epoch)]
        if not active:
            return image
        labels = _label(target) if needs_labels(active) else None
        given = Batch(images=picture_to(image), labels=labels)
        with torch.no_grad():
            result, changed = work(active, given, self.counts)
        assert result.images is not None
        return picture_from(result.images) if changed else image


def needs_labels(stage: Stage) -> bool:
    return any("labels" in step.method.needs for _, step in stage)


def _label(target: Any) -> Tensor:
    label = torch.as_tensor(target)
    if label.numel() != 1 or label.is_floating_point() or int(label) < 0:
        raise ValueError(
            f"The target must be one class number >= 0 for a method that needs labels, got "
            f"{target!r}. Label every image, or use a method without `needs` of labels."
        )
    return label.reshape(1).long()


def _flat(transform: Any) -> list[Any]:
    """The transforms of a Compose, and of those within it, in a row."""
    listed = getattr(transform, "transforms", None)
    if transform is None or type(transform).__name__ != "Compose" or listed is None:
        return [] if transform is None else [transform]
    return [one for part in listed for one in _flat(part)]


def _converts(transform: Any) -> bool:
    return not CONVERSIONS.isdisjoint(base.__name__ for base in type(transform).__mro__)
