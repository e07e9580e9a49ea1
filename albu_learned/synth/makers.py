"""Which generators make images of nothing but a class, and of which classes they can."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from albu_learned.kinds import Generate
from albu_learned.method import Method, load

__all__ = ["Maker", "class_names", "known_classes", "maker_of"]

TRIES = 10  # draws of a row before one that is doubtful is taken


class Maker:
    """Makes the images of a class, block by block, each block the same whenever it is made.

    Args:
        method: has `sample`, and `doubtful` where there is a filter.
        reject: the share of real images that the filter may call doubtful; None for no filter.
    """

    def __init__(self, method: Any, reject: float | None) -> None:
        self.method, self.reject = method, reject

    @torch.no_grad()
    def block(self, label: int, rows: int, seeds: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """So many images (rows, C, H, W); how often each was drawn; which are doubtful yet.

        Every draw is one of the whole block, so that a row does not depend on the others.

        Args:
            label: the class.
            rows: how many.
            seeds: one for each try.
        """
        labels = torch.full((rows,), label)
        images = self._drawn(labels, seeds[0])
        tries = torch.ones(rows, dtype=torch.int64)
        doubtful = self._doubtful(images, labels)
        for seed in seeds[1:]:
            if not doubtful.any():
                break
            again = self._drawn(labels, seed)
            images = torch.where(doubtful.view(-1, 1, 1, 1), again, images)
            tries += doubtful
            doubtful &= self._doubtful(again, labels)
        return images, tries, doubtful

    def _drawn(self, labels: Tensor, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)  # of the CPU: the same on every device
        images: Tensor = self.method.sample(labels, generator=generator)
        if not images.isfinite().all():
            raise ValueError(
                f"`sample` of {type(self.method).__name__} must be finite, got NaN or infinity for "
                f"class {int(labels[0])}. Look at what it was fitted to."
            )
        return images.cpu()

    def _doubtful(self, images: Tensor, labels: Tensor) -> Tensor:
        if self.reject is None:
            return torch.zeros(len(images), dtype=torch.bool)
        place = next((t.device for t in self.method.state_dict().values()), images.device)
        found: Tensor = self.method.doubtful(images.to(place), labels.to(place), self.reject)
        return found.cpu()


def maker_of(
    given: Method | str | os.PathLike[str], changes: Mapping[str, Any], reject: float | None
) -> Maker:
    """What makes the images: a copy of the method with these arguments, its own where None.

    The method's own filter is turned off: the maker filters itself, and counts.
    """
    method = load(given) if isinstance(given, (str, os.PathLike)) else given
    if not isinstance(method, Generate) or not callable(getattr(method, "sample", None)):
        raise TypeError(
            "`method` must be a generator that makes images of classes, such as a ClassVAE, got "
            f"{_what(method)}. Fit one: albu-learned fit class-vae."
        )
    known = method.arguments()
    wanted = {name: value for name, value in changes.items() if value is not None}
    if reject is not None:
        wanted["reject"] = reject
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise ValueError(
            f"`{unknown[0]}` must be left out for a {type(method).__name__}, which has none."
        )
    twin = method.with_arguments(**wanted)  # what is wrong is told here
    share = twin.arguments().get("reject")
    if share is not None:
        twin = twin.with_arguments(reject=None)
    return Maker(twin.eval(), share)


def known_classes(method: Method) -> list[int]:
    """The classes that a generator can make images of. A `ClassVAE` cannot of classes that its fit
    has seen no image of: these are members of no network."""
    members = getattr(method, "members", None)
    if members is not None:
        return sorted(label for own in members for label in own)
    return list(range(len(class_names(method))))


def class_names(method: Method) -> list[str]:
    """A name for each class: its number where there is none, with zeros before it, so that the
    order of the names is that of the numbers."""
    if method.about.classes is not None:
        return list(method.about.classes)
    count = int(getattr(method, "num_classes", 0))
    return [str(number).zfill(len(str(count - 1))) for number in range(count)]


def _what(given: object) -> str:
    name = type(given).__name__
    return f"a {name}, which is of the kind {given.kind!r}" if isinstance(given, Method) else name
