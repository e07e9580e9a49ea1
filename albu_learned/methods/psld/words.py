"""What a model says of its fit, in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from albu_learned.artifact import About

__all__ = ["copied", "summary"]

_COPIES = 0.5  # of the distance of unseen images: nearer, and samples are copies
_POOR = 24.0  # decibels, below which what is decoded looks smeared


def copied(figures: Mapping[str, float]) -> float | None:
    """How near samples are, as a share of how near unseen images are; None if that is no copy."""
    near = _ratio(figures)
    return near if near < _COPIES else None


def summary(about: About) -> str:
    """The figures of a fit."""
    figures = about.figures
    if "psnr" not in figures:
        return "It was not fitted here: nothing is known of its images."
    return "\n".join([f"Fitted to {about.data}", _of_pixels(figures), _of_copies(figures)])


def _of_pixels(figures: Mapping[str, float]) -> str:
    line = (
        f"Images that were held out are decoded with {figures['psnr']:.1f} dB, those that were "
        f"learned from with {figures['psnr, learned from']:.1f} dB."
    )
    return line + (" That is poor: take more steps." if figures["psnr"] < _POOR else "")


def _of_copies(figures: Mapping[str, float]) -> str:
    line = (
        f"A sample is {_ratio(figures):.2f} times as far from the nearest place in the images that "
        "were learned from as held-out images are."
    )
    return line + (" It has memorised images." if copied(figures) is not None else "")


def _ratio(figures: Mapping[str, float]) -> float:
    return figures["distance to real"] / max(figures["distance between real"], 1e-12)
