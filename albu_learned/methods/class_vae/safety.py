"""Whether samples are true to their label, and whether they are copies.

An image is judged by a class from how well the class's network reproduces it: what is left of the
misfit, and the divergence of its code, together minus a lower bound of its likelihood. What to
expect of an image is told by the real ones that were held out: of those that it has learned from a
network knows too much. Where none were, images are judged by the comparison of classes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from albu_learned.methods.class_vae.loss import divergence
from albu_learned.methods.class_vae.network import Networks

__all__ = ["Places", "limits", "memorised", "scores"]

_BLOCK = 256
_ENOUGH = 10  # real images of a class that say what to expect of it


class Places:
    """Which network each class has, and the number of the class there.

    Args:
        members: of each network, its classes.
        classes: how many classes there are; some may have no network.
    """

    def __init__(self, members: Sequence[Sequence[int]], classes: int) -> None:
        self.network = torch.full((classes,), -1)
        self.member = torch.zeros(classes, dtype=torch.int64)
        for number, own in enumerate(members):
            for place, label in enumerate(own):
                self.network[label], self.member[label] = number, place
        self.known = (self.network >= 0).nonzero()[:, 0]


@torch.no_grad()
def scores(networks: Networks, images: Tensor, label: int, places: Places) -> Tensor:
    """(B,) how well a class explains each image, in nats; higher is better."""
    found = []
    which = places.network[label].view(1).to(images.device)
    for block in torch.split(images, _BLOCK):
        member = torch.full((len(block), 1), int(places.member[label]), device=images.device)
        mean, log_variance = networks.encode(block[:, None], member, which)
        decoded = networks.decode(mean, member, which)
        error = networks.misfit(decoded, block[:, None], which)
        found.append(-(error + divergence(mean, log_variance).sum(dim=2))[:, 0])
    return torch.cat(found) if found else images.new_zeros(0)


def limits(real: Tensor, starts: Tensor, reject: float) -> Tensor:
    """(classes,) the score of each class below which the share `reject` of its real images lies;
    where these are few, of those of all classes.

    Args:
        real: (N,) scores of real images by their own class, in the order of the classes; infinite
            where they are not to be counted.
        starts: (classes + 1,) where each class begins.
        reject: the share.
    """
    counted = real.isfinite()
    if not counted.any():
        return real.new_full((len(starts) - 1,), -torch.inf)
    together = real[counted].quantile(reject)
    found = []
    for first, last in pairwise(starts.tolist()):
        own = real[first:last][counted[first:last]]
        found.append(own.quantile(reject) if len(own) >= _ENOUGH else together)
    return torch.stack(found)


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
