"""Layers that stand for many networks of one shape: each has its own weights, all work at once.

Values are (rows, networks, ...): row i of network k meets nothing of another network. Small
networks cost mostly overhead, so ten of them at once take little longer than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "Convs",
    "Denses",
    "Many",
    "Norms",
    "Shape",
    "Shuffle",
    "UpConvs",
    "Upsample",
    "Which",
    "run",
]

Which = Tensor | slice | None  # networks by number; all of them
_MEMBERS = 4  # channels of a group that are normalised together, at most so many groups


class Many(nn.Module):
    """Weights (networks, ...) and biases (networks, outputs)."""

    def __init__(self, count: int, sizes: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count, *sizes))
        self.bias = nn.Parameter(torch.zeros(count, outputs))

    @torch.no_grad()
    def begin(self, generators: Sequence[torch.Generator]) -> None:
        """First weights, each network's by its own generator, so that they do not depend on how
        many others there are: uniform, of deviation one over the root of the inputs."""
        bound = math.sqrt(3 / self._inputs())
        for weight, generator in zip(self.weight, generators, strict=True):
            # Drawn where the generator is, so that every device begins with the same bits.
            drawn = torch.empty(weight.shape, device=generator.device, dtype=torch.float32)
            weight.copy_(drawn.uniform_(-bound, bound, generator=generator))
        self.bias.zero_()

    def _inputs(self) -> int:
        return self.weight[0, 0].numel()

    def of(self, which: Which) -> tuple[Tensor, Tensor]:
        """Weights and biases of these networks, or of all."""
        if which is None:
            return self.weight, self.bias
        return self.weight[which], self.bias[which]

    def forward(self, values: Tensor, which: Which = None) -> Tensor:
        raise NotImplementedError


class Denses(Many):
    """Linear layers: (B, G, inputs) to (B, G, outputs)."""

    def __init__(self, count: int, inputs: int, outputs: int) -> None:
        # Inputs first: so gradients come as weights lie, and need not be turned.
        super().__init__(count, (inputs, outputs), outputs)

    def _inputs(self) -> int:
        return self.weight.shape[1]

    def forward(self, values: Tensor, which: Which = None) -> Tensor:
        weight, bias = self.of(which)
        return torch.baddbmm(bias[:, None], values.transpose(0, 1), weight).transpose(0, 1)


class Convs(Many):
    """Convolutions: (B, G, inputs, H, W) to (B, G, outputs, H', W').

    Args:
        padding: on the left, the right, above and below; None for half of the kernel.
    """

    def __init__(
        self,
        count: int,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        padding: tuple[int, int, int, int] | None = None,
    ) -> None:
        super().__init__(count, (outputs, inputs, kernel, kernel), outputs)
        self.stride = stride
        self.around = kernel // 2 if padding is None else 0
        self.padding = padding

    def forward(self, values: Tensor, which: Which = None) -> Tensor:
        weight, bias = self.of(which)
        if self.padding is not None:
            values = F.pad(values, self.padding)
        made = F.conv2d(
            values.flatten(1, 2),
            weight.flatten(0, 1),
            bias.flatten(),
            self.stride,
            self.around,
            groups=len(weight),
        )
        return _apart(made, len(weight))


class UpConvs(Many):
    """Transposed convolutions of stride 2 without padding: N pixels become 2 N + kernel - 2."""

    def __init__(self, count: int, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(count, (inputs, outputs, kernel, kernel), outputs)

    def _inputs(self) -> int:
        return self.weight[0, :, 0].numel()

    def forward(self, values: Tensor, which: Which = None) -> Tensor:
        weight, bias = self.of(which)
        made = F.conv_transpose2d(
            values.flatten(1, 2), weight.flatten(0, 1), bias.flatten(), 2, groups=len(weight)
        )
        return _apart(made, len(weight))


class Norms(Many):
    """Group normalisation, of each row of each network alone."""

    def __init__(self, count: int, channels: int) -> None:
        super().__init__(count, (channels,), channels)
        self.groups = math.gcd(_MEMBERS, channels)

    @torch.no_grad()
    def begin(self, generators: Sequence[torch.Generator]) -> None:
        self.weight.fill_(1)
        self.bias.zero_()

    def forward(self, values: Tensor, which: Which = None) -> Tensor:
        weight, bias = self.of(which)
        made = F.group_norm(
            values.flatten(1, 2), len(weight) * self.groups, weight.flatten(), bias.flatten()
        )
        return _apart(made, len(weight))


class Shuffle(nn.Module):
    """Four channels at half of a size in pixels become one at that size."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, values: Tensor) -> Tensor:
        height, width = self.size
        made: Tensor = F.pixel_shuffle(values, 2)[..., :height, :width]
        return made


class Upsample(nn.Module):
    """To a size in pixels, nearest neighbours."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, values: Tensor) -> Tensor:
        made = F.interpolate(values.flatten(1, 2), self.size)
        return _apart(made, values.shape[1])


class Shape(nn.Module):
    """(B, G, ...) with the rest in another shape."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, values: Tensor) -> Tensor:
        return values.reshape(*values.shape[:2], *self.sizes)


def _apart(values: Tensor, networks: int) -> Tensor:
    """(B, G * channels, ...) as (B, G, channels, ...)."""
    return values.reshape(len(values), networks, -1, *values.shape[2:])


def run(layers: nn.Sequential, values: Tensor, which: Which = None) -> Tensor:
    """Values through the layers of all networks, or of those that are named."""
    for layer in layers:
        values = layer(values, which) if isinstance(layer, Many) else layer(values)
    return values
