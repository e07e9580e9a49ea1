"""Warps: motions of the image and of everything that lies on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from albu_learned import checks, resample
from albu_learned.batch import Batch, Rows
from albu_learned.method import Method, Plan

PADDINGS = ("border", "zeros", "reflection")
BOXES = ("outline", "ellipse", "mask")
_MOVED = {
    1: ("series (B, C, T)", "For images take a warp that is made for them."),
    2: (
        "images (B, C, H, W)",
        "Of one image give images[None]; for series take a warp that is made for them.",
    ),
}


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
        """(B, *size, D): `points_back` of the centre of every pixel of the new images."""
        return self._filled(self.lattice(size), self.points_back, size, like)

    def grid_back(self, size: Sequence[int], like: Tensor) -> Tensor:
        """The grid of the inverse: `points` of the centre of every pixel."""
        return self._filled(self.lattice_back(size), self.points, size, like)

    def lattice(self, size: Sequence[int]) -> Tensor | None:
        """(B, *nodes, D): `points_back` of nodes that are evenly spaced from border to border.
        Override it where fewer points than pixels tell the motion, up to what lies between them:
        `grid` is filled in, and a host with a fast resampler fills it in itself."""
        return None

    def lattice_back(self, size: Sequence[int]) -> Tensor | None:
        """The lattice of the inverse."""
        return None

    @final
    def _filled(
        self,
        lattice: Tensor | None,
        motion: Callable[[Tensor], Tensor],
        size: Sequence[int],
        like: Tensor,
    ) -> Tensor:
        if lattice is not None:
            return resample.between(lattice, size)
        centres = resample.pixel_centres(size, like).reshape(1, -1, len(size))
        return motion(centres.expand(len(self), -1, -1)).view(len(self), *size, len(size))

    @final
    def inverse(self) -> Field:
        return _Inverse(self)


class _Inverse(Field):
    def __init__(self, field: Field) -> None:
        self.field = field

    def grid(self, size: Sequence[int], like: Tensor) -> Tensor:
        return self.field.grid_back(size, like)

    def grid_back(self, size: Sequence[int], like: Tensor) -> Tensor:
        return self.field.grid(size, like)

    def lattice(self, size: Sequence[int]) -> Tensor | None:
        return self.field.lattice_back(size)

    def lattice_back(self, size: Sequence[int]) -> Tensor | None:
        return self.field.lattice(size)

    def __len__(self) -> int:
        return len(self.field)

    def points(self, points: Tensor) -> Tensor:
        return self.field.points_back(points)

    def points_back(self, points: Tensor) -> Tensor:
        return self.field.points(points)


class Warp(Method):
    """Moves images with everything that lies on them; never changes a class.

    Facts, of a class or of an object:
        padding: what lies beyond the border: "border" (the nearest pixel), "zeros", "reflection".
        box: what a box is taken for: its "outline" is moved and the new box is put around it; or
            the "ellipse" within it, whose enclosure grows less; or the object's "mask", that of the
            `instances` in the same rows.
        min_visible: the share of a moved box's area that must be inside the frame; one of which
            less is left there is not valid.
        ndim: 2 if it moves images alone, 1 if series alone; None if both.
    """

    _base = True
    kind = "warp"
    padding: str = "border"
    box: str = "outline"
    min_visible: float = 0.0
    ndim: int | None = None

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
        if batch.images is None:
            return
        name, shape = type(self).__name__, tuple(batch.images.shape)
        if len(shape) not in (3, 4):
            raise ValueError(
                f"`images` must be (B, C, H, W), or series (B, C, T), for {name}, got {shape}."
            )
        if self.ndim is not None and len(shape) != 2 + self.ndim:
            wanted, remedy = _MOVED[self.ndim]
            raise ValueError(
                f"`images` must be {wanted}, for which this {name} is made, got {shape}. {remedy}"
            )

    def change(self, batch: Batch, plan: Plan) -> Batch:
        return self._move(batch, self.field(plan))

    def invert(self, batch: Batch, plan: Plan) -> Batch:
        """Undoes `apply`, as far as the frame and the resampling allow."""
        return self._move(batch, self.field(plan).inverse())

    def _move(self, batch: Batch, field: Field) -> Batch:
        instances = resample.instances(batch.instances, field, self.padding)
        return Batch(
            images=resample.images(batch.images, field, self.padding),
            labels=batch.labels,
            masks=resample.masks(batch.masks, field, self.padding),
            boxes=self._boxes(batch.boxes, field, instances),
            points=resample.points(batch.points, field),
            instances=instances,
        )

    def _boxes(self, given: Rows | None, field: Field, instances: Rows | None) -> Rows | None:
        if self.box == "mask" and given is not None:
            return resample.boxes_around(given, instances)
        return resample.boxes(given, field, self.box, self.min_visible)
