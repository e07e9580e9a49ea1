"""The evidence lower bound, exactly: what an image is explained by, and what that costs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["LIKELIHOODS", "divergence", "misfit"]

LIKELIHOODS = ("bernoulli", "gaussian")


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) of every latent number, in nats."""
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance)


def misfit(logits: Tensor, images: Tensor, log_scale: Tensor | None = None) -> Tensor:
    """(B, G): minus the log-likelihood of each image, summed over its pixels, in nats.

    Args:
        logits: (B, G, C, H, W), of the pixels' means.
        images: likewise, in [0, 1].
        log_scale: (G,), the log of each network's deviation, for a Gaussian; None for Bernoulli.
    """
    if log_scale is None:
        each = F.binary_cross_entropy_with_logits(logits, images, reduction="none")
        return each.flatten(2).sum(dim=2)
    squares = (logits.sigmoid() - images).square().flatten(2).sum(dim=2)
    pixels = torch.Size(logits.shape[2:]).numel()
    return 0.5 * squares / (2 * log_scale).exp() + pixels * (
        log_scale + 0.5 * math.log(2 * math.pi)
    )
