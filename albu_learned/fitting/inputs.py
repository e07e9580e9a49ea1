"""What `fit` is given, as one sample in memory: tensors, arrays, a Dataset, a DataLoader or a path.

However they come, the same images in the same order give the same sample. At most so many of every
class are kept, each with the same chance, so that a set that is streamed need not fit in memory.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler

from albu_learned.batch import Batch
from albu_learned.data import Data, open_data
from albu_learned.fitting.sample import Sample, checked, groups_of, labels_of

__all__ = ["collect"]


def collect(
    images: Any,
    labels: Any,
    classes: Sequence[str] | None,
    groups: Any,
    most: int | None,
    seed: int,
) -> Sample:
    """The sample of whatever `fit` was given, checked."""
    if isinstance(images, (str, os.PathLike)):
        images, groups = _opened(images, groups), None
    choice = _Choice(most, seed)
    if isinstance(images, (Tensor, np.ndarray)):
        return _of_arrays(images, labels, classes, groups, choice)
    if not isinstance(images, (Data, Dataset, DataLoader)):
        raise TypeError(
            "`images` must be a tensor, an array, a Dataset, a DataLoader or the path of a data "
            f"set, got {type(images).__name__}. Of a list, stack the images with torch.stack, and "
            "give their classes apart, as `labels`."
        )
    if labels is not None:
        raise ValueError(
            f"`labels` must be left out where `images` bring their own, as this "
            f"{type(images).__name__} does."
        )
    if isinstance(images, Data):
        return _of_data(images, classes, groups, choice)
    return _of_stream(images, classes, groups, choice)


class _Choice:
    """Which rows of a stream of labels are kept: all, or `most` of every class, by reservoir
    sampling, so that each has the same chance though nobody knows how many will come."""

    def __init__(self, most: int | None, seed: int) -> None:
        self.most, self.chance = most, random.Random(seed)
        self.seen = Counter[int]()
        self.kept: dict[int, list[int]] = {}

    def offer(self, row: int, label: int) -> int | None:
        """Which row is to be forgotten now: none, an earlier one, or this one itself."""
        kept, number = self.kept.setdefault(label, []), self.seen[label]
        self.seen[label] += 1
        if self.most is None or number < self.most:
            kept.append(row)
            return None
        place = int(self.chance.random() * (number + 1))
        if place >= self.most:
            return row
        gone, kept[place] = kept[place], row
        return gone

    def of(self, labels: Tensor) -> Tensor:
        """The rows that are kept of labels known beforehand, in their order."""
        for row, label in enumerate(labels.tolist()):
            self.offer(row, label)
        return self.rows()

    def rows(self) -> Tensor:
        return torch.tensor(sorted(row for rows in self.kept.values() for row in rows))


def _opened(path: Any, groups: Any) -> Data:
    data = open_data(path, groups=groups)
    if not isinstance(data, Data):
        raise ValueError(
            f"`images` must be a data set of classes, got {os.fspath(path)!r}, which is for "
            f"{data.kind}. Cut its objects out, one folder a class."
        )
    return data


def _of_data(data: Data, classes: Any, groups: Any, choice: _Choice) -> Sample:
    for name, value in (("classes", classes), ("groups", groups)):
        if value is not None:
            raise ValueError(f"`{name}` must be left out for an open data set, which has its own.")
    rows = choice.of(data.train.labels)
    own = data.train.groups
    return checked(
        data.train.read(rows),
        data.train.labels[rows],
        None if own is None else own[rows],
        list(data.classes),
        rows,
        len(data.train),
        data.name,
    )


def _of_arrays(images: Any, labels: Any, classes: Any, groups: Any, choice: _Choice) -> Sample:
    if images.ndim == 0 or len(images) == 0:
        raise ValueError(f"`images` must have rows, got {tuple(images.shape)}.")
    known = labels_of(labels, len(images))
    grouped = groups_of(groups, len(images))
    rows = choice.of(known)
    whole = len(rows) == len(images)  # a memory map is read only where rows of it are wanted
    if isinstance(images, Tensor):
        chosen = images.detach() if whole else images.detach()[rows.to(images.device)]
    else:
        chosen = torch.from_numpy(np.array(images if whole else images[rows.numpy()]))
    return checked(
        chosen.cpu(),
        known[rows],
        None if grouped is None else grouped[rows],
        classes,
        rows,
        len(images),
        "",
    )


def _of_stream(given: Any, classes: Any, groups: Any, choice: _Choice) -> Sample:
    _check_order(given, groups)
    if classes is None:
        named = getattr(getattr(given, "dataset", given), "classes", None)
        good = isinstance(named, (list, tuple)) and all(isinstance(n, str) for n in named)
        classes = list(named) if named and good else None
    targets = _targets(given)
    if targets is None:
        kept, count = _streamed(_items(given), choice)
    else:
        rows, count = choice.of(targets), len(targets)
        kept = {row: _item(given[row], row) for row in rows.tolist()}
    if not kept:
        raise ValueError(f"`images` must have rows, got an empty {type(given).__name__}.")
    _check_sizes({row: image for row, (image, _) in kept.items()})
    rows = choice.rows()
    labels = torch.tensor([kept[row][1] for row in rows.tolist()])
    grouped = groups_of(groups, count)
    images = torch.stack([kept[row][0] for row in rows.tolist()])
    chosen = None if grouped is None else grouped[rows]
    return checked(images, labels_of(labels, len(rows)), chosen, classes, rows, count, "")


def _check_order(given: Any, groups: Any) -> None:
    if groups is None or not isinstance(given, DataLoader):
        return
    if not isinstance(given.sampler, SequentialSampler):
        raise ValueError(
            "`groups` must be left out for a DataLoader that shuffles: they could not be matched "
            "to its rows. Give its dataset in place of it."
        )


def _streamed(
    items: Iterable[tuple[Tensor, int]], choice: _Choice
) -> tuple[dict[int, tuple[Tensor, int]], int]:
    """The rows that are kept; no more than these are ever in memory."""
    kept: dict[int, tuple[Tensor, int]] = {}
    count = 0
    for row, item in enumerate(items):
        count += 1
        kept[row] = item
        gone = choice.offer(row, item[1])
        if gone is not None:
            del kept[gone]
    return kept, count


def _targets(given: Any) -> Tensor | None:
    """The labels of a dataset that tells them without reading images, as torchvision's do."""
    if isinstance(given, (DataLoader, IterableDataset)):
        return None
    if getattr(given, "target_transform", None) is not None:
        return None
    try:
        known = labels_of(given.targets, len(given))
        probe = range(0, len(known), max(1, len(known) // 3))
        honest = all(_item(given[row], row)[1] == known[row] for row in probe)
    except (AttributeError, TypeError, ValueError):
        return None
    return known if honest else None


def _items(given: Any) -> Iterator[tuple[Tensor, int]]:
    if not isinstance(given, DataLoader):
        every = given if isinstance(given, IterableDataset) else map(given.__getitem__, _all(given))
        yield from (_item(item, row) for row, item in enumerate(every))
        return
    row = 0
    try:
        for batch in given:
            images, labels = _of_batch(batch)
            for image, label in zip(images, labels_of(labels, len(images)), strict=True):
                yield image, int(label)
                row += 1
    except RuntimeError as error:
        if "equal size" not in str(error):
            raise
        raise ValueError(
            f"`images` must be of one size, but those of the batch after image {row} are not. "
            "Add a resize to the transforms of the dataset."
        ) from error


def _all(given: Any) -> range:
    try:
        return range(len(given))
    except TypeError:
        raise TypeError(
            f"`images` must be a Dataset with a length, or an IterableDataset, got "
            f"{type(given).__name__}."
        ) from None


def _of_batch(batch: Any) -> tuple[Tensor, Any]:
    if isinstance(batch, Batch):
        batch = (batch.images, batch.labels)
    if isinstance(batch, (tuple, list)) and len(batch) >= 2 and isinstance(batch[0], Tensor):
        return batch[0].detach().cpu(), batch[1]
    raise TypeError(
        f"`images` must yield batches (images, labels) of tensors, got {type(batch).__name__}."
    )


def _item(item: Any, row: int) -> tuple[Tensor, int]:
    if not isinstance(item, (tuple, list)) or len(item) < 2:
        raise TypeError(f"`images` must yield (image, label), got {type(item).__name__} as {row}.")
    image, label = item[0], item[1]
    if not isinstance(image, (Tensor, np.ndarray)):
        raise TypeError(
            f"`images` must yield tensors (C, H, W), or series (C, T), got "
            f"{type(image).__name__} as {row}. Add a transform such as torchvision's PILToTensor."
        )
    return torch.as_tensor(image).detach().cpu(), int(labels_of([label], 1))


def _check_sizes(images: dict[int, Tensor]) -> None:
    first = next(iter(images))
    for row, image in images.items():
        if image.shape != images[first].shape:
            raise ValueError(
                f"`images` must be of one size, got {tuple(images[first].shape)} as {first} and "
                f"{tuple(image.shape)} as {row}. Add a resize to the transforms of the dataset."
            )
