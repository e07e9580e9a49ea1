"""What a warp keeps of a PSTN to look at images with: its localiser, and the heads of one crop.

A PSTN sees images as its training loop gives them, perhaps normalised and of one size. A warp sees
them as methods do, in [0, 1] and of any size; between the two stands what is here.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from albu_learned import checks
from albu_learned.parts import Part
from albu_learned.pstn import given
from albu_learned.pstn.elbo import Posterior
from albu_learned.pstn.localiser import Heads, Localiser

if TYPE_CHECKING:
    from albu_learned.pstn.model import PSTN

__all__ = ["Look"]

_REACH = 2.0  # of latents, in deviations of the prior, where nobody has looked
_SIDE = 8  # of the first image, which gives layers their sizes


class Look(Part, nn.Module):
    """Images to the posterior of each. Frozen, and always in evaluation mode.

    Args:
        ndim: 2 for images, 1 for series.
        dim: how many latents.
        channels: of the images.
        size: of the images that the localiser was trained on; others are resized to be looked at.
            None takes them as they come.
        mean: subtracted from each channel first; None for none.
        std: by which they are then divided.
        stn: whether there is a mean alone.
        reach: how large latents are, the root of the mean square; it decides how finely motions
            are computed.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        ndim: int,
        dim: int,
        channels: int,
        size: Sequence[int] | None = None,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        stn: bool = False,
        reach: float = _REACH,
    ) -> None:
        super().__init__()
        self.ndim, self.dim = ndim, checks.integer("dim", dim, 1)
        self.channels: int | None = checks.integer("channels", channels, 1)
        self.size = None if size is None else [checks.integer("size", side, 1) for side in size]
        self.mean, self.std = _normalisation(mean, std, self.channels)
        self.stn = given.flag("stn", stn)
        self.reach = checks.between("reach", reach, "[0, inf)")
        shape = [-1] + [1] * ndim
        centre, spread = torch.tensor(self.mean or [0.0]), torch.tensor(self.std or [1.0])
        self.register_buffer("centre", centre.view(shape), persistent=False)
        self.register_buffer("spread", spread.view(shape), persistent=False)
        with torch.random.fork_rng(devices=[]), torch.no_grad():  # weights come from elsewhere
            self.localiser: nn.Module = Localiser(ndim)
            self.heads = Heads(1, dim, stn)
            self.heads(self.localiser(torch.zeros(1, channels, *[_SIDE] * ndim)))
        self.float()  # as it is saved, whatever torch makes unless told
        self.requires_grad_(False).train(False)

    @classmethod
    def of(cls, model: PSTN, crop: int, channels: int | None, **how: Any) -> Look:
        """A copy of what a PSTN has, for one of its crops.

        Args:
            model: the PSTN.
            crop: which one.
            channels: of its images; None for those of its localiser, or, if that is a module of
                the user's, for any.
            **how: `size`, `mean` and `std`.
        """
        if _ours(model.localiser):
            channels = model.localiser.get_parameter("layers.0.weight").shape[1]
        normal = how.get("mean")
        count = channels or (len(normal) if isinstance(normal, (list, tuple)) else 1)
        look = cls(model.family.ndim, model.family.dim, count, stn=model.stn, **how)
        look.channels = count if channels or count > 1 else None
        look.localiser = copy.deepcopy(model.localiser)
        parts = slice(crop * look.dim, (crop + 1) * look.dim)
        look.heads = _part(model.heads, look.dim, parts)
        look.requires_grad_(False).train(False)
        return look.to(model.factor.device, torch.float32)

    def forward(self, images: Tensor) -> Posterior:
        """q(z | x): (B, dim) means and deviations, of images in [0, 1]."""
        seen = self.prepared(images)
        found = self.heads(given.features(self.localiser(seen), len(images)))
        return Posterior(found.mean[:, 0], found.deviation[:, 0])

    def prepared(self, images: Tensor) -> Tensor:
        """Images as the localiser knows them."""
        if self.channels is not None and images.shape[1] != self.channels:
            raise ValueError(
                f"`images` must have {self.channels} channel{'s' * (self.channels > 1)}, as those "
                f"at which this PSTN learned to look, got {images.shape[1]}. Convert them before, "
                "or make the warp with as_warp(marginal=images): that looks at none."
            )
        images = images.to(self.heads.mean.weight.dtype)
        if self.size is not None and list(images.shape[2:]) != self.size:
            images = _resized(images, self.size)
        return (images - self.centre) / self.spread

    def __repr__(self) -> str:
        return f"Look(channels={self.channels}, size={self.size}, stn={self.stn})"

    def train(self, mode: bool = True) -> Look:
        """Evaluation mode, whatever is asked for: the place of an image in a batch is no matter."""
        return super().train(False)

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments; those of a localiser of the user's are not known."""
        if not _ours(self.localiser):
            raise TypeError(
                "`localiser` must be the default one for this PosteriorWarp to be saved, or given "
                f"other arguments, got {type(self.localiser).__name__}: an artifact holds no code "
                "to build it with. Use as_warp(marginal=images), which looks at no image and needs "
                "none; arguments such as `scale` can be given to as_warp."
            )
        return super().arguments()


def _ours(localiser: nn.Module) -> bool:
    return type(localiser) is Localiser


def _part(heads: Heads, dim: int, part: slice) -> Heads:
    """The heads of one crop alone."""
    own = Heads(1, dim, heads.deviation is None)
    own(torch.zeros(1, heads.mean.weight.shape[1]))  # sizes its layers
    own.load_state_dict({name: value[part] for name, value in heads.state_dict().items()})
    return own


def _resized(images: Tensor, size: Sequence[int]) -> Tensor:
    flat = images if images.ndim == 4 else images[:, :, None]
    size = list(size) if images.ndim == 4 else [1, *size]
    found = F.interpolate(flat, size, mode="bilinear", antialias=True)
    return found if images.ndim == 4 else found[:, :, 0]


def _normalisation(
    mean: Sequence[float] | float | None, std: Sequence[float] | float | None, channels: int
) -> tuple[list[float] | None, list[float] | None]:
    if mean is None and std is None:
        return None, None
    means, stds = _numbers("mean", mean, channels), _numbers("std", std, channels)
    if min(stds) <= 0:
        raise ValueError(f"`std` must be numbers > 0, got {std!r}.")
    return means, stds


def _numbers(name: str, value: Any, channels: int) -> list[float]:
    """One number, or one for each channel."""
    if hasattr(value, "tolist"):  # a tensor or an array
        value = value.tolist()
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    rule = f"a number, or {channels}, one for each channel, where images are normalised"
    if len(values) not in (1, channels):
        raise ValueError(f"`{name}` must be {rule}, got {value!r}.")
    return [checks.real(name, number, rule) for number in values]
