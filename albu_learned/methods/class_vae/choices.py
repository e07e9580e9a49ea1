"""What the data decide of a fit: which classes share a network, how many numbers a code has, and
which images are held out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from albu_learned.batch import as_floats
from albu_learned.data import hold_out
from albu_learned.fitting import Sample, seeded
from albu_learned.methods.class_vae.settings import Settings

__all__ = ["by_class", "held_out", "latent_of", "members_of"]

FEWEST = 4  # images of a class that a network of its own can learn from
SEPARATE = 32  # classes at most that have a network each, unless told
_LATENT = (2, 16)
_RELEVANT = 1000  # images that say how many directions there are


def by_class(sample: Sample) -> Sample:
    """The sample in the order of its classes, as codes are kept."""
    if sample.images.ndim != 4:
        raise ValueError(
            f"`images` must be images (N, C, H, W), got {tuple(sample.images.shape)}: a ClassVAE "
            "is not made for series. Use a ThetaWarp for these."
        )
    order = sample.labels.argsort(stable=True)
    groups = None if sample.groups is None else sample.groups[order]
    images, labels = sample.images[order], sample.labels[order]
    return replace(sample, images=images, labels=labels, groups=groups)


def members_of(sample: Sample, how: Settings) -> list[list[int]]:
    """The classes of each network; classes without images have none."""
    counts = sample.labels.bincount(minlength=sample.count)
    present = [label for label in range(sample.count) if counts[label]]
    rare = [label for label in present if counts[label] < FEWEST]
    together = len(present) > SEPARATE if how.conditional is None else how.conditional
    if how.network == "pca":
        return [[label] for label in present]
    if together:
        return [present]
    if rare and how.few == "error":
        names = ", ".join(f"{sample.class_name(label)} ({counts[label]})" for label in rare)
        raise ValueError(
            f"`images` must have {FEWEST} or more of every class, got fewer of {names}. Give more, "
            'or few="merge", which lets such classes share a network, or few="keep".'
        )
    if not rare or how.few == "keep":
        return [[label] for label in present]
    if len(rare) == 1 < len(present):  # a network alone with it would not be shared
        rest = [label for label in present if label not in rare]
        rare.append(min(rest, key=lambda label: int(counts[label])))
    return [[label] for label in present if label not in rare] + [sorted(rare)]


def latent_of(sample: Sample) -> int:
    """In how many directions the images of a class vary: of the eigenvalues of the covariance
    within the classes, the square of the sum over the sum of the squares."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(sample.images), generator=generator)[:_RELEVANT].sort()[0]
    images, labels = as_floats(sample.images[rows]).flatten(1).double(), sample.labels[rows]
    for label in torch.unique(labels):
        images[labels == label] -= images[labels == label].mean(dim=0)
    gram = images @ images.mT  # which has the eigenvalues of the covariance
    size = float(gram.trace() ** 2 / gram.square().sum().clamp(min=1e-12))
    low, high = _LATENT
    return min(max(round(size), low), high)


def held_out(sample: Sample, how: Settings, asked: bool = True) -> tuple[Tensor, str]:
    """A mask of the images that are held out, if they are asked for anything; and why there are
    none, if there are none."""
    none = torch.zeros(len(sample.labels), dtype=torch.bool)
    if how.validation == 0:
        return none, "none was asked for"
    if not asked:
        return none, "nothing is asked of them"
    generator = seeded(how.seed, "validation")
    try:
        held = hold_out(sample.labels, sample.groups, how.validation, generator)
    except ValueError:
        return none, "no choice of whole groups has every class on both sides"
    of_each = "image" if sample.groups is None else "group"
    return held, "" if held.any() else f"there is one {of_each} of each class"
