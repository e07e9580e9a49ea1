"""A latent Gaussian with a linear decoder: a model whose posterior is known in closed form."""

import torch

from albu_learned.methods.psld.operators import Mask
from albu_learned.methods.psld.problem import Problem

F64 = torch.float64
# The noise levels of Stable Diffusion.
ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=F64) ** 2, 0)


class GaussianModel:
    """z ~ N(mean, covariance), one row of pixels x = W z + 0.5; the encoder is the pseudoinverse.

    Latents are (B, 1, 1, n), pixels (B, 1, 1, m).
    """

    def __init__(self, mean, covariance, decoder, blur=0.0):
        self.mean, self.covariance, self.decoder = mean, covariance, decoder
        self.back = torch.linalg.pinv(decoder)
        self.alphas, self.blur = ALPHAS, blur
        self.calls = {"encode": 0, "decode": 0, "noise": 0}

    def encode(self, images, draw=None):
        self.calls["encode"] += 1
        latents = (images - 0.5) @ self.back.T
        return latents if draw is None else latents + self.blur * draw(latents)

    def decode(self, latents):
        self.calls["decode"] += 1
        return latents @ self.decoder.T + 0.5

    def noise(self, latents, time):
        self.calls["noise"] += 1
        share = self.alphas[time]
        size = len(self.mean)
        seen = share * self.covariance + (1 - share) * torch.eye(size, dtype=F64)
        away = latents - share.sqrt() * self.mean
        return (1 - share).sqrt() * away @ torch.linalg.inv(seen)


def distance(sample, mean, covariance):
    """Of a sample (N, n) from a Gaussian: the 2-Wasserstein distance of the Gaussian like it."""
    own = torch.cov(sample.T)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ own @ root).clamp(min=0).sqrt().sum()
    away = (sample.mean(0) - mean).square().sum()
    return (away + covariance.trace() + own.trace() - 2 * cross).clamp(min=0).sqrt().item()


def problem_of(pixels, rows):
    """Images (N, m), of which these pixels are kept."""
    keep = torch.zeros(1, 1, 1, pixels.shape[1], dtype=torch.bool)
    keep[..., rows] = True
    return Problem(Mask(keep), pixels[:, None, None])


def seeded(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator, dtype=like.dtype)


def smooth(size, length=2.0, rough=0.1):
    """The covariance of a row of neighbours that are alike."""
    place = torch.arange(size, dtype=F64)
    alike = torch.exp(-0.5 * ((place[:, None] - place) / length) ** 2)
    return (1 - rough) * alike + rough * torch.eye(size, dtype=F64)
