"""Fits a ThetaWarp to labelled images: pairs of a class are aligned, and theta is given the
covariance of what carried one image onto the other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from albu_learned import artifact, checks
from albu_learned.artifact import About
from albu_learned.batch import as_floats
from albu_learned.families import Family
from albu_learned.fitting import Checkpoint, Progress, Sample, device_of, facts_of, opened, told
from albu_learned.methods.theta_warp import distribution
from albu_learned.methods.theta_warp.align import AlignReport, align, reduced
from albu_learned.methods.theta_warp.family import Given, family_for
from albu_learned.methods.theta_warp.pairs import HOW, Pairs, choose
from albu_learned.methods.theta_warp.retention import retention
from albu_learned.methods.theta_warp.uncertainty import left_open
from albu_learned.methods.theta_warp.words import about_of
from albu_learned.parts import describe

if TYPE_CHECKING:
    from albu_learned.methods.theta_warp.method import ThetaWarp

__all__ = ["Settings", "as_unit", "fitted"]

_BLOCK = 256  # images that are floats of their full size at a time
_ASKED = 128  # pairs that are asked how sure they are
Make = Callable[..., "ThetaWarp"]


@dataclass(frozen=True)
class Settings:
    """How to fit; see `ThetaWarp.fit`."""

    pairs: str = "random"
    partners: int = 5
    per_class: bool = False
    most: int | None = 100
    seed: int = 0
    chunk: int = 256

    def __post_init__(self) -> None:
        checks.one_of("pairs", self.pairs, HOW)
        for name, least in (("partners", 1), ("seed", 0), ("chunk", 1)):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), least))
        if self.most is not None:
            most = checks.integer("most", self.most, 2, ", or None for all images of a class")
            object.__setattr__(self, "most", most)
        if not isinstance(self.per_class, bool):
            raise TypeError(f"`per_class` must be True or False, got {self.per_class!r}.")


def fitted(
    make: Make,
    sample: Sample,
    given: Given,
    how: Settings,
    folder: Path | None,
    device: torch.device | str | None,
    progress: Progress,
) -> ThetaWarp:
    """The fitted method; and, with a folder, its artifact there.

    Args:
        make: makes the method from a family, a std and the number of classes.
        sample: what it is fitted to.
        given: the family, or its cells.
        how: the settings.
        folder, device, progress: see `ThetaWarp.fit`.
    """
    family = family_for(given, sample.images.shape[1:])
    place = device_of(device)
    images = as_unit(sample)
    if folder is not None:  # what cannot be saved in the end is refused now
        artifact.check(make(family), About(), folder)
    with opened(folder, _facts(sample, family, how, place)) as store:
        pairs = _pairs(images, sample, how, store)
        family.to(place)
        theta, report = _aligned(images, pairs.rows, family, place, how, store, progress)
        if not report.kept.any():
            store.finish()
            raise ValueError(
                "`images` must have pairs that a motion can align, but none of "
                f"{len(report.kept)} could be. Check that labels belong to these images."
            )
        rows, theta = pairs.rows[report.kept], theta[report.kept]
        unsure = _unsure(images, rows, theta, family, place, store)
        warp = _with_distribution(make, family.cpu(), theta, unsure, rows, sample, how)
        share, why = retention(
            lambda batch, generator: warp(batch, generator=generator),
            images,
            sample.labels,
            sample.groups,
            how.seed,
        )
        warp.about = about_of(sample, pairs, report, warp, share, why)
        if folder is not None:
            (folder / artifact.PICTURE).unlink(missing_ok=True)  # of what is replaced now
            warp.save_pretrained(folder)
        store.finish()
    return warp


def _facts(sample: Sample, family: Family, how: Settings, place: torch.device) -> dict[str, Any]:
    """What the parts of a checkpoint depend on. The strength, the padding and whether classes are
    apart are no such things: they come after."""
    return {
        **facts_of(sample, place),
        "family": describe(family),
        "pairs": how.pairs,
        "partners": how.partners,
        "seed": how.seed,
        "chunk": how.chunk,
    }


def _pairs(images: Tensor, sample: Sample, how: Settings, store: Checkpoint) -> Pairs:
    def make() -> dict[str, Tensor]:
        found = choose(images, sample.labels, sample.groups, how.pairs, how.partners, how.seed)
        return {
            "rows": found.rows,
            "flat": torch.tensor(found.flat),
            "alone": torch.tensor(found.alone, dtype=torch.int64),
        }

    # Kept, because distances may differ in their last bit on another number of threads.
    kept = store.part("pairs", make)
    pairs = Pairs(kept["rows"], int(kept["flat"]), kept["alone"].tolist())
    names = ", ".join(sample.class_name(number) for number in pairs.alone)
    if not len(pairs.rows):
        store.finish()
        raise ValueError(
            f"`images` must have a class with two different {sample.rows} that show something, but "
            f"none has (classes {names}). Give more."
        )
    if pairs.alone:
        warnings.warn(
            f"No pair could be made in {len(pairs.alone)} of the classes ({names}), which need two "
            f"different {sample.rows}. What is learned of the others goes for them too.",
            stacklevel=5,
        )
    return pairs


def _aligned(
    images: Tensor,
    rows: Tensor,
    family: Family,
    place: torch.device,
    how: Settings,
    store: Checkpoint,
    progress: Progress,
) -> tuple[Tensor, AlignReport]:
    """theta of every pair, chunk by chunk; chunks are alike in size, for one of a few pairs would
    know little of the noise that its pairs have in common."""
    chunks = rows.tensor_split(math.ceil(len(rows) / how.chunk))
    names = [f"chunk{number:05d}" for number in range(len(chunks))]
    done = sum(len(part) for name, part in zip(names, chunks, strict=True) if store.has(name))
    thetas, reports = [], []
    _ = family.smooth  # kept by the family, and so by the copy that `align` makes for every chunk
    with told(progress, done, len(rows), "aligning", "pair") as tell:
        for name, part in zip(names, chunks, strict=True):

            def make(part: Tensor = part) -> dict[str, Tensor]:
                source, target = (images[side].to(place) for side in part.unbind(dim=1))
                theta, report = align(source, target, family, chunk=len(part))
                made = {f.name: getattr(report, f.name) for f in fields(AlignReport)}
                return {key: t.detach().cpu() for key, t in {"theta": theta, **made}.items()}

            new = not store.has(name)
            kept = store.part(name, make)
            if new:
                tell(len(part))
            thetas.append(kept.pop("theta"))
            reports.append(AlignReport(**kept))
    return torch.cat(thetas), AlignReport.join(reports)


def _unsure(
    images: Tensor,
    rows: Tensor,
    theta: Tensor,
    family: Family,
    place: torch.device,
    store: Checkpoint,
) -> Tensor:
    """The covariance that alignment leaves open; some pairs, in random order, speak for all."""

    def make() -> dict[str, Tensor]:
        source, target = (images[side].to(place) for side in rows[:_ASKED].unbind(dim=1))
        return {"unsure": left_open(source, target, theta[:_ASKED].to(place), family).cpu()}

    return store.part("unsure", make)["unsure"]


def _with_distribution(
    make: Make,
    family: Family,
    theta: Tensor,
    unsure: Tensor,
    rows: Tensor,
    sample: Sample,
    how: Settings,
) -> ThetaWarp:
    count = sample.count if how.per_class else 1
    labels = sample.labels[rows[:, 0]]
    factor, std = distribution.fit(theta, family, unsure, labels, count)
    warp = make(family, std=std, distributions=count)
    with torch.no_grad():
        warp.factor.copy_(factor)
    warp.measure()
    return warp.eval()


def as_unit(sample: Sample) -> Tensor:
    """Rows to be compared: images as floats in [0, 1], no larger than they are aligned; series
    scaled by one number for all, for they come in any unit."""
    if sample.images.ndim == 4:
        starts = range(0, len(sample.images), _BLOCK)
        return torch.cat([reduced(as_floats(sample.images[i : i + _BLOCK])) for i in starts])
    series = sample.images
    return (series - series.mean()) / (4 * series.std(correction=0)).clamp(min=1e-12)
