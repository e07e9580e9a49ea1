"""The samples by which a picture shows what a method does: of a data set, or made up."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from albu_learned import Batch, Method, preview
from albu_learned.batch import Rows
from albu_learned.data import Boxes, Data, open_data
from albu_learned.kinds import Generate, Warp
from albu_learned.synth import known_classes

__all__ = ["classified", "draw", "made_up", "samples", "shown"]

_SHOWN, _LENGTH = 8, 100  # samples in a picture; steps of a series that is made up
_LONGEST = 256  # pixels of an image with boxes


def classified(opened: Data | Boxes, path: Path) -> Data:
    if not isinstance(opened, Data):
        raise ValueError(
            f"`data` must be a data set of classes, got {str(path)!r}, which is for "
            f"{opened.kind}. Cut its objects out, one folder a class."
        )
    return opened


def shown(path: Path, method: Method, how: Mapping[str, Any]) -> tuple[Batch, Any]:
    """Samples of a data set: with their classes or, of one for detection, with their boxes."""
    opened = open_data(path, **how)
    if isinstance(opened, Boxes) and isinstance(method, Warp) and "labels" not in method.needs:
        rows = opened.present.any(dim=1).nonzero()[:_SHOWN, 0]
        images, boxes = opened.read(rows, _LONGEST)
        return Batch(images=images, boxes=Rows.of(boxes)), None
    data = classified(opened, path)
    return samples(data, method), data.classes


def samples(data: Data, method: Method) -> Batch:
    """A few rows to learn from, of as many classes as possible."""
    if isinstance(method, Generate):
        return _many(data, method)
    labels = data.train.labels
    firsts = [(labels == number).nonzero()[:_SHOWN, 0] for number in range(len(data.classes))]
    turns = [row[turn] for turn in range(_SHOWN) for row in firsts if turn < len(row)]
    rows = torch.stack(turns[:_SHOWN])
    return Batch(images=data.train.read(rows), labels=_own(data, method)[rows])


def _own(data: Data, method: Method) -> torch.Tensor:
    """The labels of all rows to learn from, as the method numbers its classes."""
    labels = data.train.labels
    if method.about.classes is not None and "labels" in method.needs:
        return method.class_order(data.classes)[labels]
    return labels


def _many(data: Data, method: Method) -> Batch:
    """Rows in which a generator's samples are looked for, of a few of the classes that it makes."""
    labels = _own(data, method)
    known = set(known_classes(method)) & set(labels.tolist())
    if not known:
        raise ValueError(
            f"`data` must have images of a class that the {type(method).__name__} makes, got "
            f"{', '.join(data.classes)}. Give the data that it was fitted to."
        )
    classes = preview.some_classes(sorted(known))
    each = [(labels == label).nonzero()[: preview.COMPARED, 0] for label in classes]
    rows = torch.cat(each)
    return Batch(images=data.train.read(rows), labels=labels[rows])


def made_up(method: Method) -> Batch:
    """Samples where there are no data: digits, or waves for a method of series; of a generator
    of classes no more than which classes it makes."""
    if isinstance(method, Generate) and method.needs <= {"labels"}:
        return Batch(labels=torch.tensor(known_classes(method)))
    size, channels = method.about.image_size, method.about.channels or 1
    labels = torch.arange(_SHOWN) % int(getattr(method, "distributions", 10))
    family = getattr(method, "family", None)
    if len(size or ()) == 1 or getattr(family, "ndim", 2) == 1:
        time = torch.linspace(0, 1, size[0] if size else _LENGTH)
        waves = torch.stack([torch.sin(6.3 * (1 + i / 2) * time) for i in range(_SHOWN)])
        return Batch(images=waves[:, None].repeat(1, channels, 1), labels=labels)
    from albu_learned.demo import clear_digits

    digits = clear_digits(_SHOWN)
    return Batch(images=digits.repeat(1, 3 if channels == 3 else 1, 1, 1), labels=labels)


def draw(method: Method, batch: Batch, classes: Any, path: Path, seed: int) -> None:
    """Writes the picture of what a method does to samples; `classes` are names of the data's."""
    names = None if "labels" in method.needs and method.about.classes is None else classes
    if method.about.classes is not None and "labels" in method.needs:
        names = method.about.classes
    if isinstance(method, Warp) and method.box == "mask" and batch.instances is None:
        method = copy.copy(method)
        method.box = "outline"  # where there are no masks
    figure = preview.samples(
        method, batch, names, type(method).__name__, torch.Generator().manual_seed(seed)
    )
    preview.save(figure, path)
