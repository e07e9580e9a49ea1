"""What every transform of this door shares: a held method, its plan, its place in a saved pipeline.

A door holds a method and never inherits one. It reads from the host's data what the method's
`needs` name, draws from the host's own generator, and hands the plan to the host as plain numbers.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.albumentations.convert import class_number, image_to, tensor_of, unit_range
from albu_learned.albumentations.record import generator_from, to_record
from albu_learned.batch import Batch
from albu_learned.method import Method
from albu_learned.method import hold as hold_method

__all__ = ["Door", "hold", "needed"]

PACKAGE = "albu_learned.albumentations"
# Keys that hold pixels, and how many leading dimensions stand before one image.
_IMAGES = {"image": 0, "images": 1, "volume": 1, "volumes": 2}
_PIXELS = (*_IMAGES, "mask", "masks", "mask3d", "masks3d")


class Door:
    """A mixin in front of a host's base class; a subclass says which kind of method it holds."""

    method: Any
    label_key: str
    classes: list[str] | None
    _live: Method
    _order: Tensor | None = None
    _readable: frozenset[str] = frozenset({"images", "labels", "boxes"})

    def hold(
        self,
        method: Any,
        kind: type[Method],
        label_key: str = "label",
        classes: Sequence[str] | None = None,
    ) -> None:
        """Takes a method, or loads one from the folder of an artifact."""
        self.method = os.fspath(method) if isinstance(method, (str, os.PathLike)) else method
        self._live = hold(self.method, kind, type(self).__name__, self._readable)
        self.label_key = label_key
        self.classes = None if classes is None else list(classes)
        self._order = None if classes is None else self._live.class_order(self.classes or [])

    @torch.no_grad()
    def sample(self, data: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """The plan of one image, as the host keeps it."""
        self.refuse_tensors(data)
        noise = self._live.draw(1, generator_from(rng))
        given = self.read(data)
        self._live.check(given)
        return {"plan": to_record(self._live.plan(given, noise))}

    def refuse_tensors(self, data: dict[str, Any]) -> None:
        tensors = [key for key in _PIXELS if isinstance(data.get(key), Tensor)]
        if tensors:
            raise TypeError(
                f"`{tensors[0]}` must be a numpy array for {type(self).__name__}, got a "
                f"torch.Tensor. Put {type(self).__name__} before ToTensorV2."
            )

    def read(self, data: dict[str, Any]) -> Batch:
        """What the method needs of the host's data, as a batch of one row."""
        read = {"images": self._images, "labels": self._labels, "boxes": self._boxes}
        parts = {part: read[part](data) for part in self._live.needs}
        return self._live.readable(Batch(**parts))  # type: ignore[arg-type]

    def _images(self, data: dict[str, Any]) -> Tensor:
        for key, depth in _IMAGES.items():
            if data.get(key) is not None:
                image = unit_range(data[key][(0,) * depth], key, type(self).__name__)
                return image_to(image)
        raise ValueError(self._missing("image", "its picture"))

    def _labels(self, data: dict[str, Any]) -> Tensor:
        if data.get(self.label_key) is None:
            raise ValueError(self._missing(self.label_key, "its class number", "`label_key`"))
        number = class_number(data[self.label_key], self.label_key)
        classes = self._live.about.classes if self.classes is None else self.classes
        if classes is not None and not 0 <= number < len(classes):
            raise ValueError(
                f"`{self.label_key}` must be in 0..{len(classes) - 1} for the classes {classes}, "
                f"got {number}. Number your labels as the classes are ordered."
            )
        return torch.tensor([number]) if self._order is None else self._order[number][None]

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
        """What the host saves. A live method is refused, but a Compose may show it in its repr."""
        state: dict[str, Any] = super().to_dict_private()  # type: ignore[misc]
        live = sorted(name for name, value in state.items() if isinstance(value, Method))
        if live and _is_shown():
            return {**state, **{name: f"<live {type(state[name]).__name__}>" for name in live}}
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


def _is_shown() -> bool:
    """Whether the host asks for a repr: it calls what it also calls to save, and drops the answer,
    so only the stack tells. A caller that is not known for a repr counts as saving."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_name in ("to_dict_private", "<listcomp>"):
        frame = frame.f_back
    return frame.f_code.co_name in ("indented_repr", "__repr__")


def needed(method: Method, images: Tensor, labels: Tensor) -> Batch:
    """What the plan of a mix reads, checked. Images must be channels first here; `apply`, which is
    elementwise, takes any layout."""
    parts = {"images": images, "labels": labels}
    read = {name: part for name, part in parts.items() if name in method.needs}
    batch = method.readable(Batch(**read))  # type: ignore[arg-type]
    method.check(batch)
    return batch


def hold(method: Any, kind: type[Method], door: str, readable: frozenset[str]) -> Method:
    """The method itself, or the one in a folder; checked to be of the kind that a door holds."""
    live = hold_method(method, kind)
    strange = sorted(live.needs - readable)
    if strange:
        raise ValueError(
            f"`method` must need no more than {sorted(readable)} for {door}, but "
            f"{type(live).__name__} needs {strange}. Apply it to a Batch, or through "
            "albu_learned.kornia.LearnedAugmentationSequential."
        )
    checks.on_cpu(live, f"{door}, where Albumentations works")
    return live
