"""Fits a latent diffusion model to images of one's own: an autoencoder, then the network that sees
noise in its latents; then measures how true what is decoded is, and whether samples are copies."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.artifact import About
from albu_learned.fitting import Checkpoint, Progress, device_of, opened, seeded, told, versions
from albu_learned.methods.psld import folder as folders
from albu_learned.methods.psld import networks
from albu_learned.methods.psld.copies import nearest
from albu_learned.methods.psld.crops import Images, pictures
from albu_learned.methods.psld.identity import identity
from albu_learned.methods.psld.losses import Denoising, Look, Reconstruction
from albu_learned.methods.psld.training import Schedule, train
from albu_learned.methods.psld.words import copied

if TYPE_CHECKING:
    from albu_learned.methods.psld.diffusion import LatentDiffusion

__all__ = ["Settings", "fitted"]

_SIZE = 128
_STEPS, _RATES = (4000, 8000), (1e-3, 5e-4)  # of the autoencoder and of the network; of new ones
_FINE_STEPS, _FINE_RATES = (0, 4000), (5e-5, 5e-5)  # of given ones
_LOOKED, _MADE = 64, 32  # crops and samples that are measured
_AT_ONCE = 16  # of these
_MEASURED = 256  # crops that tell how latents are spread
_SAMPLING = 50  # steps of a sample that is measured
Make = Callable[..., "LatentDiffusion"]


@dataclass(frozen=True)
class Settings:
    """How to fit; see `LatentDiffusion.fit`."""

    size: int | None = None
    flip: bool = False
    background: bool = False
    width: int = 32
    cell: int = 4
    latent: int = 4
    prediction: str = "v_prediction"
    steps: int | None = None
    autoencoder_steps: int | None = None
    batch: int = 16
    learning_rate: float | None = None
    decay: float = 0.999
    validation: float = 0.1
    most: int | None = 2000
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        checks.one_of("prediction", self.prediction, ("epsilon", "v_prediction"))
        checks.one_of("precision", self.precision, ("float32", "bfloat16"))
        for name, least in (("latent", 1), ("batch", 1), ("seed", 0), ("width", 4), ("cell", 2)):
            checks.integer(name, getattr(self, name), least)
        if self.width % 4:
            raise ValueError(f"`width` must be a multiple of 4, got {self.width}.")
        if self.cell not in networks.CELLS:
            raise ValueError(f"`cell` must be one of {networks.CELLS}, got {self.cell}.")
        for name, least in (("size", 8), ("steps", 1), ("autoencoder_steps", 0), ("most", 4)):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), least)
        if self.learning_rate is not None:
            checks.between("learning_rate", self.learning_rate, "(0, 1]")
        checks.between("decay", self.decay, "[0, 1)")
        checks.between("validation", self.validation, "(0, 1)")
        for name in ("flip", "background"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"`{name}` must be True or False, got {getattr(self, name)!r}.")

    def schedules(self, fresh: bool) -> tuple[Schedule, Schedule]:
        """Of the autoencoder, and of the network."""
        first, second = _STEPS if fresh else _FINE_STEPS
        rates = _RATES if fresh else _FINE_RATES
        first = first if self.autoencoder_steps is None else self.autoencoder_steps
        second = second if self.steps is None else self.steps
        return self._schedule(first, rates[0]), self._schedule(second, rates[1])

    def _schedule(self, steps: int, rate: float) -> Schedule:
        rate = self.learning_rate or rate
        return Schedule(steps, rate, self.decay, self.precision, self.seed)


def fitted(
    make: Make,
    given: Any,
    how: Settings,
    start: LatentDiffusion | None,
    folder: Path | None,
    device: torch.device | str | None,
    progress: Progress,
) -> LatentDiffusion:
    """The fitted model, on the CPU; and, with a folder, in it.

    Args:
        make: makes the model from its parts.
        given: the images.
        how: the settings.
        start: a model to begin with.
        folder, device, progress: see `LatentDiffusion.fit`.
    """
    if folder is not None:
        _check_folder(folder)
    place = device_of(device)
    images = pictures(given, how.most, how.seed, how.background)
    ldm = _begun(make, images, how, start)
    size = how.size or (_SIZE if start is None else start.side)
    images.check_size(size, ldm.multiple)
    held = images.held(how.validation, how.seed)
    look = Look(images, (~held).nonzero()[:, 0], ldm.channels, size, how.batch, how.flip, place)
    facts = {} if folder is None else _facts(images, how, start, place)
    with opened(folder, facts) as store:
        losses = _trained(ldm.to(place), look, how, start is None, store, progress)
        figures = {**_measured(ldm, look, held, how), **losses}
        ldm.about = _about(images, held, size, ldm.channels, figures)
        near = copied(figures)
        if near is not None:
            warnings.warn(
                f"The model has memorised images: a sample is {near:.2f} times as far "
                "from the nearest place in them as unseen images are. Give more images, or take "
                "fewer `steps`.",
                stacklevel=4,
            )
        ldm.to("cpu")
        if folder is not None:
            ldm.save_pretrained(folder)
        store.finish()
    return ldm


def _check_folder(folder: Path) -> None:
    """Raises, before work begins, if its end could not be written."""
    if folders.finished(folder):
        raise FileExistsError(
            f"`folder` must be new, or that of an unfinished fit, got {str(folder)!r}, which holds "
            f"a finished model. LatentDiffusion.from_pretrained({str(folder)!r}) reads it; to fit "
            "anew, choose another folder, or delete this one."
        )
    folders.check("folder", folder)


def _begun(
    make: Make, images: Images, how: Settings, start: LatentDiffusion | None
) -> LatentDiffusion:
    """The model before its training."""
    if start is None:
        size = how.size or _SIZE
        with networks.weights(how.seed):
            return make(
                networks.unet(how.latent, how.width, size // how.cell),
                networks.autoencoder(images.channels, how.width, how.cell, how.latent, size),
                networks.noise_schedule(how.prediction),
            )
    if images.channels not in (1, start.channels):
        raise ValueError(
            f"`images` must have {start.channels} channels, as `start` has, or 1, got "
            f"{images.channels}. Convert them."
        )
    unet, autoencoder = networks.twin(start.unet), networks.twin(start.autoencoder)
    if how.size is not None:
        unet.register_to_config(sample_size=how.size // start.cell)
    embedding = None if start.embedding is None else start.embedding.clone().float()
    return make(unet, autoencoder, start.scheduler, embedding)


def _facts(
    images: Images, how: Settings, start: LatentDiffusion | None, place: torch.device
) -> dict[str, Any]:
    """What the parts of a checkpoint depend on."""
    settings = {field.name: getattr(how, field.name) for field in fields(how)}
    return {
        "images": f"{len(images)} {images.digest()}",
        **settings,
        "start": "none" if start is None else identity(start),
        "device": place.type,
        "versions": f"{versions()}, diffusers {folders.diffusers().__version__}",
    }


def _trained(
    ldm: LatentDiffusion,
    look: Look,
    how: Settings,
    fresh: bool,
    store: Checkpoint,
    progress: Progress,
) -> dict[str, float]:
    """Trains both parts in place; returns their last losses."""
    first, second = how.schedules(fresh)
    losses = {}
    with told(progress, 0, first.steps + second.steps, "training", "step") as tell:
        if first.steps:
            loss = Reconstruction(ldm, look, fresh)
            losses["loss, autoencoder"] = train(
                ldm.autoencoder, loss, first, store, tell, "autoencoder"
            )
        if fresh:
            found = store.part("latents", lambda: _spread(ldm, look, how))
            networks.standardise(
                ldm.autoencoder, found["mean"].to(ldm.device), found["deviation"].to(ldm.device)
            )
        ldm.unet.requires_grad_(True)
        losses["loss"] = train(ldm.unet, Denoising(ldm, look), second, store, tell, "unet")
    return losses


@torch.no_grad()
def _spread(ldm: LatentDiffusion, look: Look, how: Settings) -> dict[str, Tensor]:
    """Mean and deviation of each channel of latents."""
    generator = seeded(how.seed, "latents")
    parts = [ldm.encode(look.some(generator)) for _ in range(max(1, _MEASURED // how.batch))]
    latents = torch.cat(parts).transpose(0, 1).flatten(1)
    return {"mean": latents.mean(dim=1).cpu(), "deviation": latents.std(dim=1).cpu()}


@torch.no_grad()
def _measured(ldm: LatentDiffusion, look: Look, held: Tensor, how: Settings) -> dict[str, float]:
    """How true what is decoded is, and how near samples are to what was learned from."""
    apart = held.nonzero()[:, 0]
    unseen = look.these(apart, _LOOKED, seeded(how.seed, "held out"))
    other = look.like_made(apart, _LOOKED, seeded(how.seed, "held out"))
    seen = look.these(look.rows, _LOOKED, seeded(how.seed, "learned from"))
    draw = seeded(how.seed, "samples")
    sizes = [len(part) for part in torch.split(torch.arange(_MADE), _AT_ONCE)]
    made = torch.cat(
        [ldm.sample(n, size=look.size, steps=_SAMPLING, generator=draw) for n in sizes]
    )
    own = [look.images.pixels[row] for row in look.rows.tolist()]
    learned = [image.expand(ldm.channels, -1, -1) for image in own]
    return {
        "images": float(len(held)),
        "held out": float(held.sum()),
        "psnr": _psnr(ldm, unseen),
        "psnr, learned from": _psnr(ldm, seen),
        "distance to real": _median(made, learned, how.flip),
        "distance between real": _median(other, learned, how.flip),
    }


def _psnr(ldm: LatentDiffusion, crops: Tensor) -> float:
    """Of what is decoded, in decibels, the mean over crops."""
    errors = []
    for part in torch.split(crops, _AT_ONCE):
        away = ldm.decode(ldm.encode(part)).clamp(0, 1) - part
        errors.append(away.square().flatten(1).mean(dim=1).clamp(min=1e-10))
    return float((-10 * torch.cat(errors).log10()).mean())


def _median(crops: Tensor, images: list[Tensor], flip: bool) -> float:
    found = nearest(crops, images)
    if flip:
        found = torch.minimum(found, nearest(crops.flip(-1), images))
    return float(found.median())


def _about(
    images: Images, held: Tensor, size: int, channels: int, figures: dict[str, float]
) -> About:
    data = (
        (f"{images.source}: " if images.source else "")
        + f"crops of {size} x {size} pixels of {len(images)} images"
        + (f", of {images.given} that there are" if images.given > len(images) else "")
        + f"; {int(held.sum())} were held out."
        + ("" if images.outside is None else " What is in boxes was not learned.")
    )
    return About(image_size=[size, size], channels=channels, data=data, figures=figures)
