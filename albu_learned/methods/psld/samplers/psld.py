"""Posterior sampling with latent diffusion (Rout et al., 2023), as in the paper, errors mended.

Each step is one of DDIM, then one down a loss of what the network takes for the clean latents z0:

    r1 = || A D(z0) - y ||^2                          the image agrees with what is known
    r2 = || E(A' y + D(z0) - A' A D(z0)) - z0 ||^2    encoding the image with what is known put in
                                                      gives the same latents again
    z_s <- DDIM(z_t) - step * d(omega r1 + gamma r2) / d z_t

The gradient goes through the network, the decoder and the encoder, which makes a step dear. What
the published code does otherwise (`published=True` does it so, for comparison): norms are not
squared and are taken over the whole batch, so that every image takes steps of one length, which end
in a cycle around the answer; fresh noise is added to the prediction at each step; A' is taken for
the identity; the encoder's output is a draw; the step is 1. Here norms are squared and of each row.
The step is the share of the way to agreement that a step of DDIM owes to y,

    sqrt(a_t a_s) - a_t sqrt((1 - a_s) / (1 - a_t)),    with a the shares of signal,

where latents have unit variance and the decoder is an isometry; the way's length is that at which
|| A D(z0) - y ||, were it linear, would reach what the autoencoder itself leaves of it. So steps
are short in noise, the last goes all the way, and no scale needs to be set.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from albu_learned.methods.psld.problem import Draw, Model, Problem, level, levels, squares
from albu_learned.methods.psld.samplers.steps import Progress, ahead, begin, clean

__all__ = ["Loss", "psld", "psld_step", "published_loss", "squared_loss"]

Loss = Callable[[Tensor], Tensor]  # of clean latents: (B,), or one number for the whole batch
NOISE = 0.05  # which the published code adds to the prediction


@torch.no_grad()
def psld(
    model: Model,
    problem: Problem,
    draw: Draw,
    steps: int = 200,
    *,
    strength: float = 1.0,
    omega: float = 1.0,
    gamma: float = 0.2,
    pace: float = 1.0,
    eta: float = 0.0,
    published: bool = False,
    progress: Progress = None,
) -> Tensor:
    """(B, ...) latents, drawn given what is known.

    Args:
        model: the prior.
        problem: what is known.
        draw: where noise comes from.
        steps: noise levels.
        strength: below 1 it begins with the image itself, in the noise of that share of the times.
        omega: weight of the first loss.
        gamma: weight of the second loss; 0 spares the encoder.
        pace: multiplies the steps.
        eta: 0 for DDIM, 1 for DDPM.
        published: do as the published code does.
        progress: told how many of how many steps are done.
    """
    make = published_loss if published else squared_loss
    loss = make(model, problem, draw, omega, gamma)
    floor = None if published else loss(model.encode(problem.original))
    walk = levels(model.alphas, steps, strength)
    latents = begin(model, problem, draw, walk[0][1], strength)
    for number, (time, before, after) in enumerate(walk):
        latents = psld_step(model, latents, time, before, after, draw, loss, floor, pace, eta)
        if progress is not None:
            progress(number + 1, steps)
    return latents


def psld_step(
    model: Model,
    latents: Tensor,
    time: int,
    before: Tensor,
    after: Tensor,
    draw: Draw,
    loss: Loss,
    floor: Tensor | None,
    pace: float = 1.0,
    eta: float = 0.0,
) -> Tensor:
    """One step; with a floor (B,) under the loss of each row as far as it says, else of length 1.

    Args:
        model: the prior.
        latents: (B, ...).
        time: of their noise level.
        before: its share of signal.
        after: that of the next level.
        draw: where noise comes from.
        loss: of the clean latents.
        floor: of each row's loss.
        pace: see `psld`.
        eta: see `psld`.
    """
    with torch.enable_grad():
        given = latents.detach().requires_grad_()
        noise = model.noise(given, time)
        cleaned = clean(given, noise, before)
        value = loss(cleaned)
        (gradient,) = torch.autograd.grad(value.sum(), given)
    moved = ahead(cleaned.detach(), noise.detach(), before, after, eta, draw)
    if floor is None:
        return moved - gradient
    share = (before * after).sqrt() - before * ((1 - after) / (1 - before)).sqrt()
    length = 2 * (value.detach() - floor).clamp(min=0) / squares(gradient).clamp(min=1e-30)
    length = pace * share.to(length) * length
    nearer: Tensor = moved - level(length, gradient) * gradient
    return nearer


def squared_loss(model: Model, problem: Problem, draw: Draw, omega: float, gamma: float) -> Loss:
    """omega r1 + gamma r2 of each row, see above."""
    operator, measurement = problem.operator, problem.measurement
    known = operator.adjoint(measurement)

    def loss(cleaned: Tensor) -> Tensor:
        image = model.decode(cleaned)
        seen = operator(image)
        value = omega * squares(seen - measurement)
        if gamma:
            glued = known + image - operator.adjoint(seen)
            value = value + gamma * squares(model.encode(glued) - cleaned)
        return value

    return loss


def published_loss(model: Model, problem: Problem, draw: Draw, omega: float, gamma: float) -> Loss:
    """What the published code takes for it: one number for the whole batch. Its pixels run from -1
    to 1."""
    operator = problem.operator
    measurement = operator(2 * problem.original - 1)
    measurement = measurement + NOISE * draw(measurement)

    def loss(cleaned: Tensor) -> Tensor:
        image = 2 * model.decode(cleaned) - 1
        seen = operator(image)
        first = torch.linalg.norm(NOISE * draw(seen) + seen - measurement)
        glued = measurement + image - seen
        second = torch.linalg.norm(model.encode((glued + 1) / 2, draw) - cleaned)
        total: Tensor = omega * first + gamma * second
        return total

    return loss
