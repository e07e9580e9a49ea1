"""Learned methods at the images of a dataset, where their labels are known."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Subset

from albu_learned.batch import Batch
from albu_learned.timm.epochs import Clock, Counts, Stage, needs_labels, work
from albu_learned.timm.pictures import picture_from, picture_to

__all__ = ["LearnedDataset"]

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
        _check(dataset)
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
        own = getattr(self.inner, "transform", None)
        if own is not None:
            raise RuntimeError(
                "The dataset within a learned loader must have no transform of its own, which "
                f"would be applied twice, but it was given {own}. Set "
                "loader.dataset.transform instead, and give each loader a dataset of its own."
            )
        image, target, *features = _pair(self.inner[index])
        image = self._change(self.image, image, target, _file(self.inner, index))
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

    def _change(self, stage: Stage, image: Any, target: Any, file: str | None = None) -> Any:
        active = self.clock.active(stage)
        if not active:
            return image
        labels = _label(target) if needs_labels(active) else None
        files = None if file is None else (file,)
        given = Batch(images=picture_to(image), labels=labels, files=files)
        with torch.no_grad():
            result, changed = work(active, given, self.counts)
        assert result.images is not None
        return picture_from(result.images) if changed else image


def _check(dataset: Any) -> None:
    if isinstance(dataset, LearnedDataset):
        raise TypeError(
            "`dataset` must not be that of a learned loader already, whose methods would work "
            "twice. Give the dataset itself."
        )


def _pair(sample: Any) -> Any:
    """The sample, if it is a raw image and its target: else the loader's transform would be a
    second one, or fail."""
    pair = isinstance(sample, (tuple, list)) and len(sample) >= 2
    if pair and isinstance(sample[0], Image.Image):
        return sample
    got = f"one of {type(sample[0]).__name__}" if pair else f"a {type(sample).__name__}"
    raise TypeError(
        "The dataset must yield pairs of a PIL image and its target for methods on the image or "
        f"sample, got {got}. If it has a transform of its own, take that out and set "
        "loader.dataset.transform; or write `stage: batch`."
    )


def _file(dataset: Any, index: Any) -> str | None:
    """The file of an image, of datasets that know: timm's by their reader, torchvision's by their
    samples, and subsets of both."""
    if isinstance(dataset, Subset):
        return _file(dataset.dataset, dataset.indices[index])
    for owner in (getattr(dataset, "reader", None), dataset):
        samples = getattr(owner, "samples", None)
        if isinstance(samples, list) and samples and isinstance(samples[index], (tuple, list)):
            file = samples[index][0]
            return file if isinstance(file, str) else None  # within an archive
    return None


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
