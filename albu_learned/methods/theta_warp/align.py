"""Aligning pairs of images: the theta that carries one onto the other, for many pairs at once.

For a pair, minimises

    e/2 * mean((warped source - target)^2) / s^2  +  z'z / 2,      theta = prior_std * L z,

over z: the most probable motion under the family's smooth prior. Without the prior the residual
looks splendid and the motions are poison to labels. Two numbers say how much the pixels weigh
against it, and both are estimated: s^2, the mean square of what remains after alignment, over all
pairs; and e, how many independent pixels there are, for neighbours err alike: (sum P)^2 / sum P^2
over the power spectrum P of the remainders. That is some tens for blurred images of 28 x 28; to
count every pixel would weaken the prior twentyfold.

Images are standardised first: photographs of a class differ in brightness and contrast more than in
shape, and all of that would pass for noise, in which nothing is worth moving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned import checks, resample
from albu_learned.batch import as_floats
from albu_learned.families import Family
from albu_learned.fitting import isolated
from albu_learned.methods.theta_warp.family import family_for, refuse_grey
from albu_learned.methods.theta_warp.field import ThetaField

__all__ = [
    "PRIOR_STD",
    "SHARPEST",
    "AlignReport",
    "align",
    "blurred",
    "prepared",
    "reduced",
    "warped",
    "weight_of",
]

# How far points are expected to move. Half of it left the fit too timid, on Fashion-MNIST the most;
# half as much again made it reckless there.
PRIOR_STD = 0.1
LARGEST = 64  # pixels along a side: larger images are aligned in this size
SHARPEST = 1 / 28  # blur of the last level, in sides of the image
LEVELS = ((1 / 14, 15), (SHARPEST, 25))  # blur, and iterations with it
RATE = 0.2  # of Adam, for z, whose entries are about 1
FAINT = 0.01  # contrast below this is taken for noise, not blown up
FOLDED = 0.05  # a pair one twentieth of which shrinks below this, or grows as much, is dropped
_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, eq=False)
class AlignReport:
    """How well pairs were aligned; one row a pair.

    Args:
        before: (N,), the mean square of the difference as it was, of standardised and lightly
            blurred images.
        after: (N,), the same after alignment.
        kept: (N,), false where alignment did not help, folded, or was not finite.
        jacobian: (N, 3), the 5 %, 50 % and 95 % quantiles of how much areas of the source grow.
        sigma: (N,), the root of s^2, as it was estimated with these pairs.
    """

    before: Tensor
    after: Tensor
    kept: Tensor
    jacobian: Tensor
    sigma: Tensor

    @classmethod
    def join(cls, parts: Sequence[AlignReport]) -> AlignReport:
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def figures(self) -> dict[str, float]:
        """The report in a few numbers, of the pairs that were kept."""
        kept = self.kept
        if not kept.any():
            return {"pairs": float(len(kept)), "pairs dropped": float(len(kept))}
        low, middle, high = self.jacobian[kept].mean(dim=0).tolist()
        return {
            "pairs": float(len(kept)),
            "pairs dropped": float((~kept).sum()),
            "residual left": float(self.after[kept].sum() / self.before[kept].sum()),
            "area, 5 %": low,
            "area, 50 %": middle,
            "area, 95 %": high,
        }


@isolated()
def align(
    sources: Tensor,
    targets: Tensor,
    family: Family | None = None,
    *,
    prior_std: float = PRIOR_STD,
    iterations: float = 1.0,
    chunk: int = 256,
    progress: Callable[[int], object] | None = None,
) -> tuple[Tensor, AlignReport]:
    """The motions that carry sources onto targets, and how well they do.

    Args:
        sources: (N, C, H, W) images or (N, C, T) series, float in [0, 1] or uint8.
        targets: likewise, one for each source.
        family: which motions; by default `AffineCPAB((4, 4))`, for series `AffineCPAB(10)`.
        prior_std: how far points are expected to move, in sides of the image.
        iterations: multiplies the number of iterations.
        chunk: pairs aligned at once. They share their estimate of the noise.
        progress: is told the number of pairs done, after every chunk.

    Returns:
        theta (N, dim), with which `family.transform` samples the source to look like the target,
        and the report.
    """
    _check(sources, targets, family)
    family = family_for(family, sources.shape[1:])
    chunk = checks.integer("chunk", chunk, 1)
    found, reports = [], []
    for start in range(0, len(sources), chunk):
        part = slice(start, start + chunk)
        theta, report = _align(
            prepared(sources[part]), prepared(targets[part]), family, prior_std, iterations
        )
        found.append(theta)
        reports.append(report)
        if progress is not None:
            progress(len(theta))
    return torch.cat(found), AlignReport.join(reports)


def _align(
    sources: Tensor, targets: Tensor, family: Family, prior_std: float, iterations: float
) -> tuple[Tensor, AlignReport]:
    root = prior_std * family.smooth.to(sources)
    z = sources.new_zeros(len(sources), family.dim)
    for width, count in LEVELS:
        pair = blurred(sources, width), blurred(targets, width)
        z = _descend(*pair, family, root, z, max(1, round(count * iterations)))
    before = _mean_square(pair[0] - pair[1])
    with torch.no_grad():
        theta = z @ root.mT
        left = warped(pair[0], family, theta) - pair[1]
        after = _mean_square(left)
        jacobian = _areas(family, theta, sources)
        sigma = _noise(left)[0].expand(len(z))
    sound = (jacobian[:, 0] > FOLDED) & (jacobian[:, 2] < 1 / FOLDED)
    kept = (after < before) & after.isfinite() & sound
    return theta, AlignReport(before, after, kept, jacobian, sigma.sqrt())


def _descend(
    sources: Tensor, targets: Tensor, family: Family, root: Tensor, start: Tensor, count: int
) -> Tensor:
    """The best iterate of every pair."""
    z = start.clone().requires_grad_()
    best, least = start.clone(), start.new_full((len(start),), torch.inf)
    optimiser = torch.optim.Adam([z], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, count, eta_min=RATE / 10)
    with torch.no_grad():
        weight = weight_of(warped(sources, family, z @ root.mT) - targets)
    for step in range(count + 1):
        left = warped(sources, family, z @ root.mT) - targets
        if 0 < step < count and step % 5 == 0:  # the remainders are those of better motions now
            weight = weight_of(left.detach())
            least.fill_(torch.inf)
        energy = weight * _mean_square(left) + z.square().sum(dim=1) / 2
        better = energy.detach() < least
        least = torch.where(better, energy.detach(), least)
        best = torch.where(better[:, None], z.detach(), best)
        if step < count:
            (z.grad,) = torch.autograd.grad(energy.sum(), z)
            z.grad.nan_to_num_()
            optimiser.step()
            schedule.step()
    return best


def weight_of(left: Tensor) -> Tensor:
    """e / 2 s^2."""
    noise, independent = _noise(left)
    return independent / (2 * noise)


def _noise(left: Tensor) -> tuple[Tensor, Tensor]:
    """The mean square of remainders over all pairs, and how many independent pixels they have."""
    axes = tuple(range(2, left.ndim))
    power = torch.fft.fftn(left.float(), dim=axes).abs().square().mean(dim=(0, 1))
    independent = power.sum() ** 2 / power.square().sum().clamp(min=1e-30)
    # A floor: pairs that are the same to the last bit say nothing about noise.
    noise = left.square().mean().clamp(min=1e-6)
    return noise, independent.to(noise)


def warped(images: Tensor, family: Family, theta: Tensor) -> Tensor:
    moved = resample.images(images, ThetaField(family, theta), "border")
    assert moved is not None
    return moved


def _mean_square(left: Tensor) -> Tensor:
    return left.flatten(1).square().mean(dim=1)


def _areas(family: Family, theta: Tensor, like: Tensor) -> Tensor:
    """(N, 3): quantiles of the Jacobian determinant over the image."""
    side = 12 if family.ndim == 2 else 64
    centres = resample.pixel_centres([side] * family.ndim, like).view(1, -1, family.ndim)
    # A picture is sampled at where its pixels go: its parts grow as the motion shrinks.
    areas = (-family.log_jacobian(theta, centres, tolerance=1e-3)).exp()
    return areas.quantile(torch.tensor(_QUANTILES).to(areas), dim=1).mT


def prepared(images: Tensor) -> Tensor:
    images = as_floats(images)
    images = images if images.dtype == torch.float64 else images.float()
    return _standardised(reduced(images) if images.ndim == 4 else images)


def _standardised(images: Tensor) -> Tensor:
    """With a mean of 0 in every channel, and a deviation of 1."""
    flat = images.flatten(2)
    flat = flat - flat.mean(dim=2, keepdim=True)
    deviation = flat.square().mean(dim=(1, 2), keepdim=True).sqrt()
    return (flat / deviation.clamp(min=FAINT)).view_as(images)


def reduced(images: Tensor) -> Tensor:
    """Images no larger than they are aligned."""
    longest = max(images.shape[2:])
    if longest <= LARGEST:
        return images
    size = [max(1, round(LARGEST / longest * pixels)) for pixels in images.shape[2:]]
    return F.interpolate(images, size, mode="area")


def blurred(images: Tensor, width: float) -> Tensor:
    """Blurred by a Gaussian whose deviation is a share of the side."""
    for dim in range(2, images.ndim):
        pixels = images.shape[dim]
        place = torch.arange(pixels, dtype=images.dtype, device=images.device)
        weights = torch.exp(-0.5 * ((place[:, None] - place) / max(width * pixels, 0.3)) ** 2)
        weights = weights / weights.sum(dim=1, keepdim=True)
        images = torch.tensordot(images, weights, dims=([dim], [1])).movedim(-1, dim)
    return images


def _check(sources: Tensor, targets: Tensor, family: Family | None) -> None:
    if sources.ndim not in (3, 4):
        raise ValueError(
            "`sources` must be (N, C, H, W) images, or (N, C, T) series, got "
            f"{tuple(sources.shape)}."
        )
    refuse_grey("sources", sources.shape, family)
    if sources.shape != targets.shape or not len(sources):
        raise ValueError(
            "`sources` and `targets` must be pairs, of the same shape and at least one, got "
            f"{tuple(sources.shape)} and {tuple(targets.shape)}."
        )
    for name, images in (("sources", sources), ("targets", targets)):
        checks.require(torch.isfinite(as_floats(images)).all(), f"`{name}` must be finite.")
