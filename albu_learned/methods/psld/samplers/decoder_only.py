"""Posterior sampling with gradients through the decoder alone, in the manner of FlowDPS (Kim et
al., 2025) and of decoupled annealing (Zhang et al., DAPS, 2025).

Each step makes one clean image that agrees with what is known, and adds all of its noise anew:

    1. z0 = E[z0 | z_t], by the network, without a gradient
    2. z0 <- z0 + r n, a draw from p(z0 | z_t) instead of its mean; r^2 is the variance that this
       has where latents have unit variance: 1 - a_t, with a_t the share of signal
    3. z0 <- the nearest latents that agree with y, by a few steps down || A' (y - A D(z0)) ||^2;
       for a linear decoder this makes of 2. an exact draw from p(z0 | z_t, y)
    4. z_s = sqrt(a_s) z0 + sqrt(1 - a_s) n', with noise n' that is new

Both noises matter. With the mean alone and fresh noise (DDNM at full eta) what is drawn varies too
little. With the noise that the network saw (DDIM, DDPM) each noise level says of what is unknown
only what that of the known parts said, which is as wrong at 1,000 steps as at 20: blending of
latents and replacement are of that kind. Here a step is one of Gibbs sampling between z0 and z_t,
so that more steps come nearer to the posterior, whatever couples what is known to what is not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned.methods.psld.problem import Draw, Model, Problem, levels
from albu_learned.methods.psld.samplers.agree import Agreement
from albu_learned.methods.psld.samplers.steps import Progress, begin, clean, renoised

__all__ = ["decoder_only"]


def decoder_only(
    model: Model,
    problem: Problem,
    draw: Draw,
    steps: int = 50,
    *,
    strength: float = 1.0,
    guidance: int = 1,
    polish: int = 20,
    beyond: float = 0.9,
    progress: Progress = None,
) -> Tensor:
    """(B, ...) latents, drawn given what is known.

    Args:
        model: the prior.
        problem: what is known.
        draw: where noise comes from.
        steps: noise levels; one pass through the network each.
        strength: below 1 it begins with the image itself, in the noise of that share of the times.
        guidance: passes through the decoder and back at each level. One is enough where a pixel
            depends on the latents near it, as it does in autoencoders of images.
        polish: as many at the end.
        beyond: what the end shall leave, as a share of what the autoencoder itself leaves of the
            image; below 1 what is kept is shown better than its own latents show it.
        progress: told how many of how many steps are done.
    """
    agreement = Agreement(model, problem)
    walk = levels(model.alphas, steps, strength)
    latents = begin(model, problem, draw, walk[0][1], strength)
    for number, (time, before, after) in enumerate(walk):
        with torch.no_grad():
            cleaned = clean(latents, model.noise(latents, time), before)
        if after < 1:
            spread = (1 - before).sqrt().to(cleaned)
            cleaned = agreement.towards(cleaned + spread * draw(cleaned), guidance)
            latents = renoised(cleaned, after, draw(cleaned))
        if progress is not None:
            progress(number + 1, steps)
    return agreement.towards(cleaned, polish, beyond)
