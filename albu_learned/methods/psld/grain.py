"""The fine texture that a decoder cannot make, such as the noise of a camera, put on what it has
made.

Without it all that is new is softer than all that is kept, and "sharp" tells objects from
background. What decoding loses of the image itself shows the texture: its spectrum is kept, its
phases are drawn anew, so that no outline comes back, and it is as strong as it was in the erased
parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["grain"]

_FINE = 2.0  # pixels: what is coarser than a Gaussian of this deviation is content, not texture
_SEEDS = 2**62  # apart from those of masks and of the sampler's noise


@torch.no_grad()
def grain(lost: Tensor, erased: Tensor, seeds: Tensor) -> Tensor:
    """(B, C, H, W) texture to be added where images were made anew.

    Args:
        lost: (B, C, H, W), images less what encoding and decoding leave of them.
        erased: (B, 1, H, W), where pixels are made anew.
        seeds: (B,) of each image, as in the plan.

    Example:
        >>> import torch
        >>> lost = 0.1 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> texture = grain(lost, torch.ones(1, 1, 64, 64, dtype=torch.bool), torch.tensor([1]))
        >>> round(float(texture.std() / lost.std()), 1)
        1.0
    """
    rows = zip(lost.float(), erased[:, 0], seeds.tolist(), strict=True)
    return torch.stack([_texture(*row) for row in rows])


def _texture(lost: Tensor, erased: Tensor, seed: int) -> Tensor:
    """(C, H, W), zero where nothing is lost."""
    size = (lost.shape[1], lost.shape[2])
    if not erased.any():
        return torch.zeros_like(lost)
    drawn = torch.randn(size, generator=torch.Generator().manual_seed(_SEEDS + seed))
    spectrum = torch.fft.rfft2(lost) * _fine(size).to(lost)
    # Turned as those of white noise, and all channels alike, whose colours so stay together.
    turned = torch.fft.rfft2(drawn).sgn().to(spectrum)
    texture = torch.fft.irfft2(spectrum * turned, s=size)
    wanted = _spread(torch.fft.irfft2(spectrum, s=size)[:, erased])
    strength: Tensor = wanted / _spread(texture.flatten(1)).clamp(min=1e-12)
    made: Tensor = texture * strength[:, None, None]
    return made


def _fine(size: tuple[int, int]) -> Tensor:
    """What a Gaussian blur would take away of each frequency."""
    down, across = torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1])
    squared: Tensor = down[:, None].square() + across.square()
    return 1 - torch.exp(-2 * (torch.pi * _FINE) ** 2 * squared)


def _spread(values: Tensor) -> Tensor:
    """(C,): the median of absolute values, which edges hardly move."""
    return values.abs().median(dim=1).values
