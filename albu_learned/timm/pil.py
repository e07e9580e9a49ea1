"""Learned warps and generators among the transforms of torchvision: PIL in, PIL out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from albu_learned import checks
from albu_learned.kinds import Generate, Warp
from albu_learned.method import Method, hold
from albu_learned.methods import theta_warp
from albu_learned.methods.theta_warp.making import make
from albu_learned.pstn import PosteriorWarp as Posterior
from albu_learned.timm.pictures import changed, check_picture, refuse_needs

__all__ = ["GenerateTransform", "PosteriorWarp", "ThetaWarp", "WarpTransform"]


class _Transform:
    """Changes a picture with probability p. Randomness is torch's own in the process: workers
    differ, and `torch.manual_seed` before the loader makes an epoch again."""

    method: Method

    def __init__(self, method: Method, p: float) -> None:
        refuse_needs(method, type(self).__name__)
        self.method = method
        self.p = checks.between("p", p, "[0, 1]")

    def __call__(self, img: Any) -> Any:
        check_picture(img)  # every time, lest errors come at random
        return changed(img, self.method) if torch.rand(()) < self.p else img

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.method).__name__}, p={self.p:g})"


class WarpTransform(_Transform):
    """Moves a PIL image by a learned warp: `Compose([..., WarpTransform("my_warp"), ...])`.

    Args:
        method: a `Warp` on the CPU that needs no labels, or the folder of one.
        p: the probability of applying it.
    """

    def __init__(self, method: Warp | str | os.PathLike[str], p: float = 0.5) -> None:
        super().__init__(hold(method, Warp), p)


class ThetaWarp(WarpTransform):
    """Random warps, learned or of no data: `Compose([..., ThetaWarp(std=0.05), ToTensor()])`.

    One with a distribution for each class needs labels: name it in a spec.

    Args:
        method: a fitted `ThetaWarp`, or its folder; None for smooth motions of no data.
        std: how far points of motions of no data move, the root of the mean square, in sides;
            by default 0.05.
        cells: columns and rows of cells of motions of no data; by default (4, 4).
        scale: multiplies the strength; None for the artifact's own, or 1.
        padding: what is beyond the border: "border", "zeros" or "reflection"; None likewise.
        p: the probability of applying it.

    Example:
        >>> from PIL import Image
        >>> ThetaWarp(std=0.05, p=1.0)(Image.new("RGB", (32, 24))).size
        (32, 24)
    """

    def __init__(
        self,
        method: theta_warp.ThetaWarp | str | os.PathLike[str] | None = None,
        std: float | None = None,
        cells: Sequence[int] | None = None,
        scale: float | None = None,
        padding: str | None = None,
        p: float = 0.5,
    ) -> None:
        super().__init__(make(method, std, cells, scale=scale, padding=padding), p)


class PosteriorWarp(WarpTransform):
    """The motions that a PSTN has learned: `Compose([..., PosteriorWarp("folder"), ToTensor()])`.

    Args:
        method: a `PosteriorWarp` on the CPU, or the folder of one.
        scale: multiplies the noise; None for the artifact's own.
        padding: what is beyond the border: "border", "zeros" or "reflection"; None likewise.
        p: the probability of applying it.
    """

    def __init__(
        self,
        method: Posterior | str | os.PathLike[str],
        scale: float | None = None,
        padding: str | None = None,
        p: float = 0.5,
    ) -> None:
        super().__init__(hold(method, Posterior, scale=scale, padding=padding), p)


class GenerateTransform(_Transform):
    """Gives a PIL image learned pixels.

    Args:
        method: a `Generate` on the CPU that needs no labels or boxes, or the folder of one.
        p: the probability of applying it.
        resize: fit made pixels of another size to the image; without it another size raises.
    """

    def __init__(
        self, method: Generate | str | os.PathLike[str], p: float = 0.5, resize: bool = False
    ) -> None:
        live = hold(method, Generate)
        super().__init__(live.resized() if resize else live, p)
