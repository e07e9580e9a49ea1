"""What a fit says of itself: losses, how near samples are to real images, how many are doubtful,
and of which data it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from albu_learned.artifact import About
from albu_learned.batch import as_floats
from albu_learned.fitting import Sample, seeded
from albu_learned.methods.class_vae import safety
from albu_learned.methods.class_vae.training import ROUND, History

if TYPE_CHECKING:
    from albu_learned.methods.class_vae.method import ClassVAE

__all__ = ["about_of", "losses", "measured"]

_SHOWN = 64  # samples of each class that are measured
_REJECT = 0.05


def losses(history: History | None) -> dict[str, float]:
    if history is None:
        return {}
    held = history.held[history.best]
    asked = {} if held.isnan().all() else {"held-out loss": float(held.nanmean())}
    return {
        "steps": float((history.best + 1) * ROUND),
        "loss": float(history.train[history.best].mean()),
        **asked,
    }


@torch.no_grad()
def measured(vae: ClassVAE, sample: Sample, seed: int) -> dict[str, float]:
    """Of samples of every class: how near they are to real images, and how many are doubtful."""
    images = as_floats(sample.images)
    near, between, doubtful = [], [], []
    generator = seeded(seed, "figures")
    for label in torch.unique(sample.labels).tolist():
        labels = torch.full((_SHOWN,), label)
        samples = vae.sample(labels, generator=generator)
        away, apart = safety.memorised(samples, images[sample.labels == label])
        near.append(away)
        between.append(apart[apart.isfinite()])
        doubtful.append(vae.doubtful(samples, labels, _REJECT))
    figures = {
        "images": float(len(images)),
        "latent": float(vae.latent),
        "doubtful": float(torch.cat(doubtful).float().mean()),
        "distance to real": float(torch.cat(near).mean()),
    }
    if len(torch.cat(between)):
        figures["distance between real"] = float(torch.cat(between).mean())
    return figures


def about_of(
    sample: Sample, held: Tensor, why: str, stop: bool, figures: dict[str, float]
) -> About:
    """Which data it is of.

    Args:
        sample: what was fitted to.
        held: (N,) bool, which of it was held out.
        why: none was, if none was.
        stop: whether held-out images stopped the training, and were not learned from.
        figures: what was measured.
    """
    shape = sample.images.shape
    present = len(torch.unique(sample.labels))
    data = (
        (f"{sample.name}: " if sample.name else "")
        + f"{shape[0]} images of {' x '.join(map(str, shape[2:]))} pixels in {present} "
        + ("class" if present == 1 else "classes")
        + (f", of {sample.given} that there are" if sample.given > shape[0] else "")
        + (f"; {int(held.sum())} were held out" if held.any() else f"; none held out: {why}.")
        + ("" if not held.any() else "." if stop else ", and learned from in the end.")
    )
    return About(
        classes=sample.classes,
        image_size=list(shape[2:]),
        channels=shape[1],
        data=data,
        figures=figures,
    )
