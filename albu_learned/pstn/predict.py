"""What a PSTN says of images: the noise of their motions, the logits of images that are moved so,
and the mean of these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from albu_learned.pstn import given
from albu_learned.pstn.elbo import Posterior, log_mean_exp
from albu_learned.pstn.motion import theta_of

if TYPE_CHECKING:
    from albu_learned.pstn.model import PSTN

__all__ = ["drawn", "evaluating", "logits", "predicted", "still"]


def drawn(model: PSTN, samples: int, x: Tensor, generator: Any = None) -> Tensor:
    """(S, B, crops, dim) standard normal noise; without any, one sample says all."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"`generator` must be a torch.Generator, got {type(generator).__name__}. "
            "Write torch.Generator().manual_seed(0)."
        )
    if model.stn:
        return still(model)
    device = x.device if generator is None else generator.device
    shape = (samples, len(x), model.crops, model.family.dim)
    return torch.randn(shape, generator=generator, device=device).to(x.device)


def still(model: PSTN) -> Tensor:
    """(1, 1, crops, dim): no noise."""
    return torch.zeros_like(model.noise[:1])


def logits(model: PSTN, x: Tensor, posterior: Posterior, noise: Tensor) -> Tensor:
    """(S, B, K): of all samples at once, for batch statistics and speed."""
    seen = model.move(x, theta_of(model, posterior, noise))
    seen = seen.flatten(0, 1).flatten(1, 2)  # (S * B, crops * C, ...)
    scores = given.class_scores(model.classifier(seen), len(seen))
    return scores.view(-1, len(x), scores.shape[1])


def predicted(model: PSTN, x: Tensor, noise: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """(B, K) log-probabilities and the deviation of probabilities, so many images at a time."""
    given.rows(x, model.family.ndim)
    step = max(1, chunk // len(noise))
    found = []
    for first in range(0, len(x), step):
        rows = slice(first, first + step)
        posterior = model.posterior(x[rows])
        own = noise if noise.shape[1] == 1 else noise[:, rows]
        parts = [logits(model, x[rows], posterior, part) for part in torch.split(own, chunk)]
        scores = torch.cat(parts).log_softmax(dim=-1)
        found.append((log_mean_exp(scores), scores.exp().std(dim=0, correction=0)))
    scores, spread = map(torch.cat, zip(*found, strict=True))
    return scores, spread


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode, and afterwards as it was: some may have been before."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
