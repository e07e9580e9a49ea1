"""The method: new pixels around the objects of an image, drawn from a latent diffusion model."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch
from albu_learned.kinds import Generate
from albu_learned.method import Plan
from albu_learned.methods.psld import masks
from albu_learned.methods.psld.diffusion import LatentDiffusion
from albu_learned.methods.psld.folder import is_id
from albu_learned.methods.psld.glue import glue
from albu_learned.methods.psld.grain import grain
from albu_learned.methods.psld.identity import identity
from albu_learned.methods.psld.making import KNOWN, halved, on_tiles, operator, shown
from albu_learned.methods.psld.problem import Problem, RowNoise
from albu_learned.methods.psld.samplers import SAMPLERS
from albu_learned.methods.psld.samplers.steps import Progress
from albu_learned.methods.psld.settings import checked as settings_of
from albu_learned.methods.psld.tiles import padded

__all__ = ["PSLDInpaint"]

INSIDE = "ldm"  # the folder of the diffusion model in an artifact
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class PSLDInpaint(Generate):
    """Makes the background of an image anew around its objects, by a latent diffusion model.

    Objects and patches of background are kept bit by bit; what is around them is drawn from the
    model's posterior given what is kept. Labels, boxes and masks stay as they are. An image takes
    `steps` passes through the network, seconds to minutes: make a data set of variants once rather
    than in every epoch.

    Args:
        ldm: the model, its folder, or its repository on the hub (which must have been downloaded:
            `LatentDiffusion.from_pretrained` does).
        mask: which pixels are kept, and with it what labels are worth afterwards:
            "gaussian-blobs", "gaussian-outside", "outside", "inside-random" or "random", see
            `albu_learned.methods.psld.masks`.
        steps: noise levels, 20 to 200. More are truer to what is kept.
        sampler: "decoder-only", "psld" or "blending", see `albu_learned.methods.psld.samplers`.
        sigma: of the Gaussian masks: how far from objects background is kept, as a share of the
            greatest distance.
        grow: by how much objects are grown before, as a fraction of the image's sides.
        decoys: patches of background that are kept for each object.
        protect: whether objects are their "boxes" or their "instances", the masks of a batch.
        known: what is known of erased pixels: "nothing", or how they look after a
            "gaussian-blur", a "motion-blur" or in a "downsample" of the image.
        coarse: deviation of the blur, length of the motion or side of the blocks, in pixels.
        strength: below 1, erased parts begin with what was there, in less noise.
        feather: over how many pixels the old image fades into the new one.
        grain: whether what is new gets the fine texture of the image that the decoder cannot make,
            such as a camera's noise, without which it is softer than what is kept. A background
            whose texture tells the class, or a poor decoder, is better left without.
        tile: side in pixels of what the network looks at at a time; None for what it was made for.
        batch: images that are worked on together.
        precision: "float32", "bfloat16" or "float16"; None: that of the model, float32 if read.
            Another than the model's needs memory for a copy of it: the given one stays as it is.
        settings: more arguments of the sampler, such as {"guidance": 5}.

    Attributes:
        progress: a function, told how many of how many steps are done, if one is set.

    Example:
        >>> import albu_learned as al                                          # doctest: +SKIP
        >>> ldm = al.LatentDiffusion.from_pretrained("my/pipeline")            # doctest: +SKIP
        >>> vary = al.PSLDInpaint(ldm, steps=50)                               # doctest: +SKIP
        >>> vary(al.Batch(images=images, boxes=boxes)).images                  # doctest: +SKIP
    """

    citation = """@inproceedings{rout2023psld,
  title     = {Solving Linear Inverse Problems Provably via Posterior Sampling with Latent
               Diffusion Models},
  author    = {Rout, Litu and Raoof, Negin and Daras, Giannis and Caramanis, Constantine and
               Dimakis, Alex and Shakkottai, Sanjay},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2023}
}
@misc{prairie2023augmentation,
  title  = {Data Augmentation as an Inverse Problem},
  author = {Prairie, Hayden and Collebrusco, Frank and Shilliday, David and Gupta, Ranit and
            Ram, Ashwin and Wang, Andrew},
  year   = {2023}
}"""
    needs = frozenset({"images", "boxes"})

    def __init__(
        self,
        ldm: LatentDiffusion | str | os.PathLike[str],
        mask: str = "gaussian-blobs",
        steps: int = 50,
        sampler: str = "decoder-only",
        *,
        sigma: float = 0.32,
        grow: float = 16 / 384,
        decoys: float = 1.0,
        protect: str = "boxes",
        known: str = "nothing",
        coarse: float = 16.0,
        strength: float = 1.0,
        feather: int = 4,
        grain: bool = False,
        tile: int | None = None,
        batch: int = 4,
        precision: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.mask = checks.one_of("mask", mask, masks.KINDS)
        self.steps = checks.integer("steps", steps, 2)
        self.sampler = checks.one_of("sampler", sampler, tuple(SAMPLERS))
        self.sigma = checks.between("sigma", sigma, "(0, inf)")
        self.grow = checks.between("grow", grow, "[0, 1)")
        self.decoys = checks.between("decoys", decoys, "[0, inf)")
        self.protect = checks.one_of("protect", protect, ("boxes", "instances"))
        self.known = checks.one_of("known", known, KNOWN)
        self.coarse = checks.between("coarse", coarse, "[1, inf)")
        self.strength = checks.between("strength", strength, "(0, 1]")
        self.feather = checks.integer("feather", feather, 0)
        if not isinstance(grain, bool):
            raise TypeError(f"`grain` must be True or False, got {grain!r}.")
        self.grain = grain
        self.tile = None if tile is None else checks.integer("tile", tile, 8)
        self.batch = checks.integer("batch", batch, 1)
        self.precision = precision and checks.one_of("precision", precision, tuple(_DTYPES))
        self.settings = settings_of(settings, self.sampler)
        if self.sampler == "blending" and self.known != "nothing":
            raise ValueError(
                f'`known` must be "nothing" for the sampler "blending", got {known!r}. Use the '
                'sampler "decoder-only".'
            )
        if self.protect == "instances":
            self.needs = self.needs | {"instances"}
        self.progress: Progress = None
        self._prior = ldm if isinstance(ldm, LatentDiffusion) else None
        self._cast: LatentDiffusion | None = None  # a copy of it in our precision
        self.ldm = _reference(ldm)

    @property
    def prior(self) -> LatentDiffusion:
        """The diffusion model in our precision, read when it is first asked for."""
        given = self._given()
        if self.precision is None or given.dtype == _DTYPES[self.precision]:
            return given
        if self._cast is None:
            self._cast = copy.deepcopy(given).to(dtype=_DTYPES[self.precision])
        return self._cast

    def draw(
        self,
        rows: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Plan:
        return {"seed": torch.randint(2**61, (rows,), generator=generator, device=device)}

    def plan(self, batch: Batch, noise: Plan) -> Plan:
        """Which pixels are kept, (B, 1, H, W); and the seed of the noise."""
        assert batch.images is not None
        assert batch.boxes is not None
        size = (batch.images.shape[2], batch.images.shape[3])
        rows = zip(batch.boxes.split(), self._outlines(batch), noise["seed"].tolist(), strict=True)
        keep = []
        for boxes, outlines, seed in rows:
            own = boxes.values[boxes.valid].cpu()
            objects = masks.objects_of(own, size, self.grow, outlines)
            keep.append(self._kept(objects, torch.Generator().manual_seed(2 * seed)))
        return {"keep": torch.stack(keep)[:, None].to(batch.images.device), "seed": noise["seed"]}

    @torch.no_grad()
    def pixels(self, images: Tensor, plan: Plan) -> Tensor:
        made = self.grained(images, self.unglued(images, plan), plan)
        return glue(images, made, plan["keep"], self.feather)

    @torch.no_grad()
    def unglued(self, images: Tensor, plan: Plan) -> Tensor:
        """(B, C, H, W), what is made: how near it has come to what is kept tells how good it is.
        Images of which all is kept are as they were."""
        keep, seed = plan["keep"], plan["seed"]
        made = images.clone()
        changed = _changed(keep)
        for start in range(0, len(changed), self.batch):
            rows = changed[start : start + self.batch]
            made[rows] = halved(self._made, images[rows], keep[rows], seed[rows]).to(made.dtype)
        return made

    @torch.no_grad()
    def grained(self, images: Tensor, made: Tensor, plan: Plan) -> Tensor:
        """(B, C, H, W), with the texture of these images where they are made anew: what `pixels`
        glues what is kept into."""
        if not self.grain:
            return made
        keep, found = plan["keep"], made.clone()
        for k in _changed(keep):
            row = slice(k, k + 1)  # alone, whatever is beside it; a sampler's passes cost far more
            texture = grain(self._lost(images[row]), ~keep[row], plan["seed"][row])
            found[row] = torch.where(keep[row], made[row], made[row] + texture.to(made.dtype))
        return found

    def identity(self) -> str:
        """What tells its diffusion model from others: its name on the hub, or of its numbers."""
        if self._prior is None and is_id(self.ldm):
            return self.ldm
        given = self._given()
        return given.source if given.source is not None and is_id(given.source) else identity(given)

    def with_arguments(self, **arguments: Any) -> PSLDInpaint:
        twin = super().with_arguments(**arguments)
        if "ldm" not in arguments:
            twin._prior, twin._folder = self._prior, self._folder
        return twin

    def _kept(self, objects: masks.Objects, generator: torch.Generator) -> Tensor:
        return masks.kept(self.mask, objects, generator, self.sigma, self.decoys, self.prior.cell)

    def _outlines(self, batch: Batch) -> list[Tensor | None]:
        if self.protect == "boxes":
            return [None] * len(batch)
        assert batch.instances is not None
        return [rows.values[rows.valid].cpu() for rows in batch.instances.split()]

    @torch.inference_mode(False)
    @torch.no_grad()
    def _made(self, images: Tensor, keep: Tensor, seed: Tensor) -> Tensor:
        """(B, C, H, W), the images drawn anew, as they are decoded."""
        prior = self.prior.to(images.device)
        given, model = shown(prior, images), on_tiles(prior, self.tile)
        wide = padded(keep.clone().byte(), prior.multiple, prior.side).bool()
        latents = SAMPLERS[self.sampler](
            model,
            Problem(operator(wide, given, self.known, self.coarse), given),
            RowNoise(2 * seed + 1),
            self.steps,
            strength=self.strength,
            progress=self.progress,
            **self.settings,
        )
        return _as_were(model.decode(latents), images)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _lost(self, images: Tensor) -> Tensor:
        """(B, C, H, W), what encoding and decoding take away of images."""
        prior = self.prior.to(images.device)
        model = on_tiles(prior, self.tile)
        return images.float() - _as_were(model.decode(model.encode(shown(prior, images))), images)

    def _given(self) -> LatentDiffusion:
        if self._prior is None and self.ldm == INSIDE and self._folder is not None:
            self._prior = LatentDiffusion.from_pretrained(self._folder / INSIDE)
        elif self._prior is None:
            self._prior = LatentDiffusion.from_pretrained(self.ldm, local_files_only=True)
        return self._prior

    def __getstate__(self) -> dict[str, Any]:
        """Without the copy of the model: another process makes its own."""
        return {**self.__dict__, "_cast": None}

    def _save_pretrained(self, save_directory: Path) -> None:
        """The model goes into the artifact, unless everybody can have it from the hub."""
        place = Path(save_directory) / INSIDE
        if not is_id(self.ldm):
            if self._given().source != str(place.absolute()):
                self._given().save_pretrained(place)
            self.ldm = INSIDE
        super()._save_pretrained(save_directory)

    def extra_repr(self) -> str:
        return f"{self.ldm!r}, mask={self.mask!r}, steps={self.steps}, sampler={self.sampler!r}"


def _changed(keep: Tensor) -> list[int]:
    """The numbers of the images of which not all is kept."""
    return [k for k, erased in enumerate((~keep).flatten(1).any(dim=1).tolist()) if erased]


def _as_were(made: Tensor, images: Tensor) -> Tensor:
    """What the model made, in the size and the channels of the images."""
    own = made[..., : images.shape[2], : images.shape[3]]
    return own.mean(dim=1, keepdim=True) if images.shape[1] == 1 else own


def _reference(ldm: LatentDiffusion | str | os.PathLike[str]) -> str:
    """What an artifact calls the model."""
    if isinstance(ldm, LatentDiffusion):
        return ldm.source if ldm.source is not None and is_id(ldm.source) else INSIDE
    if not isinstance(ldm, (str, os.PathLike)):
        raise TypeError(
            "`ldm` must be a LatentDiffusion, its folder or its repository, got "
            f"{type(ldm).__name__}. Read one with LatentDiffusion.from_pretrained."
        )
    return os.fspath(ldm)
