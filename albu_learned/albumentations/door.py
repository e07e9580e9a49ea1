"""What every transform of this door shares: a held method, its plan, its place in a saved pipeline.

A door holds a method and never inherits one. It reads from the host's data what the method's
`needs` name, draws from the host's own generator, and hands the plan to the host as plain numbers.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albu_learned.albumentations.convert import class_number, image_to, tensor_of
from albu_learned.albumentations.record import generator_from, to_record
from albu_learned.batch import Batch
from albu_learned.method import Method
from albu_learned.method import hold as hold_method

__all__ = ["Door", "hold"]

PACKAGE = "albu_learned.albumentations"
# Where the host keeps the part of a batch that a method needs.
_READABLE = frozenset({"images", "labels", "boxes"})
# Keys that hold pixels, and how many leading dimensions stand before one image.
_IMAGES = {"image": 0, "images": 1, "volume": 1, "volumes": 2}


class Door:
    """A mixin in front of a host's base class; a subclass says which kind of method it holds."""

    method: Any
    label_key: str
    classes: list[str] | None
    _live: Method
    _order: Tensor | None = None

    def hold(
        self,
        method: Any,
        kind: type[Method],
        label_key: str = "label",
        classes: Sequence[str] | None = None,
    ) -> None:
        """Takes a method, or loads one from the folder of an artifact."""
        self.method = os.fspath(method) if isinstance(method, (str, os.PathLike)) else method
        self._live = hold(self.method, kind, type(self).__name__)
        self.label_key = label_key
        self.classes = None if classes is None else list(classes)
        self._order = None if classes is None else self._live.class_order(self.classes or [])

    @torch.no_grad()
    def sample(self, data: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The plan of one image, as the host keeps it."""
        noise = self._live.draw(1, generator_from(rng))
        given = self.read(data)
        self._live.check(given)
        return {"plan": to_record(self._live.plan(given, noise))}

    def read(self, data: dict[str, Any]) -> Batch:
        """What the method needs of the host's data, as a batch of one row."""
        read = {"images": self._images, "labels": self._labels, "boxes": self._boxes}
        return Batch(**{part: read[part](data) for part in self._live.needs})  # type: ignore[arg-type]

    def _images(self, data: dict[str, Any]) -> Tensor:
        for key, depth in _IMAGES.items():
            if data.get(key) is not None:
                return image_to(data[key][(0,) * depth])
        raise ValueError(self._missing("image", "its picture"))

    def _labels(self, data: dict[str, Any]) -> Tensor:
        if data.get(self.label_key) is None:
            raise ValueError(self._missing(self.label_key, "its class number", "`label_key`"))
        number = class_number(data[self.label_key], self.label_key)
        if self._order is None:
            return torch.tensor([number])
        if not 0 <= number < len(self._order):
            raise ValueError(
                f"`{self.label_key}` must be in 0..{len(self._order) - 1} for the classes "
                f"{self.classes}, got {number}."
            )
        return self._order[number][None]

    def _boxes(self, data: dict[str, Any]) -> list[Tensor]:
        if data.get("bboxes") is None:
            raise ValueError(self._missing("bboxes", "boxes, under a Compose with bbox_params"))
        boxes = np.asarray(data["bboxes"], dtype=np.float32)
        return [tensor_of(boxes[:, :4]) if len(boxes) else torch.zeros(0, 4)]

    def _missing(self, key: str, what: str, argument: str = "") -> str:
        return (
            f"{type(self).__name__} must be given {key!r}, {what}: its method reads it, but the "
            f"data has no such key. Call transform(image=..., {key}=...)"
            + (f", or name your key in {argument}." if argument else ".")
        )

    @property
    def available_keys(self) -> set[str]:
        """The keys that a strict Compose may be given."""
        keys = {"labels": self.label_key, "boxes": "bboxes"}
        read = {keys[part] for part in self._live.needs if part in keys}
        return super().available_keys | read  # type: ignore[misc]

    @classmethod
    def get_class_fullname(cls) -> str:
        """The name in saved pipelines: the public path, whichever file the class is in."""
        inside = cls.__module__.startswith(PACKAGE + ".")
        return f"{PACKAGE if inside else cls.__module__}.{cls.__name__}"

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """The arguments of the class itself; 2.0.8 would add those of its bases."""
        names = inspect.signature(type(self).__init__).parameters
        return tuple(name for name in names if name not in {"self", "strict"})

    def to_dict_private(self) -> dict[str, Any]:
        state: dict[str, Any] = super().to_dict_private()  # type: ignore[misc]
        live = sorted(name for name, value in state.items() if isinstance(value, Method))
        if live:
            raise TypeError(
                f"`{live[0]}` must be the folder of an artifact for {type(self).__name__} to be "
                f"saved in a pipeline, got a live {type(state[live[0]]).__name__}. Write it with "
                "save_pretrained(folder), and give the folder instead."
            )
        return state

    def get_dict_with_id(self) -> dict[str, Any]:
        """The head of a replay record. It may stay in this process, so a live method is allowed."""
        return {**super().to_dict_private(), "id": id(self)}  # type: ignore[misc]


def hold(method: Any, kind: type[Method], door: str) -> Method:
    """The method itself, or the one in a folder; checked to be of the kind that a door holds."""
    live = hold_method(method, kind)
    strange = sorted(live.needs - _READABLE)
    if strange:
        raise ValueError(
            f"`method` must need no more than {sorted(_READABLE)} for {door}, but "
            f"{type(live).__name__} needs {strange}."
        )
    places = {tensor.device.type for tensor in live.state_dict().values()} - {"cpu"}
    if places:
        raise ValueError(
            f"`method` must be on the CPU for {door}, where Albumentations works, got "
            f"{sorted(places)}. Give method.cpu()."
        )
    return live
