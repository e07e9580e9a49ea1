"""What a sampler is given to draw an image anew: the model, what is known of the image, and no more
images at a time than there is memory for."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from albu_learned.methods.psld import operators
from albu_learned.methods.psld.diffusion import LatentDiffusion
from albu_learned.methods.psld.problem import Model
from albu_learned.methods.psld.tiles import Tiled, padded

__all__ = ["KNOWN", "halved", "in_channels", "on_tiles", "operator", "shown"]

KNOWN = ("nothing", "gaussian-blur", "motion-blur", "downsample")  # of erased pixels


def halved(make: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """What `make` makes of rows of images and what belongs to them; where memory does not suffice,
    of half of them at a time."""
    count = len(rows[0])
    try:
        return make(*rows)
    except torch.cuda.OutOfMemoryError:
        if count == 1:
            raise
    half = count // 2
    warnings.warn(
        f"Not enough memory for {count} images at once: going on with {half}. Set batch={half}.",
        stacklevel=2,
    )
    torch.cuda.empty_cache()
    parts = [(part[:half], part[half:]) for part in rows]
    return torch.cat([halved(make, *own) for own in zip(*parts, strict=True)])


def in_channels(images: Tensor, channels: int) -> Tensor:
    """Images as the model has them: grey ones may be shown to a model of colour."""
    if images.shape[1] == channels:
        return images
    if images.shape[1] != 1:
        raise ValueError(
            f"`images` must have {channels} channels for this model, or 1, got "
            f"{tuple(images.shape)}. Convert them."
        )
    return images.expand(-1, channels, -1, -1)


def shown(prior: LatentDiffusion, images: Tensor) -> Tensor:
    """Images as the model takes them."""
    given = in_channels(images.detach().clone().float(), prior.channels)
    return padded(given, prior.multiple, prior.side)


def on_tiles(prior: LatentDiffusion, tile: int | None) -> Model:
    """The model, on tiles where images are larger than these."""
    side = prior.side if tile is None else tile
    if side % prior.multiple:
        raise ValueError(
            f"`tile` must be a multiple of {prior.multiple} for this model, got {side}."
        )
    cells = side // prior.cell
    return Tiled(prior, prior.cell, cells, cells // 4)


def operator(keep: Tensor, images: Tensor, known: str, coarse: float) -> operators.Operator:
    """What is known of images: the pixels that are kept, and of erased ones one of `KNOWN`."""
    own = operators.Mask(keep)
    size = images.shape[1:]
    if known == "nothing":
        return own
    other: operators.Operator
    if known == "gaussian-blur":
        other = operators.GaussianBlur(size[1:], coarse)
    elif known == "motion-blur":
        other = operators.MotionBlur(coarse)
        side, line = min(size[1:]), other.kernel.shape[-1]
        if line > side:
            raise ValueError(
                f"`coarse` must be at most {side - 1 + side % 2} for a motion-blur of images of "
                f"{size[1]} x {size[2]}, got {coarse:g}."
            )
    else:
        other = operators.Downsample(size[1:], round(coarse))
    return operators.Stack([own, other], size)
