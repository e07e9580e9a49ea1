"""What a PSTN has learned, in figures; and whether it has learned to be something simpler."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from albu_learned.pstn.elbo import divergence
from albu_learned.pstn.model import PSTN
from albu_learned.pstn.predict import evaluating

__all__ = ["Diagnosis", "diagnose"]

_POINTS = 8  # along a side, whose motion is measured
_LIKE_PRIOR = 0.1  # how near all deviations are to 1, and all means to 0
_NOISELESS = 0.05  # deviations below which nothing random is left


@dataclass(frozen=True)
class Diagnosis:
    """Figures of a PSTN on some images.

    Attributes:
        deviation: (crops, dim), of the posterior, in that of the prior; mean over the images.
        mean: (crops, dim), how far posterior means are from the prior's: root of the mean square.
        kl: (B,), of each image, in nats.
        moved: how far points are moved, the root of the mean square, as a fraction of the side.
        warning: what is wrong, and what to do; None if nothing is.
        measures: where labels were given, how good its predictions are: "accuracy", "macro_f1",
            "nll" and "ece".
    """

    deviation: Tensor
    mean: Tensor
    kl: Tensor
    moved: float
    warning: str | None
    measures: dict[str, float] | None = None

    def __str__(self) -> str:
        low, high = float(self.deviation.min()), float(self.deviation.max())
        return (
            f"posterior deviation {low:.3g} to {high:.3g} of the prior's, KL {self.kl.mean():.3g} "
            f"nats an image, points moved by {100 * self.moved:.2g} % of the side"
        )


@torch.no_grad()
def diagnose(
    model: PSTN,
    x: Tensor,
    generator: torch.Generator | None = None,
    y: Tensor | None = None,
    warn: bool = True,
) -> Diagnosis:
    """Looks at what a PSTN does to images (B, C, H, W) or series (B, C, T). Warns if it has become
    a fixed random augmentation, or a deterministic transformer.

    Args:
        model: after some training.
        x: at least some dozens of rows.
        generator: of the motions, whose size is measured: one for each image and crop; and of those
            of the predictions.
        y: (B,) class numbers, to measure predictions too. Needs torchmetrics, from the extra `cli`.
        warn: False to be told by the Diagnosis alone: to append one to a list after each epoch,
            which `albu_learned.preview.posterior_plot` draws.
    """
    if not isinstance(model, PSTN):
        raise TypeError(f"`model` must be a PSTN, got {type(model).__name__}.")
    with evaluating(model):  # as when it predicts
        posterior = model.posterior(x)
        theta = model.theta(x, generator=generator).flatten(0, 2)
    deviation = posterior.deviation.mean(dim=0)
    mean = posterior.mean.square().mean(dim=0).sqrt()
    kl = posterior.mean.new_zeros(len(x)) if model.stn else divergence(posterior)
    warning = None if model.stn else _warning(deviation, mean)
    if warning is not None and warn:
        warnings.warn(warning, stacklevel=3)
    found = None if y is None else _measured(model, x, y, generator)
    return Diagnosis(deviation, mean, kl, _moved(model, theta), warning, found)


def _measured(
    model: PSTN, x: Tensor, y: Tensor, generator: torch.Generator | None
) -> dict[str, float]:
    try:
        from albu_learned.measures import measures

        # Where a probability is too small for 32 bits it is not nothing.
        probabilities = model.predict(x, generator=generator).clamp(
            min=torch.finfo(torch.float32).tiny
        )
        return measures(probabilities.log().cpu(), y.cpu())
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'To measure predictions torchmetrics is needed: pip install "albu_learned[cli]". '
            "Without `y` the posterior alone is looked at.",
            name=error.name,
        ) from error


def _warning(deviation: Tensor, mean: Tensor) -> str | None:
    if float((deviation - 1).abs().max()) < _LIKE_PRIOR and float(mean.max()) < _LIKE_PRIOR:
        return (
            "The posterior of this PSTN is its prior: images are moved at random, whatever they "
            "show, as by a fixed augmentation. If that is not what you want, train for longer, "
            "lower `kl_weight`, or choose `prior_std` by validation."
        )
    if float(deviation.max()) < _NOISELESS:
        return (
            "The posterior of this PSTN has hardly any spread: it has become a deterministic "
            "transformer, and predictions are no longer averaged over motions. Raise `kl_weight` "
            "to 1, or lower `prior_std`, against which the classifier has worked."
        )
    return None


def _moved(model: PSTN, theta: Tensor) -> float:
    axis = (torch.arange(_POINTS, device=theta.device, dtype=theta.dtype) + 0.5) / _POINTS
    axes = torch.meshgrid(*[axis] * model.family.ndim, indexing="ij")
    points = torch.stack(axes, dim=-1).view(1, -1, model.family.ndim)
    way = model.family.transform(theta, points) - points
    return float(way.square().sum(dim=-1).mean().sqrt())
