"""The Gaussian of theta that aligned pairs speak for."""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned.families import Family
from albu_learned.families.covariance import root

__all__ = ["fit"]

SHRINK = 50.0  # pairs of a class that weigh as much as what all classes have in common


def fit(
    theta: Tensor,
    family: Family,
    unsure: Tensor | None = None,
    labels: Tensor | None = None,
    classes: int = 1,
) -> tuple[Tensor, float]:
    """The factor (K or 1, dim, dim) of the covariance, scaled to move points by one side, and the
    std, how far points really move.

    The mean is zero and theta is as likely as minus theta: the second moment is that of both. Its
    shape is that of what was found and of what was left open together, its size that of what was
    found: where images cannot be aligned, motions remain small.

    Args:
        theta: (N, dim), of pairs that were aligned.
        family: what theta means.
        unsure: (dim, dim), the covariance that alignment has left open; none if None.
        labels: (N,), the class of each pair, for a covariance a class.
        classes: how many covariances; 1 for one of all classes.
    """
    exact = theta.double().cpu()
    beside = torch.zeros(()).double() if unsure is None else unsure.double().cpu()
    found = exact.mT @ exact / len(exact)
    pooled = found + beside
    moments = pooled[None]
    if classes > 1:
        assert labels is not None
        own = [exact[labels.cpu() == number] for number in range(classes)]
        moments = torch.stack(
            [(t.mT @ t + len(t) * beside + SHRINK * pooled) / (len(t) + SHRINK) for t in own]
        )
    std = _motion(found, family)
    if std == 0:
        raise ValueError("`theta` must move something, but no aligned pair moves at all.")
    factors = torch.stack([root(moment) for moment in moments])
    return (factors / _motion(pooled, family)).float(), std


def _motion(moment: Tensor, family: Family) -> float:
    """How far points move, the root of the mean square, in sides."""
    return float((family.metric * moment).sum().clamp(min=0).sqrt())
