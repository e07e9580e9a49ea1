"""What an artifact says of its fit: the sentence of its data, figures, all in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from albu_learned.artifact import About

__all__ = ["summary"]

_COPIES = 0.5  # of the distance between real images: nearer, and samples are copies
_FEW, _LITTLE = 20, 0.005  # held-out images, and nats, that say nothing


def summary(about: About) -> str:
    """The figures of a fit in plain words."""
    figures = about.figures
    if "held-out loss" not in figures and "distance to real" not in figures:
        return "It was not fitted: its samples mean nothing."
    lines = [f"Fitted to {about.data}", _of_copies(figures), _of_labels(figures), _of_gain(figures)]
    return "\n".join(line for line in lines if line)


def _of_copies(figures: Mapping[str, float]) -> str:
    if "distance between real" not in figures:
        return ""
    if figures["distance between real"] == 0:
        return "Every image has its equal in its class: whether samples are copies cannot be told."
    ratio = figures["distance to real"] / figures["distance between real"]
    line = (
        f"A sample is {ratio:.2f} times as far from the nearest image that was learned from as "
        "that is from the next of its class."
    )
    return line + (" That is near: look whether samples are copies." if ratio < _COPIES else "")


def _of_labels(figures: Mapping[str, float]) -> str:
    return (
        f"Of the samples {figures['doubtful']:.0%} are doubtful: another class explains them "
        "better, or their own worse than nineteen of twenty held-out images, where there are any. "
        "`reject=0.05` draws such again."
    )


def _of_gain(figures: Mapping[str, float]) -> str:
    if "gain" not in figures:
        return "Whether samples help was not asked: `albu-learned compare` tells."
    gain, error, share = figures["gain"], figures["gain, error"], figures["share"]
    start = (
        f"With {share:.0%} of samples in a batch a small network's log-likelihood on "
        f"{figures['held out']:.0f} held-out images changes by {gain:+.3f} ± {error:.3f} nats, its "
        f"accuracy by {100 * figures['gain, accuracy']:+.1f} points: "
    )
    clear = abs(gain) > max(2 * error, _LITTLE) and figures["held out"] >= _FEW
    if clear and gain > 0:
        return start + "samples are expected to help."
    if clear:
        return start + "samples are expected to harm. Use fewer, or none."
    return start + "too little to expect anything. `albu-learned compare` tells more."
