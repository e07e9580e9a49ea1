"""The arithmetic of the probabilistic spatial transformer, free of networks and images.

    log p(y | x)  >=  E_q [log p(y | warp(x, theta))]  -  KL(q(z | x) || N(0, I))

z is a latent of every single image, so the KL of an image weighs as much as its log-likelihood: the
mean over the batch of both is right, and one over the number of images before the KL would make it
vanish. Of the paper, equation 23 prints a plus before the KL; and its code compares q with a normal
around q's own mean, which leaves the mean free. Here the mean is drawn to the identity.

Paper: P. Schwöbel, F. Warburg, M. Jørgensen, K. H. Madsen, S. Hauberg, "Probabilistic Spatial
Transformers for Bayesian Data Augmentation", arXiv:2004.03637v1 (2020).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Posterior", "divergence", "log_mean_exp", "minus_log_likelihood"]


class Posterior(NamedTuple):
    """q(z | x): independent normals, one for each latent of each crop of each row."""

    mean: Tensor  # (B, crops, dim)
    deviation: Tensor  # the same; zeros for a deterministic transformer

    def sample(self, noise: Tensor) -> Tensor:
        """(S, B, crops, dim): z for standard normal noise (S, B or 1, crops, dim)."""
        return self.mean + self.deviation * noise


def divergence(posterior: Posterior) -> Tensor:
    """(B,): KL(q(z | x) || N(0, I)) in nats, summed over latents and crops."""
    mean, deviation = posterior
    each = 0.5 * (mean.square() + deviation.square() - 1) - deviation.log()
    return each.flatten(1).sum(dim=1)


def minus_log_likelihood(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """(B,): minus the mean over samples of the log-probability of the label.

    Args:
        log_probabilities: (S, B, K).
        labels: (B,) class numbers, or (B, K) soft labels.
    """
    mean = log_probabilities.mean(dim=0)
    if labels.ndim == 2:
        return -(labels.to(mean) * mean).sum(dim=1)
    return -mean.gather(1, labels.long()[:, None])[:, 0]


def log_mean_exp(log_probabilities: Tensor) -> Tensor:
    """(B, K): the logarithm of the mean probability over samples, of (S, B, K)."""
    return torch.logsumexp(log_probabilities, dim=0) - math.log(len(log_probabilities))
