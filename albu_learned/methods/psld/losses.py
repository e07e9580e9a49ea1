"""What an autoencoder and a network for noise are trained to make small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.methods.psld.crops import Images

if TYPE_CHECKING:
    from albu_learned.methods.psld.diffusion import LatentDiffusion

__all__ = ["Denoising", "Look", "Reconstruction"]

_DIVERGENCE = 1e-4  # weight of a latent number's divergence from a standard normal one
_DECIDED = 0.5  # share of signal in what a network sees, from which it only tells what is there


class Crops(NamedTuple):
    """Which crops: (n,) numbers of images, (n, 2) places in them, (n,) whether they are turned."""

    rows: Tensor
    places: Tensor
    turned: Tensor


@dataclass(frozen=True, eq=False)
class Look:
    """Crops of images, on a device.

    Args:
        images: all of them.
        rows: the numbers of those that are learned from.
        channels: of the model, where images may be grey.
        size: of a crop.
        batch: crops at a time.
        flip: whether half of them are turned left to right.
        place: the device.
    """

    images: Images
    rows: Tensor
    channels: int
    size: int
    batch: int
    flip: bool
    place: torch.device

    def some(self, generator: torch.Generator) -> Tensor:
        """(B, C, size, size) floats of images that are learned from."""
        return self.these(self.rows, self.batch, generator)

    def these(self, rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """So many crops of the images of those numbers."""
        return self.seen(self.draw(rows, count, generator))

    def like_made(self, rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """So many crops of these images, of what shall be drawn: where that is the background, of
        four times as many those that show the least of objects."""
        if self.images.outside is None:
            return self.these(rows, count, generator)
        drawn = self.draw(rows, 4 * count, generator)
        empty = self.outside(drawn).float().mean(dim=(1, 2, 3))
        best = empty.argsort(descending=True, stable=True)[:count].sort().values.cpu()
        return self.seen(Crops(*(part[best] for part in drawn)))

    def draw(self, rows: Tensor, count: int, generator: torch.Generator) -> Crops:
        chosen = rows[torch.randint(len(rows), (count,), generator=generator)]
        places = torch.rand(count, 2, generator=generator)
        flipped = torch.zeros(count, dtype=torch.bool)
        if self.flip:
            flipped = torch.rand(count, generator=generator) < 0.5
        return Crops(chosen, places, flipped)

    def seen(self, crops: Crops) -> Tensor:
        """(n, C, size, size) floats."""
        found = self.images.crops(crops.rows, crops.places, self.size)
        return _turned(found, crops.turned).expand(-1, self.channels, -1, -1).to(self.place)

    def outside(self, crops: Crops) -> Tensor:
        """(n, 1, size, size), true where there is no object."""
        found = self.images.crops_outside(crops.rows, crops.places, self.size)
        return _turned(found, crops.turned).to(self.place)


class Reconstruction:
    """How far images are from what is decoded of their latents, |e| + e^2 of pixels in [-1, 1]; and
    a little for latents that are far from standard normal ones. Of a model that was given only the
    decoder is trained: its latents are what its network knows.

    Args:
        ldm: whose autoencoder is trained.
        look: the crops.
        fresh: whether all of it is trained.
    """

    def __init__(self, ldm: LatentDiffusion, look: Look, fresh: bool) -> None:
        self.ldm, self.look, self.fresh = ldm, look, fresh
        parts = ("decoder", "post_quant_conv")
        own = [getattr(ldm.autoencoder, name, None) for name in parts]
        for part in [ldm.autoencoder] if fresh else own:
            if part is not None:
                part.requires_grad_(True)

    def __call__(self, generator: torch.Generator) -> Tensor:
        images = self.look.some(generator)
        if not self.fresh:
            with torch.no_grad():
                latents = self.ldm.encode(images)
            return _away(2 * self.ldm.decode(latents) - 1, images)
        spread = self.ldm.autoencoder.encode(2 * images - 1).latent_dist
        mean, log_variance = spread.mean.float(), spread.logvar.float()
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        latents = mean + (0.5 * log_variance).exp() * noise
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        decoded = self.ldm.autoencoder.decode(latents).sample
        loss: Tensor = _away(decoded, images) + _DIVERGENCE * divergence.mean()
        return loss


class Denoising:
    """The squared error of what a network predicts of latents in noise, of all noise levels alike.

    Where only background shall be learned, cells that show objects do not count as long as there is
    more noise than signal, which is when it is decided what will be there. With less noise objects
    can be seen, and cells are told from noise as all others are.

    Args:
        ldm: whose network is trained.
        look: the crops.
    """

    def __init__(self, ldm: LatentDiffusion, look: Look) -> None:
        self.ldm, self.look = ldm, look

    def __call__(self, generator: torch.Generator) -> Tensor:
        crops = self.look.draw(self.look.rows, self.look.batch, generator)
        with torch.no_grad():
            latents = self.ldm.encode(self.look.seen(crops))
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        times = torch.randint(len(self.ldm.alphas), (len(latents),), generator=generator)
        share = self.ldm.alphas[times].view(-1, 1, 1, 1)
        signal, rest = share.sqrt().to(latents), (1 - share).sqrt().to(latents)
        told: dict[str, Any] = {}
        if self.ldm.embedding is not None:
            told["encoder_hidden_states"] = self.ldm.embedding.expand(len(latents), -1, -1)
        noisy = signal * latents + rest * noise
        found = self.ldm.unet(noisy, times.to(latents.device), **told).sample.float()
        wanted = {
            "epsilon": noise,
            "v_prediction": signal * noise - rest * latents,
            "sample": latents,
        }[self.ldm.prediction]
        if self.look.images.outside is None:
            return F.mse_loss(found, wanted)
        empty = -F.max_pool2d(-self.look.outside(crops).to(found), self.ldm.cell)
        counts = torch.maximum(empty, (share > _DECIDED).to(empty)).expand_as(found)
        loss: Tensor = (counts * (found - wanted).square()).sum() / counts.sum().clamp(min=1)
        return loss


def _turned(crops: Tensor, turned: Tensor) -> Tensor:
    """Those left to right."""
    crops[turned] = crops[turned].flip(-1)
    return crops


def _away(decoded: Tensor, images: Tensor) -> Tensor:
    error = decoded.float() - (2 * images - 1)
    found: Tensor = error.abs().mean() + error.square().mean()
    return found
