"""What is known of an image: linear operators on pixels, each with its exact adjoint.

y = A x is what is looked at, and <A x, y> = <x, A' y> holds to rounding. The paper erases pixels;
blurred and smaller images are what it names as future work. Where they are joined to a mask
(`Stack`), what is erased is still known in its coarse features.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned import checks

__all__ = ["Downsample", "GaussianBlur", "Mask", "MotionBlur", "Operator", "Stack"]


class Operator(ABC):
    """A linear map of images (B, C, H, W), row by row."""

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, measured: Tensor) -> Tensor:
        """A' y."""


class Mask(Operator):
    """Keeps some pixels; the others are zero. It is its own adjoint.

    Args:
        keep: (B, 1, H, W), true where a pixel is kept.
    """

    def __init__(self, keep: Tensor) -> None:
        if keep.ndim != 4 or keep.shape[1] != 1 or keep.dtype != torch.bool:
            raise ValueError(
                f"`keep` must be (B, 1, H, W) truth values, got {tuple(keep.shape)} {keep.dtype}."
            )
        self.keep = keep

    def __call__(self, images: Tensor) -> Tensor:
        return torch.where(self.keep, images, torch.zeros_like(images))

    def adjoint(self, measured: Tensor) -> Tensor:
        return self(measured)


class _Separable(Operator):
    """K x L' with one matrix for the columns and one for the rows of an image."""

    def __init__(self, columns: Tensor, rows: Tensor) -> None:
        self.columns, self.rows = columns, rows

    def __call__(self, images: Tensor) -> Tensor:
        return self.columns.to(images) @ images @ self.rows.to(images).mT

    def adjoint(self, measured: Tensor) -> Tensor:
        return self.columns.to(measured).mT @ measured @ self.rows.to(measured)


class GaussianBlur(_Separable):
    """Blurs; the image is mirrored at its edges, so that brightness is kept.

    Args:
        size: (H, W) of the images.
        radius: standard deviation of the blur in pixels.
    """

    def __init__(self, size: Sequence[int], radius: float) -> None:
        radius = checks.between("radius", radius, "(0, inf)")
        super().__init__(*(_blur_matrix(side, radius) for side in size))


class Downsample(_Separable):
    """The means of blocks of pixels; a block that reaches over the edge is as large as is left.

    Args:
        size: (H, W) of the images.
        factor: side of a block.
    """

    def __init__(self, size: Sequence[int], factor: int) -> None:
        factor = checks.integer("factor", factor, 1)
        super().__init__(*(_block_matrix(side, factor) for side in size))


class MotionBlur(Operator):
    """Blurs along a line. What it measures is smaller than the image by the line's extent: no
    pixels beyond the edges are made up.

    Args:
        length: of the line in pixels.
        angle: of the line in degrees, 0 for along a row.
    """

    def __init__(self, length: float, angle: float = 0.0) -> None:
        length = checks.between("length", length, "[1, inf)")
        self.kernel = _line(length, math.radians(checks.real("angle", angle, "a number")))

    def __call__(self, images: Tensor) -> Tensor:
        return F.conv2d(images, self._of(images), groups=images.shape[1])

    def adjoint(self, measured: Tensor) -> Tensor:
        return F.conv_transpose2d(measured, self._of(measured), groups=measured.shape[1])

    def _of(self, images: Tensor) -> Tensor:
        return self.kernel.to(images).expand(images.shape[1], 1, -1, -1)


class Stack(Operator):
    """Several operators that look at the same image.

    Args:
        operators: each gives its part of the measurement, flattened.
        size: (C, H, W) of the images.
    """

    def __init__(self, operators: Sequence[Operator], size: Sequence[int]) -> None:
        self.operators = list(operators)
        nothing = torch.zeros(1, *size)
        self.shapes = [
            (size if isinstance(own, Mask) else own(nothing).shape[1:]) for own in self.operators
        ]

    def __call__(self, images: Tensor) -> Tensor:
        return torch.cat([own(images).flatten(1) for own in self.operators], dim=1)

    def adjoint(self, measured: Tensor) -> Tensor:
        parts = torch.split(measured, [math.prod(shape) for shape in self.shapes], dim=1)
        whole = zip(self.operators, parts, self.shapes, strict=True)
        images = [own.adjoint(part.view(-1, *shape)) for own, part, shape in whole]
        return torch.stack(images).sum(dim=0)


def _blur_matrix(side: int, radius: float) -> Tensor:
    """(side, side): the weights of a mirrored row of pixels; every row sums to 1."""
    reach = math.ceil(4 * radius)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets.double() / radius).square())
    places = (torch.arange(side)[:, None] + offsets) % (2 * side)
    places = torch.minimum(places, 2 * side - 1 - places)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(side, -1))


def _block_matrix(side: int, factor: int) -> Tensor:
    """(blocks, side): the mean of each block."""
    block = torch.arange(side) // factor
    chosen = block == torch.arange(math.ceil(side / factor))[:, None]
    return chosen.double() / chosen.sum(dim=1, keepdim=True)


def _line(length: float, angle: float) -> Tensor:
    """(1, 1, K, K): a line drawn with soft pixels; it sums to 1."""
    reach = math.ceil((length - 1) / 2)
    along = torch.linspace(-(length - 1) / 2, (length - 1) / 2, 8 * reach + 1, dtype=torch.float64)
    grid = torch.arange(-reach, reach + 1, dtype=torch.float64)
    near_x = (1 - (grid - along[:, None] * math.cos(angle)).abs()).clamp(min=0)
    near_y = (1 - (grid - along[:, None] * math.sin(angle)).abs()).clamp(min=0)
    kernel = torch.einsum("ni,nj->ij", near_y, near_x)
    return (kernel / kernel.sum())[None, None]
