"""The steps that samplers share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from albu_learned.methods.psld.problem import Draw, Model, Problem

__all__ = ["Progress", "ahead", "begin", "clean", "noise_in", "renoised"]

Progress = Callable[[int, int], object] | None  # told how many of how many steps are done


def begin(model: Model, problem: Problem, draw: Draw, share: Tensor, strength: float) -> Tensor:
    """Noise; or, where a sampling begins below the top, the image's own latents in noise."""
    latents = model.encode(problem.original)
    return draw(latents) if strength >= 1 else renoised(latents, share, draw(latents))


def clean(latents: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """E[z0 | z_t], Tweedie's formula, from the noise that the model sees."""
    return (latents - (1 - share).sqrt().to(latents) * noise) / share.sqrt().to(latents)


def noise_in(latents: Tensor, cleaned: Tensor, share: Tensor) -> Tensor:
    """The noise that is left of latents when these are what is clean in them."""
    return (latents - share.sqrt().to(latents) * cleaned) / (1 - share).sqrt().to(latents)


def renoised(cleaned: Tensor, share: Tensor, noise: Tensor) -> Tensor:
    """Latents of a noise level, from what is clean in them and their noise."""
    return share.sqrt().to(cleaned) * cleaned + (1 - share).sqrt().to(cleaned) * noise


def ahead(
    cleaned: Tensor, noise: Tensor, before: Tensor, after: Tensor, eta: float, draw: Draw
) -> Tensor:
    """The next latents by DDIM: eta 0 adds no noise, eta 1 as much as DDPM."""
    fresh = eta * ((1 - after) / (1 - before) * (1 - before / after)).sqrt()
    kept = (1 - after - fresh.square()).clamp(min=0).sqrt()
    latents = after.sqrt().to(cleaned) * cleaned + kept.to(cleaned) * noise
    return latents + fresh.to(cleaned) * draw(cleaned) if eta else latents
