"""From pixels to the latents of an autoencoder of diffusers, and back.

Pixels lie in [0, 1]; the latents that a network of diffusers learns from are scaled so that their
variance is about 1, by figures in the autoencoder's config.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from albu_learned.methods.psld.problem import Draw

__all__ = ["cell_of", "decoded", "encoded"]


def cell_of(autoencoder: Any) -> int:
    """Pixels of a side of a latent cell."""
    config = autoencoder.config
    blocks = getattr(config, "block_out_channels", None) or config.encoder_block_out_channels
    return int(2 ** (len(blocks) - 1))


def encoded(autoencoder: Any, images: Tensor, draw: Draw | None = None) -> Tensor:
    """Latents of (B, C, H, W) pixels: the mode, or one draw."""
    given = autoencoder.encode((2 * images - 1).to(autoencoder.dtype))
    if not hasattr(given, "latent_dist"):
        return _scaled(autoencoder, given.latents.to(images.dtype))
    spread = given.latent_dist
    found = spread.mode().to(images.dtype)
    if draw is not None:
        found = found + spread.std.to(images.dtype) * draw(found)
    return _scaled(autoencoder, found)


def decoded(autoencoder: Any, latents: Tensor) -> Tensor:
    """Pixels of latents, about in [0, 1]."""
    shift, scale = _scale(autoencoder, latents)
    given = (latents / scale + shift).to(autoencoder.dtype)
    pixels: Tensor = autoencoder.decode(given).sample
    return (pixels.to(latents.dtype) + 1) / 2


def _scaled(autoencoder: Any, latents: Tensor) -> Tensor:
    shift, scale = _scale(autoencoder, latents)
    scaled: Tensor = (latents - shift) * scale
    return scaled


def _scale(autoencoder: Any, like: Tensor) -> tuple[Any, Any]:
    """What is taken from the autoencoder's latents, and by what the rest is multiplied."""
    config = autoencoder.config
    factor = config.scaling_factor
    mean, deviation = (getattr(config, key, None) for key in ("latents_mean", "latents_std"))
    if mean is None or deviation is None:
        return getattr(config, "shift_factor", None) or 0.0, factor
    mean, deviation = (torch.tensor(v).view(1, -1, 1, 1).to(like) for v in (mean, deviation))
    return mean, factor / deviation
