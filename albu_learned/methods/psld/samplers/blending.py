"""Blended latents (Avrahami et al., 2023): the baseline.

At every noise level the latent cells that are known are put back, in fresh noise; the network does
the rest. It needs no gradient and one pass through the network a step. But what is known enters
through its noise alone: what is drawn does not follow from it as it should, however many the steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned.methods.psld.problem import Draw, Model, Problem, cells_kept, levels
from albu_learned.methods.psld.samplers.steps import Progress, ahead, begin, clean, renoised

__all__ = ["blending"]


@torch.no_grad()
def blending(
    model: Model,
    problem: Problem,
    draw: Draw,
    steps: int = 50,
    *,
    strength: float = 1.0,
    eta: float = 0.0,
    progress: Progress = None,
) -> Tensor:
    """(B, ...) latents whose kept cells are those of the image.

    Args:
        model: the prior.
        problem: what is known; its operator is a `Mask`.
        draw: where noise comes from.
        steps: noise levels; one pass through the network each.
        strength: below 1 it begins with the image itself, in the noise of that share of the times.
        eta: 0 for DDIM, 1 for DDPM.
        progress: told how many of how many steps are done.
    """
    original = model.encode(problem.original)
    kept = cells_kept(problem.operator, original)
    walk = levels(model.alphas, steps, strength)
    latents = begin(model, problem, draw, walk[0][1], strength)
    for number, (time, before, after) in enumerate(walk):
        latents = torch.lerp(latents, renoised(original, before, draw(original)), kept)
        noise = model.noise(latents, time)
        latents = ahead(clean(latents, noise, before), noise, before, after, eta, draw)
        if progress is not None:
            progress(number + 1, steps)
    return torch.lerp(latents, original, kept)
