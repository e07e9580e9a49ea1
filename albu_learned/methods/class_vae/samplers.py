"""Where z comes from: the prior, the posteriors of real images, a mixture fitted to these, or the
line between two of a class.

All take the same noise, z ~ N(0, I) and u ~ U(0, 1)^3, so that a sampler can be changed and a plan
replayed. What they draw from is kept in tables, class by class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["SAMPLERS", "UNIFORMS", "Codes"]

SAMPLERS = ("prior", "posterior", "mixture", "convex")
UNIFORMS = 3  # numbers that a sampler chooses by
_ROUNDS = 50  # of expectation and maximisation


class Codes(nn.Module):
    """What the images of each class are encoded by, in the order of the classes.

    Args:
        count: of the images.
        classes: how many there are.
        latent: numbers of a code.
        components: of the mixture of each class.
    """

    mean: Tensor
    log_variance: Tensor
    starts: Tensor
    shares: Tensor
    centres: Tensor
    factors: Tensor

    def __init__(self, count: int, classes: int, latent: int, components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(count, latent))
        self.register_buffer("log_variance", torch.zeros(count, latent))
        self.register_buffer("starts", torch.zeros(classes + 1, dtype=torch.int64))
        self.register_buffer("shares", torch.full((classes, components), 1 / components))
        self.register_buffer("centres", torch.zeros(classes, components, latent))
        self.register_buffer("factors", torch.eye(latent).repeat(classes, components, 1, 1))

    @torch.no_grad()
    def fill(self, mean: Tensor, log_variance: Tensor, counts: Sequence[int]) -> None:
        """Takes codes in the order of their classes, and fits the mixtures to them.

        Args:
            mean: (N, latent).
            log_variance: (N, latent).
            counts: how many codes each class has.
        """
        self.mean.copy_(mean)
        self.log_variance.copy_(log_variance)
        self.starts[1:] = torch.tensor(list(counts)).cumsum(0)
        sizes = list(counts)
        parts = (torch.split(mean, sizes), torch.split(log_variance.exp(), sizes))
        for number, (own, variance) in enumerate(zip(*parts, strict=True)):
            if len(own):
                found = mixture(own.double(), variance.double(), self.shares.shape[1])
                for kept, value in zip(
                    (self.shares, self.centres, self.factors), found, strict=True
                ):
                    kept[number] = value.to(kept)

    def latent(
        self, sampler: str, labels: Tensor, z: Tensor, u: Tensor, temperature: float
    ) -> Tensor:
        """(B, latent) codes for these classes, from the noise of each row."""
        if sampler == "prior":
            return temperature * z
        if sampler == "mixture":
            edges = self.shares[labels].cumsum(dim=1)
            part = (u[:, :1] >= edges).sum(dim=1).clamp(max=edges.shape[1] - 1)
            spread = torch.einsum("bij,bj->bi", self.factors[labels, part].to(z), z)
            return self.centres[labels, part].to(z) + temperature * spread
        first = self._row(labels, u[:, 0])
        mean, log_variance = self.mean[first].to(z), self.log_variance[first].to(z)
        if sampler == "convex":
            other, share = self._row(labels, u[:, 1]), u[:, 2:]
            mean = torch.lerp(mean, self.mean[other].to(z), share)
            log_variance = torch.lerp(log_variance, self.log_variance[other].to(z), share)
        return mean + temperature * (0.5 * log_variance).exp() * z

    def _row(self, labels: Tensor, u: Tensor) -> Tensor:
        """The number of a code of each label's class."""
        first, last = self.starts[labels], self.starts[labels + 1]
        return torch.minimum(first + (u * (last - first)).long(), last - 1).clamp(min=0)


def mixture(mean: Tensor, variance: Tensor, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """The mixture of Gaussians that the aggregated posterior is most likely under.

    What is fitted are not points but posteriors, so their variance adds to every covariance, and
    none can vanish.

    Args:
        mean: (N, latent), of the posteriors.
        variance: (N, latent).
        components: how many at most; codes that are fewer have one each.

    Returns:
        Shares (M,), centres (M, latent) and factors (M, latent, latent) with F F' the covariance.
    """
    count, size = mean.shape
    used = min(components, count)
    centres = mean[_apart(mean, used)]
    covariance = torch.diag(mean.var(dim=0, correction=0) + variance.mean(dim=0)).repeat(used, 1, 1)
    shares = mean.new_full((used,), 1 / used)
    for _ in range(_ROUNDS if used > 1 else 1):
        belongs = (
            _belongs(mean, variance, shares, centres, covariance)
            if used > 1
            else mean.new_ones(count, 1)
        )
        weight = belongs.sum(dim=0).clamp(min=1e-9)
        shares = weight / weight.sum()
        centres = (belongs.mT @ mean) / weight[:, None]
        away = mean[:, None] - centres
        spread = torch.einsum("nm,nmi,nmj->mij", belongs, away, away)
        spread = spread + torch.diag_embed(belongs.mT @ variance)
        covariance = spread / weight[:, None, None] + 1e-9 * torch.eye(size, dtype=mean.dtype)
    factors = torch.linalg.cholesky(covariance)
    missing = components - used
    return (
        torch.cat([shares, shares.new_zeros(missing)]),
        torch.cat([centres, centres.new_zeros(missing, size)]),
        torch.cat([factors, factors.new_zeros(missing, size, size)]),
    )


def _apart(mean: Tensor, count: int) -> list[int]:
    """Codes far from one another, to begin with: each the farthest from those before."""
    chosen = [int((mean - mean.mean(dim=0)).square().sum(dim=1).argmin())]
    while len(chosen) < count:
        chosen.append(int(torch.cdist(mean, mean[chosen]).min(dim=1).values.argmax()))
    return chosen


def _belongs(
    mean: Tensor, variance: Tensor, shares: Tensor, centres: Tensor, covariance: Tensor
) -> Tensor:
    """(N, M): how much of each posterior belongs to each component."""
    precision = torch.linalg.inv(covariance)
    away = mean[:, None] - centres
    far = torch.einsum("nmi,mij,nmj->nm", away, precision, away)
    far = far + variance @ precision.diagonal(dim1=1, dim2=2).mT
    size = mean.shape[1] * math.log(2 * math.pi)
    logs = shares.log() - 0.5 * (far + torch.linalg.slogdet(covariance)[1] + size)
    belongs: Tensor = logs.softmax(dim=1)
    return belongs
