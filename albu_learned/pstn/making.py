"""The posterior of a PSTN as a warp, looking at images or averaged over some."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.artifact import About
from albu_learned.batch import Batch, as_floats
from albu_learned.pstn import given
from albu_learned.pstn.elbo import Posterior, divergence
from albu_learned.pstn.look import Look
from albu_learned.pstn.warp import PosteriorWarp

if TYPE_CHECKING:
    from albu_learned.pstn.model import PSTN

__all__ = ["posterior_warp"]

_UNKNOWN = "images that a PSTN was trained on; which, it was not told."
_CHUNK = 256  # images that are looked at at a time
_MOST = 256  # whose motion is measured
_POINTS = 8  # along a side, whose motion that is


@torch.no_grad()
def posterior_warp(
    model: PSTN,
    example: Tensor | Sequence[int] | None = None,
    marginal: Tensor | None = None,
    crop: int | None = None,
    mean: Any = None,
    std: Any = None,
    **how: Any,
) -> PosteriorWarp:
    """See `PSTN.as_warp`."""
    _check_trained(model)
    crop = _crop(crop, model.crops)
    if model.stn and marginal is None and how.get("scale", 1) != 1:
        raise ValueError(
            "`scale` must be left out for a deterministic transformer (stn=True), which has no "
            f"noise to be scaled, got {how['scale']!r}."
        )
    images = _images("marginal", marginal, model)
    if images is None and isinstance(example, Tensor):
        images = _images("example", example, model)
    shape = example if example is not None else images
    sizes = None if shape is None else given.example_shape(shape, model.family.ndim)
    channels, size = (None, None) if sizes is None else (sizes[1], sizes[2:])
    look = Look.of(model, crop, channels, size=size, mean=mean, std=std)
    found = None if images is None else _posterior(look, images)
    if found is not None:
        look.reach = float((found.mean.square() + found.deviation.square()).mean(0).max().sqrt())
    warp = _warp(model, crop, None if marginal is not None else look, found, how)
    warp.about = About(image_size=size, channels=look.channels, data=_UNKNOWN)
    if images is not None and found is not None:
        warp.about = _about(look, warp, images, found)
    return warp


def _warp(
    model: PSTN, crop: int, look: Look | None, found: Posterior | None, how: dict[str, Any]
) -> PosteriorWarp:
    look = None if look is None else look.cpu()
    warp = PosteriorWarp(copy.deepcopy(model.family).cpu(), look, **how)
    start, factor = model.start[crop].double().cpu(), model.factor.double().cpu()
    if look is None:
        assert found is not None
        start, factor = start + factor @ found.mean.mean(dim=0), factor @ _root(found)
    warp.start.copy_(start)
    warp.factor.copy_(factor)
    warp.measure()
    return warp.eval()


def _root(found: Posterior) -> Tensor:
    """The symmetric root of the covariance of all images together: E[var] + Cov[mean]."""
    apart = found.mean - found.mean.mean(dim=0)
    covariance = found.deviation.square().mean(dim=0).diag() + apart.mT @ apart / len(apart)
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.mT
    return root


def _posterior(look: Look, images: Tensor) -> Posterior:
    """Of all images, float64 on the CPU."""
    place = look.centre.device
    parts = [look(as_floats(part.to(place))) for part in torch.split(images, _CHUNK)]
    mean, deviation = (torch.cat(each).double().cpu() for each in zip(*parts, strict=True))
    return Posterior(mean, deviation)


def _about(look: Look, warp: PosteriorWarp, images: Tensor, found: Posterior) -> About:
    size = list(images.shape[2:])
    unit = "pixels" if len(size) == 2 else "steps"
    spread = found.deviation.mean(dim=0)
    figures = {
        "images": float(len(images)),
        "posterior deviation, least": float(spread.min()),
        "posterior deviation, most": float(spread.max()),
        "posterior mean, most": float(found.mean.square().mean(dim=0).max().sqrt()),
        **({} if look.stn else {"KL, nats": float(divergence(found).mean())}),
        "rms displacement": _moved(warp, images[:_MOST]),
    }
    data = f"{len(images)} images" if len(size) == 2 else f"{len(images)} series"
    data += f" of {' x '.join(map(str, size))} {unit}, at which a PSTN has looked."
    return About(image_size=size, channels=images.shape[1], data=data, figures=figures)


def _moved(warp: PosteriorWarp, images: Tensor) -> float:
    """How far points move, the root of the mean square, as a fraction of the side."""
    images = images.cpu()
    axis = (torch.arange(_POINTS) + 0.5) / _POINTS
    axes = torch.meshgrid(*[axis] * warp.family.ndim, indexing="ij")
    points = torch.stack(axes, dim=-1).view(1, -1, warp.family.ndim)
    plan = warp.planned(Batch(images=images), torch.Generator().manual_seed(0))
    way = warp.field(plan).points_back(points) - points
    return float(way.square().sum(dim=-1).mean().sqrt())


def _images(name: str, value: Any, model: PSTN) -> Tensor | None:
    """Images as methods see them, if they are."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise TypeError(
            f"`{name}` must be a tensor of images, got {type(value).__name__}. Stack some of the "
            "training images."
        )
    wanted = "images (B, C, H, W)" if model.family.ndim == 2 else "series (B, C, T)"
    known = value.is_floating_point() or value.dtype == torch.uint8
    if value.ndim != model.family.ndim + 2 or 0 in value.shape or not known:
        raise ValueError(
            f"`{name}` must be {wanted}, at least one, float in [0, 1] or uint8, got {value.dtype} "
            f"of the shape {tuple(value.shape)}."
        )
    if value.is_floating_point() and value.ndim == 4:
        low, high = float(value.min()), float(value.max())
        if low < 0 or high > 1:
            raise ValueError(
                f"`{name}` must be in [0, 1] as warps see images, or uint8, got {low:.3g} to "
                f"{high:.3g}. Give them without normalisation, and say by `mean` and `std` how the "
                "images were normalised that this PSTN was trained on."
            )
    return value.detach()


def _crop(crop: int | None, crops: int) -> int:
    if crop is None and crops > 1:
        raise ValueError(
            f"`crop` must say which of the {crops} crops shall be the warp, 0 to {crops - 1}, for "
            "each has motions of its own, got None."
        )
    crop = checks.integer("crop", 0 if crop is None else crop, 0)
    if crop >= crops:
        raise ValueError(f"`crop` must be in 0..{crops - 1}, the crops of this PSTN, got {crop}.")
    return crop


def _check_trained(model: PSTN) -> None:
    looking = [*model.localiser.parameters(), *model.heads.parameters()]
    if any(torch.nn.parameter.is_lazy(value) for value in looking):
        raise ValueError(
            "This PSTN must have seen images, got one whose layers have no sizes yet. Train it or "
            "load its weights; or give PSTN `example=`."
        )
