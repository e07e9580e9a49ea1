"""What an artifact says of its fit: the sentence of its data, figures, all in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from albu_learned.artifact import About
from albu_learned.fitting import Sample
from albu_learned.methods.theta_warp.align import AlignReport
from albu_learned.methods.theta_warp.pairs import Pairs

if TYPE_CHECKING:
    from albu_learned.methods.theta_warp.method import ThetaWarp

__all__ = ["about_of", "summary"]

_FOREIGN = 0.9  # of the difference: more left, and little was there to be learned
_SAFE = 0.75  # of the labels: below, a warp is worth a word of caution


def about_of(
    sample: Sample,
    pairs: Pairs,
    report: AlignReport,
    warp: ThetaWarp,
    share: float | None,
    why: str,
) -> About:
    shape = sample.images.shape
    unit = "pixels" if sample.images.ndim == 4 else "steps"
    count = len(set(sample.labels.tolist()))
    notes = [
        (f"{sample.name}: " if sample.name else "")
        + f"{shape[0]} {sample.rows} of {' x '.join(map(str, shape[2:]))} {unit} in "
        + f"{count} {'class' if count == 1 else 'classes'}"
        + (f", of {sample.given} that there are." if sample.given > len(sample.images) else ".")
    ]
    if pairs.flat:
        notes.append(f"{pairs.flat} of them show nothing and were set aside.")
    if pairs.alone:
        names = ", ".join(sample.class_name(number) for number in pairs.alone)
        notes.append(f"No pair could be made in {names}.")
    if share is None:
        notes.append(f"Label retention was not measured: {why}.")
    figures = {
        "images": float(len(sample.images)),
        **report.figures(),
        **({} if share is None else {"label retention": share}),
        "rms displacement": warp.scale * warp.std,
    }
    return About(
        classes=sample.classes,
        image_size=list(shape[2:]),
        channels=shape[1],
        data=" ".join(notes),
        figures=figures,
    )


def summary(about: About) -> str:
    """The figures of a fit in plain words: how much of the difference is left, what became of
    areas, and what became of labels, always together, for each is worth nothing alone."""
    figures = about.figures
    if "residual left" not in figures:
        return "It was not fitted: its motions are of no data."
    series = len(about.image_size or ()) == 1
    what, side = ("lengths", "length") if series else ("areas", "side")
    lines = [
        f"Fitted to {about.data}",
        f"{figures['pairs']:,.0f} pairs were aligned, {figures['pairs dropped']:,.0f} of them "
        f"dropped; of the squared difference of the others {figures['residual left']:.0%} is left."
        + _of_residual(figures["residual left"]),
        f"In a typical pair the middle nine tenths of {what} come out at "
        f"{figures['area, 5 %']:.2f} to {figures['area, 95 %']:.2f} times their size, half of them "
        f"below {figures['area, 50 %']:.2f}.",
        _of_labels(figures),
        f"Points move by {figures['rms displacement']:.1%} of the {side} (root mean square).",
    ]
    return "\n".join(lines)


def _of_residual(left: float) -> str:
    if left <= _FOREIGN:
        return ""
    return (
        " That is nearly all: few of these images are motions of one another, and a warp from a "
        "prior may do as well."
    )


def _of_labels(figures: Mapping[str, float]) -> str:
    if "label retention" not in figures:
        return "Whether labels survive was not measured: look at the picture."
    share = figures["label retention"]
    line = f"A classifier that saw no warp keeps {share:.0%} of its right answers on warped ones."
    return line + (" That is little: lower `scale`." if share < _SAFE else "")
