"""The rival of every class VAE: the Gaussian of a class, in the directions in which it varies most.

It is a VAE of one linear layer, in closed form: z ~ N(0, I), image = mean + deviations * z.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from albu_learned.batch import as_floats
from albu_learned.methods.class_vae.layers import Denses
from albu_learned.methods.class_vae.network import Networks

__all__ = ["solve"]

_SURE = -20.0  # log-variance of codes: an image is what it is
_NOTHING = 1e-6  # of the largest deviation: a direction in which images do not vary


@torch.no_grad()
def solve(networks: Networks, images: Tensor, rows: Sequence[Tensor]) -> None:
    """Sets the weights.

    Args:
        networks: those called "pca".
        images: (N, C, H, W).
        rows: of each network, the numbers of its images.
    """
    encoder, decoder = networks.to_latent[-1], networks.decoder[0]
    assert isinstance(encoder, Denses)
    assert isinstance(decoder, Denses)
    for layer in (encoder, decoder):
        layer.weight.zero_()
        layer.bias.zero_()
    encoder.bias[:, networks.latent :] = _SURE
    for number, own in enumerate(rows):
        flat = as_floats(images[own]).flatten(1).double()
        mean = flat.mean(dim=0)
        _, sizes, directions = torch.linalg.svd(flat - mean, full_matrices=False)
        deviations = sizes / max(len(own) - 1, 1) ** 0.5
        most = min(
            networks.latent, int((deviations > _NOTHING * deviations[0]).sum()), len(own) - 1
        )
        directions, deviations = directions[:most], deviations[:most]
        inward = directions / deviations[:, None]
        decoder.weight[number, :most] = (directions * deviations[:, None]).to(decoder.weight)
        decoder.bias[number] = mean.to(decoder.bias)
        encoder.weight[number, :, :most] = inward.mT.to(encoder.weight)
        encoder.bias[number, :most] = -(inward @ mean).to(encoder.bias)
