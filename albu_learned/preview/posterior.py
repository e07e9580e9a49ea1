"""Pictures of a PSTN: how it moves images, and how its posterior went while it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch
from albu_learned.methods.theta_warp.field import ThetaField
from albu_learned.preview.figures import COLOURS, INK, literal, name_rows, new_figure, tidy
from albu_learned.preview.warped import draw_row, grid_lines
from albu_learned.pstn import PSTN, Diagnosis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["posterior_plot", "posterior_samples"]

_ALONG = 17  # points of each side of a frame
_MOST = 12  # latents that have a curve of their own


@torch.no_grad()
def posterior_samples(
    model: PSTN,
    x: Tensor,
    versions: int = 3,
    title: str = "",
    generator: torch.Generator | None = None,
) -> Figure:
    """Images above their mean motion and some random ones, as the classifier sees them; series are
    drawn as lines. Of several crops, the originals show the frames of the mean ones.

    Args:
        model: a PSTN.
        x: a few images (B, 1 or 3, H, W) or series (B, C, T), as the model takes them: what is not
            in [0, 1] is drawn from its least to its largest value.
        versions: random motions of each.
        title: a line above the picture.
        generator: of the motions.
    """
    versions = checks.integer("versions", versions, 1)
    shown = _check(model, x)
    posterior = model.posterior(x)
    mean = model.start.to(posterior.mean) + posterior.mean @ model.factor.to(posterior.mean).mT
    thetas = torch.cat([mean[None], model.theta(x, versions, generator)])
    moved = model.move(shown, thetas)
    crops, pictures = model.crops, x.ndim == 4
    width = 1.35 if pictures else 1.8
    height = width * (min(2.0, max(0.5, x.shape[2] / x.shape[3])) if pictures else 0.7)
    down = 1 + crops * (1 + versions)
    figure = new_figure(width * len(x) + 0.6, (height + 0.05) * down + 0.3 + 0.35 * bool(title))
    table = figure.subplots(down, len(x), squeeze=False)
    lines = grid_lines(model.family.ndim, x)
    draw_row(table[0], Batch(images=shown), lines.expand(len(x), -1, -1, -1)[:, :0], None)
    if crops > 1 and pictures:
        _draw_frames(table[0], model, mean, x)
    names = ["original"]
    for crop in range(crops):
        for number, theta in enumerate(thetas[:, :, crop]):
            field = ThetaField(model.family, theta)
            points = field.points(lines.flatten(1, 2).expand(len(x), -1, -1))
            row = table[len(names)]
            draw_row(
                row,
                Batch(images=moved[number, :, crop]),
                points.view(len(x), *lines.shape[1:]),
                shown,
            )
            name = "random" if number else "mean"
            names.append(f"crop {crop + 1}, {name}" if crops > 1 else name)
    name_rows(figure, table[:, 0], names)
    if title:
        figure.suptitle(literal(title), fontsize=12, fontweight="bold")
    return figure


def posterior_plot(
    diagnoses: Sequence[Diagnosis], at: Sequence[float] | None = None, title: str = ""
) -> Figure:
    """How a posterior went over a training: the deviations of its latents, in that of the prior,
    how far means are from the prior's, and the KL.

    Args:
        diagnoses: one after each epoch, or so many steps, of `albu_learned.pstn.diagnose`.
        at: which epoch, or step, each is of; by default 1, 2, ...
        title: a line above the picture.
    """
    if not diagnoses or not all(isinstance(one, Diagnosis) for one in diagnoses):
        raise ValueError(
            "`diagnoses` must be at least one Diagnosis, got "
            f"{[type(one).__name__ for one in diagnoses][:3]}. Append diagnose(model, x) to a "
            "list after each epoch."
        )
    when = list(range(1, len(diagnoses) + 1) if at is None else at)
    if len(when) != len(diagnoses):
        raise ValueError(
            f"`at` must have {len(diagnoses)} values, as `diagnoses`, got {len(when)}."
        )
    figure = new_figure(9.6, 3.2 + 0.3 * bool(title))
    first, second, third = figure.subplots(1, 3)
    _draw_latents(first, when, [one.deviation for one in diagnoses])
    first.axhline(1, color="#9aa5b1", linewidth=1, linestyle=(0, (4, 3)))
    _draw_latents(second, when, [one.mean for one in diagnoses])
    kl = [float(one.kl.mean()) for one in diagnoses]
    third.plot(when, kl, color=INK, marker="o", markersize=3, linewidth=1.4)
    names = ("deviation / the prior's", "mean / the prior's deviation", "KL, nats an image")
    for axes, name in zip((first, second, third), names, strict=True):
        tidy(axes, "both")
        axes.set_ylim(bottom=0)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("training", fontsize=9)
    if title:
        figure.suptitle(literal(title), fontsize=12, fontweight="bold")
    return figure


def _draw_latents(axes: Axes, when: Sequence[float], values: Sequence[Tensor]) -> None:
    """A thin curve for each latent of each crop, if they are few; their range and mean else."""
    every = torch.stack([value.detach().float().cpu().flatten() for value in values])
    if every.shape[1] <= _MOST:
        for number, curve in enumerate(every.T.tolist()):
            axes.plot(when, curve, color=COLOURS[number % len(COLOURS)], linewidth=1)
    else:
        low, high = every.amin(dim=1).tolist(), every.amax(dim=1).tolist()
        axes.fill_between(when, low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
    mean = every.mean(dim=1).tolist()
    axes.plot(when, mean, color=INK, marker="o", markersize=3, linewidth=1.8)


def _draw_frames(row: Sequence[Axes], model: PSTN, mean: Tensor, x: Tensor) -> None:
    """Where in the original each crop looks."""
    side = torch.linspace(0, 1, _ALONG, device=x.device)
    zero, one = torch.zeros_like(side), torch.ones_like(side)
    ways = [(side, zero), (one, side), (side.flip(0), one), (zero, side.flip(0))]
    frame = torch.cat([torch.stack(way, dim=1) for way in ways])
    size = torch.tensor([x.shape[3], x.shape[2]])
    for crop in range(model.crops):
        theta = mean[:, crop]
        found = model.family.transform(theta, frame.to(theta).expand(len(x), -1, -1)).cpu()
        for axes, outline in zip(row, found, strict=True):
            across, down = (outline * size - 0.5).T.tolist()
            axes.plot(across, down, color=COLOURS[crop % len(COLOURS)], linewidth=1.6)


def _check(model: PSTN, x: Tensor) -> Tensor:
    """What is drawn of x."""
    if not isinstance(model, PSTN):
        raise TypeError(f"`model` must be a PSTN, got {type(model).__name__}.")
    if not isinstance(x, Tensor) or x.ndim != model.family.ndim + 2 or len(x) == 0:
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        wanted = "images (B, 1 or 3, H, W)" if model.family.ndim == 2 else "series (B, C, T)"
        raise ValueError(f"`x` must be {wanted}, which this model moves, got {got}.")
    if x.ndim == 4 and x.shape[1] not in (1, 3):
        raise ValueError(f"`x` must have 1 or 3 channels to be drawn, got {x.shape[1]}.")
    low, high = x.min(), x.max()
    if x.ndim == 3 or (low >= 0 and high <= 1):
        return x
    return (x - low) / (high - low).clamp(min=1e-12)
