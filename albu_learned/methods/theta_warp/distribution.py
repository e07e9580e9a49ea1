"""The Gaussian of theta that aligned pairs speak for."""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned.families import Family
from albu_learned.families.covariance import root

__all__ = ["fit"]

SHRINK = 50.0  # pairs of a class that weigh as much as what all classes have in common


def fit(
    theta: Tensor, family: Family, labels: Tensor | None = None, classes: int = 1
) -> tuple[Tensor, float]:
    """The factor (K or 1, dim, dim) of the covariance, scaled to move points by one side, and the
    std, how far points really move.

    The mean is zero and theta is as likely as minus theta: the second moment is that of both.

    Args:
        theta: (N, dim), of pairs that were aligned.
        family: what theta means.
        labels: (N,), the class of each pair, for a covariance a class.
        classes: how many covariances; 1 for one of all classes.
    """
    exact = theta.double().cpu()
    pooled = exact.mT @ exact / len(exact)
    moments = pooled[None]
    if classes > 1:
        assert labels is not None
        own = [exact[labels.cpu() == number] for number in range(classes)]
        moments = torch.stack([(t.mT @ t + SHRINK * pooled) / (len(t) + SHRINK) for t in own])
    std = float((family.metric * pooled).sum().clamp(min=0).sqrt())
    if std == 0:
        raise ValueError("`theta` must move something, but no aligned pair moves at all.")
    return torch.stack([root(moment) for moment in moments]).float() / std, std
