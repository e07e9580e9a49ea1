"""To the nearest latents that agree with what is known, by gradients through a decoder."""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned.methods.psld.problem import Model, Problem, level, squares

__all__ = ["Agreement"]

_TINY = 1e-30
_WORSE = 1.5  # times the least misfit seen: above this a row goes back


class Agreement:
    """Moves latents until what they decode to agrees with what is known.

    With r = y - A D(z) and J the derivative of A D, a step goes along

        p <- J' r + (||J' r||^2 / that of the step before) p

    to where r is least on this line. For a linear decoder these are conjugate gradients (CGLS),
    which end at the agreeing latents nearest to where they began: for Gaussian latents around z0
    that is a draw given y, if z0 was a draw. How r changes along the line is seen from one more
    image decoded on it, at a length that would do if p were straight down; so nothing needs to be
    set, and nothing depends on the scale of anything. Where a decoder is so far from linear that it
    gets worse, a row goes back to the best it had and straight down, a quarter as far.

    A row stops at what the autoencoder itself leaves of ||r||^2 at the image's own latents, or at a
    share of that: there are latents that show an image better than those the encoder finds. Every
    row goes its own way.

    Args:
        model: whose decoder is meant.
        problem: what is known.
    """

    def __init__(self, model: Model, problem: Problem) -> None:
        self.model, self.problem = model, problem
        self.measurement = problem.measurement
        with torch.no_grad():
            self.floor = squares(self._away(model.encode(problem.original)))

    def towards(self, latents: Tensor, steps: int, share: float = 1.0) -> Tensor:
        """The latents after so many steps, or fewer if all rows agree before.

        Args:
            latents: (B, ...).
            steps: passes through the decoder and back, with one more forwards.
            share: of what the autoencoder leaves, where a row stops.
        """
        floor = share * self.floor
        here = best = latents.detach()
        path = straight = torch.zeros_like(here)
        held = torch.zeros_like(self.measurement)
        least = torch.full_like(self.floor, torch.inf)
        slope, stride = least, torch.ones_like(least)
        for _ in range(steps):
            away, down = self._look(here)
            misfit = squares(away)
            better, back = misfit < least, misfit > _WORSE * least
            best, held = _where(better, here, best), _where(better, away, held)
            straight, least = _where(better, down, straight), torch.where(better, misfit, least)
            if (least <= floor).all():
                break
            here, away = _where(back, best, here), _where(back, held, away)
            down = _where(back, straight, down)
            turn = torch.where(back, 0.0, squares(down) / slope.clamp(min=_TINY))
            slope, path = squares(down), down + level(turn, path) * path
            stride = torch.where(back, stride / 4, stride)
            length = stride * self._length(here, path, away)
            length = torch.where(least > floor, length, 0.0)
            here = here + level(length, path) * path
        return here

    def _length(self, here: Tensor, path: Tensor, away: Tensor) -> Tensor:
        """How far along the path the misfit is least, were it a parabola."""
        trial = squares(away) / squares(path).clamp(min=_TINY)
        with torch.no_grad():
            change = self._away(here + level(trial, path) * path) - away
        fall = -(change * away).flatten(1).sum(dim=1)
        return trial * (fall / squares(change).clamp(min=_TINY)).clamp(0, 4)

    def _away(self, latents: Tensor) -> Tensor:
        return self.problem.operator(self.model.decode(latents)) - self.measurement

    def _look(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """A D(z) - y, and the way down."""
        with torch.enable_grad():
            given = latents.detach().requires_grad_()
            away = self._away(given)
            (gradient,) = torch.autograd.grad(0.5 * squares(away).sum(), given)
        return away.detach(), -gradient


def _where(rows: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.where(level(rows, first), first, second)
