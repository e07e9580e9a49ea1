"""The command `fit latent-diffusion`: a diffusion model of the images of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from albu_learned import LatentDiffusion, preview
from albu_learned.artifact import PICTURE
from albu_learned.cli.stoppable import Say, fitted

__all__ = ["NAME", "run_fit"]

NAME = "latent-diffusion"
_SHOWN = 8  # samples in the picture


def run_fit(data: Path, out: Path, chosen: Mapping[str, Any], say: Say) -> None:
    """Fits it, and draws samples.

    Args:
        data: images; see `LatentDiffusion.fit`.
        out: the folder.
        chosen: more arguments of `LatentDiffusion.fit`.
        say: tells the user.
    """
    preview.new_figure(1, 1)  # without matplotlib there is no need to begin
    size = ("size", "Here that is --image-size.")
    made = fitted(lambda: LatentDiffusion.fit(data, folder=out, **chosen), out, size, say)
    _draw(made, out / PICTURE, chosen["seed"])
    say(made.summary())
    say(
        f"Wrote {out}, with {PICTURE}: look at it. albu_learned.PSLDInpaint({str(out)!r}) draws "
        "from it."
    )


def _draw(model: LatentDiffusion, path: Path, seed: int) -> None:
    made = model.sample(_SHOWN, generator=torch.Generator().manual_seed(seed))
    figure = preview.new_figure(1.2 * _SHOWN, 1.5)
    axes = figure.subplots(1, _SHOWN)
    for place, image in zip(axes, made, strict=True):
        preview.draw_image(place, image)
    preview.save(figure, path)
