"""What every sampler works on: a model of images with latents, and what is known of an image.

A model is anything with the four parts of `Model`: a latent diffusion model of diffusers (see
`diffusion`), the same on overlapping tiles (see `tiles`), or a Gaussian whose posterior is known,
by which the samplers are tested. Pixels are floats in [0, 1]; what a model decodes may lie outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.methods.psld.operators import Mask, Operator

__all__ = ["Draw", "Model", "Problem", "RowNoise", "cells_kept", "level", "levels", "squares"]

Draw = Callable[[Tensor], Tensor]  # standard normal numbers in the shape of what it is given


class Model(Protocol):
    """A latent diffusion model, with latents of about unit variance.

    Args:
        alphas: (T,), how much of the variance of a latent at each of T noise levels is signal, from
            nearly 1 to nearly 0: the cumulative products of diffusers' schedulers.
    """

    alphas: Tensor

    def encode(self, images: Tensor, draw: Draw | None = None) -> Tensor:
        """Latents of (B, C, H, W) pixels: the mode of the encoder, or one draw from it."""

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels of latents."""

    def noise(self, latents: Tensor, time: int) -> Tensor:
        """The noise that the model sees in latents of the noise level `time`, 0 to T - 1."""


class RowNoise:
    """Noise of each row from its own seed, so that a row does not depend on the others, nor on the
    device: it is drawn on the CPU.

    Args:
        seeds: (B,) integers.
    """

    def __init__(self, seeds: Tensor) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]

    def __call__(self, like: Tensor) -> Tensor:
        rows = [torch.randn(like.shape[1:], generator=own) for own in self.generators]
        return torch.stack(rows).to(like)


@dataclass(frozen=True, eq=False)
class Problem:
    """An image of which something is known, and shall stay.

    Args:
        operator: A, what is looked at.
        original: (B, C, H, W), the image. All of it is given, so that a sampler can tell how well
            the autoencoder could do at all; what is drawn is told of A x alone.
    """

    operator: Operator
    original: Tensor

    @property
    def measurement(self) -> Tensor:
        """y = A x."""
        return self.operator(self.original)

    def misfit(self, images: Tensor, measurement: Tensor) -> Tensor:
        """(B,) the squared distance of A x from y."""
        return squares(self.operator(images) - measurement)


def squares(values: Tensor) -> Tensor:
    """(B,) the sum of squares of each row."""
    return values.flatten(1).square().sum(dim=1)


def level(values: Tensor, like: Tensor) -> Tensor:
    """(B,) numbers in a shape that multiplies rows of `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def levels(alphas: Tensor, steps: int, strength: float = 1.0) -> list[tuple[int, Tensor, Tensor]]:
    """The noise levels of a sampling: of each step its time, and the share of signal before it and
    after it. The last ends without noise.

    Args:
        alphas: of the model.
        steps: how many.
        strength: of the times that are walked through, as a share from the clean end.

    Example:
        >>> import torch
        >>> [time for time, _, _ in levels(torch.linspace(0.99, 0.01, 10), steps=5)]
        [9, 7, 5, 3, 1]
    """
    count = strength * len(alphas)
    times = (torch.arange(steps, 0, -1) * (count / steps)).round().long().clamp(min=1) - 1
    known = alphas.double().cpu().clamp(1e-6, 1 - 1e-6)
    after = torch.cat([known[times[1:]], known.new_ones(1)])
    return list(zip(times.tolist(), known[times], after, strict=True))


def cells_kept(operator: Operator, latents: Tensor) -> Tensor:
    """(B, 1, h, w) which latent cells have no erased pixel; of a `Mask` alone."""
    if not isinstance(operator, Mask):
        raise TypeError(
            f"`operator` must be a Mask where latents are blended, got {type(operator).__name__}. "
            'Use sampler="decoder-only".'
        )
    kept = operator.keep.to(latents)
    return -F.adaptive_max_pool2d(-kept, latents.shape[2:])
