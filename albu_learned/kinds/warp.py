"""Warps: motions of the image and of everything that lies on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from albu_learned import checks, resample
from albu_learned.batch import Batch
from albu_learned.method import Method, Plan

PADDINGS = ("border", "zeros", "reflection")


class Field(ABC):
    """Where the points of each row of a batch go. Points are (B, N, D) fractions of the image."""

    @abstractmethod
    def points(self, points: Tensor) -> Tensor:
        """Where points of the given images lie in the new ones."""

    @abstractmethod
    def points_back(self, points: Tensor) -> Tensor:
        """Where points of the new images lay in the given ones: the inverse of `points`."""

    @abstractmethod
    def __len__(self) -> int:
        """How many rows it moves."""

    def grid(self, size: Sequence[int], like: Tensor) -> Tensor:
        """(B, *size, D): `points_back` of the centre of every pixel of the new images. Override
        where a whole grid is cheaper than its points one by one."""
        centres = resample.pixel_centres(size, like)
        flat = centres.reshape(1, -1, len(size)).expand(len(self), -1, -1)
        return self.points_back(flat).view(len(self), *size, len(size))

    @final
    def inverse(self) -> Field:
        return _Inverse(self)


class _Inverse(Field):
    def __init__(self, field: Field) -> None:
        self.field = field

    def __len__(self) -> int:
        return len(self.field)

    def points(self, points: Tensor) -> Tensor:
        return self.field.points_back(points)

    def points_back(self, points: Tensor) -> Tensor:
        return self.field.points(points)


class Warp(Method):
    """Moves images with everything that lies on them; never changes a class.

    Class facts:
        padding: what lies beyond the border: "border" (the nearest pixel), "zeros", "reflection".
    """

    _base = True
    kind = "warp"
    padding: ClassVar[str] = "border"

    @abstractmethod
    def field(self, plan: Plan) -> Field:
        """The one primitive: the motion that a plan describes."""

    @abstractmethod
    def identity(self, rows: int, device: torch.device | str | None = None) -> Plan:
        """The plan that moves nothing."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.padding not in PADDINGS:
            raise ValueError(
                f"`padding` of {cls.__name__} must be one of {PADDINGS}, got {cls.padding!r}."
            )

    def check(self, batch: Batch) -> None:
        checks.needs(self, batch)
        if "labels" in self.needs:
            checks.hard_labels(self, batch)
        if batch.images is not None and batch.images.ndim not in (3, 4):
            raise ValueError(
                f"`images` must be (B, C, H, W), or series (B, C, T), for {type(self).__name__}, "
                f"got {tuple(batch.images.shape)}."
            )

    def change(self, batch: Batch, plan: Plan) -> Batch:
        return _move(batch, self.field(plan), self.padding)

    def invert(self, batch: Batch, plan: Plan) -> Batch:
        """Undoes `apply`, as far as the frame and the resampling allow."""
        return _move(batch, self.field(plan).inverse(), self.padding)


def _move(batch: Batch, field: Field, padding: str) -> Batch:
    return Batch(
        images=resample.images(batch.images, field, padding),
        labels=batch.labels,
        masks=resample.masks(batch.masks, field, padding),
        boxes=resample.boxes(batch.boxes, field),
        points=resample.points(batch.points, field),
        instances=resample.instances(batch.instances, field, padding),
    )
