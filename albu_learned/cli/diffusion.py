"""The command `fit latent-diffusion`: a diffusion model of the images of a data set."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from albu_learned import LatentDiffusion, preview
from albu_learned.artifact import PICTURE

__all__ = ["NAME", "run_fit"]

NAME = "latent-diffusion"
_SHOWN = 8  # samples in the picture


def run_fit(data: Path, out: Path, chosen: Mapping[str, Any], say: Callable[[str], object]) -> None:
    """Fits it, and draws samples.

    Args:
        data: images; see `LatentDiffusion.fit`.
        out: the folder.
        chosen: more arguments of `LatentDiffusion.fit`.
        say: tells the user.
    """
    preview.new_figure(1, 1)  # without matplotlib there is no need to begin
    try:
        with warnings.catch_warnings(record=True) as careful:
            warnings.simplefilter("always", UserWarning)
            fitted = _fitted(data, out, chosen)
    except KeyboardInterrupt:
        say(f"\nStopped. What is finished is kept in {out}: the same command goes on from here.")
        raise
    for warning in careful:
        say(f"Careful: {warning.message}")
    _draw(fitted, out / PICTURE, chosen["seed"])
    say(fitted.summary())
    say(
        f"Wrote {out}, with {PICTURE}: look at it. albu_learned.PSLDInpaint({str(out)!r}) draws "
        "from it."
    )


def _fitted(data: Path, out: Path, chosen: Mapping[str, Any]) -> LatentDiffusion:
    """The fitted model. The remedy of a wrong size is here another than in Python."""
    try:
        return LatentDiffusion.fit(data, folder=out, **chosen)
    except ValueError as error:
        if not str(error).startswith("`size`"):
            raise
        raise ValueError(f"{error} Here that is --image-size.") from error


def _draw(fitted: LatentDiffusion, path: Path, seed: int) -> None:
    made = fitted.sample(_SHOWN, generator=torch.Generator().manual_seed(seed))
    figure = preview.new_figure(1.2 * _SHOWN, 1.5)
    axes = figure.subplots(1, _SHOWN)
    for place, image in zip(axes, made, strict=True):
        preview.draw_image(place, image)
    preview.save(figure, path)
