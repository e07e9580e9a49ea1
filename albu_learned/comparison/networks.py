"""The networks of a comparison: a small one for images, one for series, and any of timm's.

"nearest" learns nothing: it is the 1-nearest-neighbour classifier of the samples it was shown.

The small ones have group normalisation, no buffers and no dropout: so several can be trained as one
network with a stack of weights, and what a seed starts from is its initial weights alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from albu_learned.comparison.settings import NEAREST, OWN, SMALL

__all__ = ["Nearest", "build", "default_size", "learning_rate"]

WIDTHS = (16, 32, 64)
PLACES = 3  # along each side, that the last layer tells apart
RATES = {"small": 4e-3, "timm": 1e-3, "pretrained": 2e-4}
DEFAULT_SIZE = 64  # of images from a folder, for the small network


class Standardise(nn.Module):
    """Channels with mean 0 and deviation 1, by figures of the training subset."""

    def __init__(self, mean: Tensor, std: Tensor, dimensions: int) -> None:
        super().__init__()
        shape = (-1, *[1] * dimensions)
        # No buffers: they are known before the training, and are not learned in it.
        self.mean = [float(value) for value in mean]
        self.std = [max(float(value), 1e-3) for value in std]
        self.shape = shape

    def forward(self, rows: Tensor) -> Tensor:
        mean, std = rows.new_tensor(self.mean), rows.new_tensor(self.std)
        return (rows - mean.view(self.shape)) / std.view(self.shape)


def build(
    model: str, pretrained: bool, shape: tuple[int, ...], classes: int, sample: Tensor, seed: int
) -> nn.Module:
    """A network for rows of this shape (without the batch), its initial weights by the seed.

    Args:
        sample: some training rows, from which the channels' mean and deviation are taken.
    """
    over = (0, *range(2, sample.ndim))
    mean, std = sample.double().mean(over), sample.double().std(over)
    with torch.random.fork_rng(devices=[]):  # initial weights come from the global generator
        torch.manual_seed(seed)
        if model == SMALL:
            body = small(shape, classes)
        elif model == NEAREST:
            body = Nearest(classes)
        else:
            from albu_learned.timm.model import classifier

            body, own = classifier(model, classes, shape[0], pretrained)
            mean, std = own or (mean, std)
    return nn.Sequential(Standardise(mean, std, len(shape) - 1), body)


class Nearest(nn.Module):
    """The class of the nearest of the samples that it was shown; with a warp, of warped ones."""

    seen: Tensor
    labels: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("seen", torch.zeros(0, 0))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.long))

    def remember(self, rows: Tensor, labels: Tensor) -> None:
        rows = rows.flatten(1)
        self.seen = torch.cat([self.seen.view(-1, rows.shape[1]).to(rows), rows])
        self.labels = torch.cat([self.labels.to(labels), labels])

    def forward(self, rows: Tensor) -> Tensor:
        """Minus the square of the distance to each class, in units of the nearest ones' mean: so
        that probabilities are of use, though they are not calibrated."""
        if not len(self.seen):
            return rows.new_zeros(len(rows), self.classes)
        distance = torch.cdist(rows.flatten(1), self.seen)
        index = self.labels.expand(len(rows), -1)
        far = distance.new_full((len(rows), self.classes), float(distance.max()))
        nearest = far.scatter_reduce(1, index, distance, "amin").square()
        return -nearest / nearest.amin(dim=1).mean().clamp(min=1e-12)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        self.seen = torch.empty_like(state_dict[f"{prefix}seen"])
        self.labels = torch.empty_like(state_dict[f"{prefix}labels"])
        super()._load_from_state_dict(state_dict, prefix, *args)


def small(shape: tuple[int, ...], classes: int) -> nn.Module:
    """Convolutions that halve the side down to 16, then two with a pooling each, and a linear layer
    on what is left of the places."""
    channels, side = shape[0], min(shape[1:])
    image = len(shape) == 3
    conv: type[nn.Module] = nn.Conv2d if image else nn.Conv1d
    pool: type[nn.Module] = nn.MaxPool2d if image else nn.MaxPool1d
    average: type[nn.Module] = nn.AdaptiveAvgPool2d if image else nn.AdaptiveAvgPool1d
    first, *wider = WIDTHS
    layers: list[nn.Module] = []
    while not layers or side > 16:
        stride, kernel = (2 if side > 8 else 1), (3 if layers else 5)
        layers += _block(conv(channels, first, kernel, stride, kernel // 2, bias=False), first)
        channels, side = first, -(-side // stride)
    for width in wider:
        layers += _block(conv(channels, width, 3, 1, 1, bias=False), width)
        if side > 1:
            layers.append(pool(2))
        channels, side = width, max(1, side // 2)
    places = min(side, PLACES)
    last = nn.Linear(channels * places ** (len(shape) - 1), classes)
    return nn.Sequential(*layers, average(places), nn.Flatten(), last)


def _block(conv: nn.Module, width: int) -> list[nn.Module]:
    return [conv, nn.GroupNorm(4, width), nn.ReLU()]


def learning_rate(model: str, pretrained: bool) -> float:
    return RATES["small" if model == SMALL else "pretrained" if pretrained else "timm"]


def default_size(model: str) -> int:
    """The side of images for which a model is made."""
    if model in OWN:
        return DEFAULT_SIZE
    from albu_learned.timm.model import input_size

    return input_size(model)
