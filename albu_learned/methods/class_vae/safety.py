"""Whether samples are true to their label, and whether they are copies.

An image is judged by a class from how well the class's network reproduces it: what is left of the
misfit, and the divergence of its code, together minus a lower bound of its likelihood. What to
expect of an image is told by the real ones that were held out: of those that it has learned from a
network knows too much. Where none were, images are judged by the comparison of classes alone.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from albu_learned.methods.class_vae.loss import divergence
from albu_learned.methods.class_vae.network import Networks

__all__ = ["Look", "chosen", "limits", "look", "margins", "memorised"]

_BLOCK = 256
_ENOUGH = 10  # real images of a class that say what to expect of it


class Look(NamedTuple):
    """What a class makes of images."""

    mean: Tensor  # (B, latent) of their codes
    log_variance: Tensor
    score: Tensor  # (B,) how well it explains them, in nats; higher is better


@torch.no_grad()
def look(networks: Networks, images: Tensor, network: Tensor, member: Tensor) -> Look:
    """Images (B, C, H, W) as one class sees them, of this network, of this number there."""
    found = []
    which = network.view(1)
    for block in torch.split(images, _BLOCK):
        told = member.expand(len(block), 1)
        mean, log_variance = networks.encode(block[:, None], told, which)
        decoded = networks.decode(mean, told, which)
        error = networks.misfit(decoded, block[:, None], which)
        score = -(error + divergence(mean, log_variance).sum(dim=2))
        found.append((mean[:, 0], log_variance[:, 0], score[:, 0]))
    return Look(*map(torch.cat, zip(*found, strict=True)))


def limits(real: Tensor, starts: Tensor, reject: float) -> Tensor:
    """(classes,) the score of each class below which the share `reject` of its real images lies;
    where these are few, of those of all classes.

    Args:
        real: (N,) scores of real images by their own class, in the order of the classes; infinite
            where they are not to be counted.
        starts: (classes + 1,) where each class begins.
        reject: the share.
    """
    real = real.float()  # of smaller floats there are no quantiles
    counted = real.isfinite()
    if not counted.any():
        return real.new_full((len(starts) - 1,), -torch.inf)
    together = real[counted].quantile(reject)
    found = []
    for first, last in pairwise(starts.tolist()):
        own = real[first:last][counted[first:last]]
        found.append(own.quantile(reject) if len(own) >= _ENOUGH else together)
    return torch.stack(found)


def margins(scores: Tensor, labels: Tensor, limit: Tensor) -> Tensor:
    """(B,) how far each image is from being rejected, in nats; below 0 it is.

    Args:
        scores: (B, classes), how well each class explains it.
        labels: (B,) its own class.
        limit: (classes,) the least score of each class.
    """
    own = scores.gather(1, labels[:, None])[:, 0]
    others = scores.scatter(1, labels[:, None], -torch.inf).max(dim=1).values
    return torch.minimum(own - others, own - limit[labels])


def chosen(margin: Tensor) -> Tensor:
    """(B,) which of the tries (B, tries) is taken: the first good one, or else the least bad."""
    good = margin >= 0
    return torch.where(good.any(dim=1), good.int().argmax(dim=1), margin.argmax(dim=1))


@torch.no_grad()
def memorised(samples: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) distance of each sample to the nearest real image of its class, and (N,) that of each
    real image to the nearest other; root of the mean square over pixels."""
    flat, own = samples.flatten(1), real.flatten(1)
    root = flat.shape[1] ** 0.5
    near = torch.cdist(flat, own).min(dim=1).values / root
    between = torch.cdist(own, own)
    between.fill_diagonal_(torch.inf)
    return near, between.min(dim=1).values / root
