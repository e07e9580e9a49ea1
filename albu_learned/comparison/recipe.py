"""The hand-made recipe that most people use: what a learned method has to be better than.

Images are rotated, shifted, zoomed and, where validation finds it safe, mirrored; series get noise,
another amplitude and a shift in time. The magnitude is chosen on validation images like the
strength of any other arm, since the usual recipe is often too strong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.batch import Batch

__all__ = ["Recipe"]

ANGLE, SHIFT, ZOOM = math.radians(20), 0.2, 0.2  # images, at magnitude 1
NOISE, AMPLITUDE, DELAY = 0.1, 0.2, 0.1  # series, in units of their own deviation and length


@dataclass(frozen=True)
class Recipe:
    """Changes every row, each in its own way.

    Args:
        magnitude: 1 is up to 20 degrees, a fifth of the side and a fifth of the size.
        flip: whether half of the images are mirrored left to right.
    """

    magnitude: float = 0.5
    flip: bool = False

    def __call__(self, batch: Batch) -> Batch:
        images = batch.images
        assert images is not None
        changed = self._images(images) if images.ndim == 4 else self._series(images)
        return batch.with_images(changed)

    def _images(self, images: Tensor) -> Tensor:
        count = len(images)
        angle, zoom = self._drawn(count, ANGLE), self._drawn(count, ZOOM).exp()
        mirror = torch.ones(count)
        if self.flip:
            mirror = 1 - 2 * (torch.rand(count) < 0.5).float()
        cos, sin = angle.cos() * zoom, angle.sin() * zoom
        ratio = images.shape[2] / images.shape[3]  # a rotation in pixels, not in fractions
        theta = torch.stack(
            [
                torch.stack([mirror * cos, -mirror * sin * ratio, 2 * self._drawn(count, SHIFT)]),
                torch.stack([sin / ratio, cos, 2 * self._drawn(count, SHIFT)]),
            ]
        )
        theta = theta.permute(2, 0, 1).to(images)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _series(self, series: Tensor) -> Tensor:
        count, _, length = series.shape
        scale = series.std(dim=2, keepdim=True)
        delay = (self._drawn(count, DELAY) * length).round().long().to(series.device)
        times = torch.arange(length, device=series.device) + delay[:, None]
        moved = series.gather(2, times.clamp(0, length - 1)[:, None].expand_as(series))
        amplitude = self._drawn(count, AMPLITUDE).exp().to(series)[:, None, None]
        noise = torch.randn(series.shape).to(series) * scale
        return amplitude * moved + self.magnitude * NOISE * noise

    def _drawn(self, count: int, most: float) -> Tensor:
        return self.magnitude * most * (2 * torch.rand(count) - 1)
