"""Small networks for one's own domain, with random weights: an autoencoder, and one for noise."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from albu_learned.methods.psld.folder import diffusers

__all__ = ["autoencoder", "noise_schedule", "standardise", "twin", "unet", "weights"]

CELLS = (2, 4, 8)
LEVELS = 3  # of the network for noise


def autoencoder(channels: int, width: int, cell: int, latent: int, size: int) -> Any:
    """An `AutoencoderKL` without attention, so that it is the same on images of any size."""
    levels = int(math.log2(cell)) + 1
    return diffusers().AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(width * min(2**i, 4) for i in range(levels)),
        layers_per_block=1,
        latent_channels=latent,
        norm_num_groups=_groups(width),
        sample_size=size,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def unet(latent: int, width: int, cells: int) -> Any:
    """A `UNet2DModel` with attention where cells are fewest."""
    width = 2 * width
    return diffusers().UNet2DModel(
        sample_size=cells,
        in_channels=latent,
        out_channels=latent,
        down_block_types=(*["DownBlock2D"] * (LEVELS - 1), "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", *["UpBlock2D"] * (LEVELS - 1)),
        block_out_channels=tuple(width * min(2**i, 4) for i in range(LEVELS)),
        layers_per_block=2,
        attention_head_dim=min(width, 32),
        norm_num_groups=_groups(width),
    )


def noise_schedule(prediction: str) -> Any:
    """The noise levels of Stable Diffusion."""
    return diffusers().DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
    )


@torch.no_grad()
def standardise(network: Any, mean: Tensor, deviation: Tensor) -> None:
    """Gives each channel of the latents of an `AutoencoderKL` mean 0 and deviation 1, by its two
    layers next to them: what it decodes stays as it is. So its scaling factor is 1, and whoever
    reads the folder needs to know no more.

    Args:
        network: changed in place.
        mean, deviation: (latent,), as they are measured.
    """
    into, out = network.quant_conv, network.post_quant_conv
    count = len(mean)
    out.bias += (out.weight[:, :, 0, 0] * mean).sum(dim=1)
    out.weight *= deviation[None, :, None, None]
    into.weight[:count] /= deviation[:, None, None, None]
    into.bias[:count] = (into.bias[:count] - mean) / deviation
    into.bias[count:] -= 2 * deviation.log()  # of the log of the variance


def twin(network: Any) -> Any:
    """A copy, so that the first stays as it is."""
    return copy.deepcopy(network).float()


@contextmanager
def weights(seed: int) -> Iterator[None]:
    """Networks that are built in the block have the weights of that seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _groups(width: int) -> int:
    """Of channels that are normalised together: 4 each, as far as that goes."""
    return min(width // 4, 32)
