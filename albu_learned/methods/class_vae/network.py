"""The networks: an encoder and a decoder for each class, or one for several that is told which.

convolutional   halves the side down to 4 to 7 pixels, with group normalisation; any size
dense           two hidden layers on each side of the bottleneck; for small images
garay-2018      the paper's Table 1, with the strides of its code
pca             no network: the mean and the main directions of a class, a Gaussian. It is what all
                others have to beat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from albu_learned.methods.class_vae.layers import (
    Convs,
    Denses,
    Many,
    Norms,
    Shape,
    Shuffle,
    UpConvs,
    Upsample,
    Which,
    run,
)
from albu_learned.methods.class_vae.loss import misfit

__all__ = ["NAMES", "Networks"]

_SMALLEST = 8  # pixels: a side that is shorter is not halved
_FIRST = -1.0  # log-variance that encoders begin with: sure enough for the decoder to listen
_DARKEST = 0.02  # that a mean is taken for: images never seen may differ
_BLOCK = 1024  # codes that are decoded at a time
_BLUR = 0.1  # deviation of pixels around a linear network's
Size = tuple[int, int, int]


class _Parts(NamedTuple):
    features: nn.Sequential  # (B, G, C, H, W) to (B, G, features)
    to_latent: nn.Sequential  # (B, G, features + labels) to (B, G, 2 * latent)
    decoder: nn.Sequential  # (B, G, latent + labels) to (B, G, C, H, W)


class Networks(nn.Module):
    """Encoders and decoders of one shape.

    Args:
        name: which; see the module's page.
        count: how many.
        shape: of an image, (C, H, W).
        latent: numbers that an image is encoded by.
        labels: how many classes share a network, if it must be told which one it sees; else 0.
        width: channels of the first layer, or units of the dense networks.
        gaussian: whether the likelihood is Gaussian, with a deviation that is learned.
    """

    base: Tensor | None
    log_scale: Tensor | None

    def __init__(
        self,
        name: str,
        count: int,
        shape: Sequence[int],
        latent: int,
        labels: int = 0,
        width: int | None = None,
        gaussian: bool = False,
    ) -> None:
        super().__init__()
        self.linear = name == "pca"
        self.count, self.latent, self.labels = count, latent, labels
        channels, height, columns = shape
        parts = _MAKERS[name](count, (channels, height, columns), latent, labels, width)
        self.features, self.to_latent, self.decoder = parts
        plain = name in ("garay-2018", "pca")
        self.base = None if plain else nn.Parameter(torch.zeros(count, *shape))
        self.log_scale = nn.Parameter(torch.full((count,), -1.0)) if gaussian else None

    def begin(self, generators: Sequence[torch.Generator], means: Tensor | None = None) -> None:
        """First weights, each network's by its own generator.

        Args:
            means: (G, C, H, W), of each network's images: what decoders begin with, so that codes
                which nothing was learned for give the mean and not grey.
        """
        for layer in self.modules():
            if isinstance(layer, Many):
                layer.begin(generators)
        last = self.to_latent[-1]
        assert isinstance(last, Many)
        with torch.no_grad():
            last.bias[:, self.latent :] = _FIRST
            if self.base is not None and means is not None:
                self.base.copy_(means.clamp(_DARKEST, 1 - _DARKEST).logit())

    def encode(
        self, images: Tensor, labels: Tensor | None = None, which: Which = None
    ) -> tuple[Tensor, Tensor]:
        """(B, G, latent) means and log-variances of images (B, G, C, H, W)."""
        features = self._told(run(self.features, images, which), labels)
        mean, log_variance = run(self.to_latent, features, which).chunk(2, dim=2)
        return mean, log_variance

    def decode(self, z: Tensor, labels: Tensor | None = None, which: Which = None) -> Tensor:
        """(B, G, C, H, W) logits of z (B, G, latent)."""
        logits = run(self.decoder, self._told(z, labels), which)
        if self.base is None:
            return logits
        base = self.base if which is None else self.base[which]
        # In place, for fresh memory costs as much again; but not into numbers of fewer bits.
        return logits.add_(base) if logits.dtype == base.dtype else logits + base

    def pixels(self, z: Tensor, labels: Tensor | None = None, which: Which = None) -> Tensor:
        """(B, G, C, H, W) means of the pixels, in [0, 1]."""
        logits = self.decode(z, labels, which)
        return logits.clamp_(0, 1) if self.linear else logits.sigmoid_()

    def made(self, z: Tensor, network: Tensor, member: Tensor) -> Tensor:
        """(B, C, H, W) pixels of codes (B, latent), each by its network, for its class there."""
        given = (z.to(next(self.parameters()).dtype), network, member)
        if torch.compiler.is_compiling():  # as many networks as rows: no shape depends on labels
            return self.pixels(given[0][None], member[None], network)[0]
        if len(z) <= _BLOCK:
            return self._made(*given)
        parts = [torch.split(part, _BLOCK) for part in given]
        return torch.cat([self._made(*block) for block in zip(*parts, strict=True)])

    def _made(self, z: Tensor, network: Tensor, member: Tensor) -> Tensor:
        used, group, counts = torch.unique(network, return_inverse=True, return_counts=True)
        if len(used) == 1:
            return self.pixels(z[:, None], member[:, None], self._without_copies(used))[:, 0]
        order = group.argsort(stable=True)
        firsts = counts.cumsum(0) - counts
        place = torch.empty_like(group)
        place[order] = torch.arange(len(z), device=z.device) - firsts[group[order]]
        codes = z.new_zeros(int(counts.max()), len(used), z.shape[1])
        told = member.new_zeros(codes.shape[:2])
        codes[place, group], told[place, group] = z, member
        return self.pixels(codes, told, self._without_copies(used))[place, group]

    def _without_copies(self, used: Tensor) -> Which:
        """The same networks, named so that their weights need not be copied, where that can be."""
        if len(used) == self.count:
            return None
        return slice(int(used), int(used) + 1) if len(used) == 1 else used

    def misfit(self, decoded: Tensor, images: Tensor, which: Which = None) -> Tensor:
        """(B, G): minus the log-likelihood of images, given what was decoded."""
        if self.linear:
            return (decoded - images).square().flatten(2).sum(dim=2) / (2 * _BLUR**2)
        scale = self.log_scale
        if scale is not None and which is not None:
            scale = scale[which]
        return misfit(decoded, images, scale)

    def _told(self, values: Tensor, labels: Tensor | None) -> Tensor:
        """The values with the class (B, G) behind them, where networks are shared."""
        if not self.labels:
            return values
        assert labels is not None
        return torch.cat([values, F.one_hot(labels, self.labels).to(values)], dim=2)


def _convolutional(count: int, shape: Size, latent: int, labels: int, width: int | None) -> _Parts:
    first, hidden = width or 16, 4 * (width or 16)
    channels, *size = shape
    sizes = [(size[0], size[1])]
    while len(sizes) < 2 or min(sizes[-1]) >= _SMALLEST:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    smaller = sizes[2:]
    widths = [min(first * 2**number, 4 * first) for number in range(len(sizes) - 1)]
    down = _block(count, channels, first, kernel=5, stride=2)
    for before, after in pairwise(widths):
        down += _block(count, before, after, stride=2)
    flat = widths[-1] * math.prod(sizes[-1])
    up: list[nn.Module] = [
        Denses(count, latent + labels, hidden),
        nn.SiLU(),
        Denses(count, hidden, flat),
        nn.SiLU(),
        Shape(widths[-1], *sizes[-1]),
    ]
    for number in reversed(range(len(smaller))):
        # Before the size is doubled a convolution costs a quarter; the next one smooths the steps.
        up += [*_block(count, widths[number + 1], widths[number]), Upsample(sizes[number + 1])]
    # The last step from half of the size goes through channels: four of them are four pixels.
    up += [Convs(count, first, 4 * channels, 3), Shuffle(sizes[0])]
    return _Parts(
        nn.Sequential(*down, Shape(flat)),
        nn.Sequential(
            Denses(count, flat + labels, hidden), nn.SiLU(), Denses(count, hidden, 2 * latent)
        ),
        nn.Sequential(*up),
    )


def _block(
    count: int, before: int, after: int, kernel: int = 3, stride: int = 1
) -> list[nn.Module]:
    return [Convs(count, before, after, kernel, stride), Norms(count, after), nn.SiLU()]


def _dense(count: int, shape: Size, latent: int, labels: int, width: int | None) -> _Parts:
    wide, narrow, pixels = width or 128, (width or 128) // 2, math.prod(shape)
    return _Parts(
        nn.Sequential(Shape(pixels)),
        nn.Sequential(
            Denses(count, pixels + labels, wide),
            nn.SiLU(),
            Denses(count, wide, narrow),
            nn.SiLU(),
            Denses(count, narrow, 2 * latent),
        ),
        nn.Sequential(
            Denses(count, latent + labels, narrow),
            nn.SiLU(),
            Denses(count, narrow, wide),
            nn.SiLU(),
            Denses(count, wide, pixels),
            Shape(*shape),
        ),
    )


def _garay(count: int, shape: Size, latent: int, labels: int, width: int | None) -> _Parts:
    channels, height, columns = shape
    if height % 2 or columns % 2:
        raise ValueError(
            f'`shape` must have even sides for the network "garay-2018", got {height} x {columns} '
            'pixels. Resize the images, or take network="convolutional".'
        )
    wide, half = width or 64, (height // 2, columns // 2)
    flat = wide * math.prod(half)
    return _Parts(
        nn.Sequential(
            Convs(count, channels, channels, 2, padding=(0, 1, 0, 1)),
            nn.ReLU(),
            Convs(count, channels, wide, 2, 2, padding=(0, 0, 0, 0)),
            nn.ReLU(),
            Convs(count, wide, wide, 3),
            nn.ReLU(),
            Convs(count, wide, wide, 3),
            nn.ReLU(),
            Shape(flat),
        ),
        nn.Sequential(Denses(count, flat + labels, 128), nn.ReLU(), Denses(count, 128, 2 * latent)),
        nn.Sequential(
            Denses(count, latent + labels, 128),
            nn.ReLU(),
            Denses(count, 128, flat),
            nn.ReLU(),
            Shape(wide, *half),
            Convs(count, wide, wide, 3),
            nn.ReLU(),
            Convs(count, wide, wide, 3),
            nn.ReLU(),
            UpConvs(count, wide, wide, 3),
            nn.ReLU(),
            Convs(count, wide, channels, 2, padding=(0, 0, 0, 0)),
        ),
    )


def _pca(count: int, shape: Size, latent: int, labels: int, width: int | None) -> _Parts:
    pixels = math.prod(shape)
    return _Parts(
        nn.Sequential(Shape(pixels)),
        nn.Sequential(Denses(count, pixels + labels, 2 * latent)),
        nn.Sequential(Denses(count, latent + labels, pixels), Shape(*shape)),
    )


_MAKERS: dict[str, Callable[[int, Size, int, int, int | None], _Parts]] = {
    "convolutional": _convolutional,
    "dense": _dense,
    "garay-2018": _garay,
    "pca": _pca,
}
NAMES = tuple(_MAKERS)
