"""What arms are made of: each atom does one thing to a batch, and says which strengths to try."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from albu_learned.artifact import CONFIG, TENSORS
from albu_learned.comparison.pipeline import Learned, Mixup, Pipeline
from albu_learned.comparison.recipe import Recipe
from albu_learned.method import Method, methods
from albu_learned.methods.class_vae import ClassVAE
from albu_learned.methods.theta_warp import ThetaWarp
from albu_learned.methods.zeta_mixup import ZetaMixup
from albu_learned.spec import Entry, Given, Step

__all__ = ["BUILT_IN", "Atom", "built_in", "dilution", "of_entry", "pca_gaussian"]

SMOOTH_WARP = "smooth warp"
PCA_GAUSSIAN = "pca-gaussian"
Tries = Mapping[str, tuple[Any, ...]]
# Where atoms work, whatever the order of their names: an entry of a spec where its stage has it in
# a training, so that a generator of the stage image has what it makes changed by all that follows,
# and one of the stage batch has it stay as it is. "class-vae" is of the stage batch, as in its
# paper. In trials (five subsets each of six sets) its images gained 2.2 +- 0.6 points over the
# recipe alone when they stayed as they were, and -0.1 +- 0.6 when the recipe changed them too.
PLACES = {"image": 0, "recipe": 1, "sample": 2, "batch": 3, "mixup": 3, "label smoothing": 4}
PLACES["dilution"] = 5
KINDS = ("generate", "warp", "mix")  # the order within a stage
ALIASES = {
    "classvae": "class-vae",
    "pca": PCA_GAUSSIAN,
    "thetawarp": "theta-warp",
    "smoothing": "label smoothing",
    "zeta": "zeta-mixup",
    "zetamixup": "zeta-mixup",
}

_SMOOTHING: Tries = {"smoothing": (0.1, 0.05, 0.2)}
_BATCHES: Tries = {"p": (1.0, 0.5)}
_ALPHA: Tries = {"alpha": (0.2, 0.4, 1.0), **_BATCHES}
_FAMILY = {"series": {"family": {"AffineCPAB": {"cells": 10}}}}  # images have the default
_STD: Tries = {"std": (0.1, 0.05, 0.15, 0.2)}
_SHARE: Tries = {"share": (0.5, 0.25, 0.75)}
_MAGNITUDE: Tries = {"magnitude": (0.5, 0.25, 1.0)}
# How a comparison fits: to subsets, however small, and without asking a second time whether it
# helps. What a spec says of these comes first.
_FITS: dict[str, dict[str, Any]] = {"ClassVAE": {"few": "keep", "expect": False}}
_FLIP: Tries = {"flip": (False, True)}
_OF_KIND: dict[str, dict[str, Tries]] = {
    "images": {"recipe": {**_MAGNITUDE, **_FLIP}, "mixup": _ALPHA, "label smoothing": _SMOOTHING},
    "series": {"recipe": _MAGNITUDE, "mixup": _ALPHA, "label smoothing": _SMOOTHING},
    "detection": {"recipe": {}, "mixup": {"mixup": (0.15, 0.5, 1.0)}},
}
_ABOUT: dict[str, str | dict[str, str]] = {
    "label smoothing": "labels are smoothed, images stay: the control of every mix",
    "recipe": {
        "images": "rotation, shift, zoom and, where validation finds it safe, mirroring",
        "series": "noise, another amplitude, a shift in time",
        "detection": "YOLO's own augmentation at its defaults: mosaic, colour, shift, flip",
    },
    "mixup": "each row mixed with one other, and their labels",
    "zeta-mixup": "each row mixed with all others, close to itself, and their labels",
    SMOOTH_WARP: "affine and smooth warps of no data, their strength tuned",
    "theta-warp": "affine and smooth warps fitted to the training images of each cell",
    "class-vae": "a share of the rows is new images of their class, from a network for each class "
    "that is fitted to the training images of each cell",
    PCA_GAUSSIAN: "a share of the rows is new images of their class, from the Gaussian of each "
    "class in the training images of each cell: the control of every fitted generator",
    "dilution": "a share of the rows is plain real images, untouched",
}
BUILT_IN = (
    "plain",
    "label smoothing",
    "recipe",
    SMOOTH_WARP,
    "theta-warp",
    "mixup",
    "zeta-mixup",
    "class-vae",
    PCA_GAUSSIAN,
    "dilution",
)


@dataclass(frozen=True)
class Atom:
    """One thing that is done to a batch.

    Args:
        tries: the values worth trying of what sets its strength; the first is the default.
        entry: of a spec, where it comes from one.
        content: what tells the artifact or pool of that entry from others in the same folder.
    """

    name: str
    about: str
    tries: Tries = field(default_factory=dict)
    entry: Entry | None = None
    content: str = ""

    @property
    def kind(self) -> str:
        return self.entry.kind if self.entry else self.name

    @property
    def rank(self) -> tuple[int, int]:
        """By which atoms are put in their order."""
        if self.entry:
            return PLACES[self.entry.stage], KINDS.index(self.entry.kind)
        return PLACES[self.name], len(KINDS)

    @property
    def mixes(self) -> bool:
        return self.kind in ("mix", "mixup")

    @property
    def fits(self) -> bool:
        """Whether it is fitted to the training images of each cell."""
        return self.entry is not None and self.entry.fit is not None

    @property
    def rivals_pca(self) -> bool:
        """Whether it is a fitted generator, but for the Gaussian that these have to beat."""
        fit = self.entry.fit if self.entry else None
        return self.kind == "generate" and fit is not None and fit.get("network") != "pca"

    def with_fit(self, change: Callable[[Entry], Entry]) -> Atom:
        return replace(self, entry=change(self.entry)) if self.entry and self.fits else self

    def strong(self, strength: Mapping[str, Any]) -> dict[str, Any]:
        """Its own values among those of an arm, which tell atoms apart by name where they must."""
        return {
            key: strength.get(f"{self.name}.{key}", strength.get(key, values[0]))
            for key, values in self.tries.items()
        }

    def same_as_idle(self, strength: Mapping[str, Any]) -> bool:
        """Whether it does nothing, as it does with its defaults at a p of 0: one of all of these
        is enough to try."""
        own = self.strong(strength)
        return own.get("p") == 0 and any(
            own[key] != values[0] for key, values in self.tries.items() if key != "p"
        )

    def add(self, pipeline: Pipeline, strength: Mapping[str, Any], given: Given) -> None:
        """Puts it at the end of a pipeline."""
        own = self.strong(strength)
        changes = [*pipeline.changes]
        if self.entry:
            changes.append(Learned([Step(self.entry.with_strength(own), given)]))
        elif self.name == "recipe":
            changes.append(Recipe(**own))
        elif self.name == "mixup":
            changes.append(Mixup(**own, classes=pipeline.classes))
        elif self.name == "label smoothing":
            pipeline.smoothing = own["smoothing"]
        elif self.name == "dilution":
            pipeline.plain = own["share"]
        pipeline.changes = changes


def built_in(name: str, kind: str) -> tuple[Atom, ...]:
    """The atoms of an arm that needs no file, on data of a kind; plain has none."""
    name = ALIASES.get(name, name)
    if name == "plain":
        return ()
    about = _ABOUT[name]
    text = about[kind] if isinstance(about, dict) else about
    if name == "zeta-mixup":
        entry = _entry(name, ZetaMixup, "batch")
        return (Atom(name, text, {**ZetaMixup.tries, **_BATCHES}, entry),)
    if name == SMOOTH_WARP:
        entry = _entry(name, ThetaWarp, "sample", _FAMILY.get(kind))
        return (Atom(name, text, _STD, entry),)
    if name == "theta-warp":
        entry = replace(_entry(name, ThetaWarp, "sample", _FAMILY.get(kind)), fit={})
        return (Atom(name, text, dict(ThetaWarp.tries), entry),)
    if name in ("class-vae", PCA_GAUSSIAN):
        fit = {**_FITS["ClassVAE"], **({"network": "pca"} if name == PCA_GAUSSIAN else {})}
        entry = replace(_entry(name, ClassVAE, "batch"), p=ClassVAE.tries["p"][0], fit=fit)
        return (Atom(name, text, dict(ClassVAE.tries), entry),)
    tries = _SHARE if name == "dilution" else _OF_KIND[kind].get(name, {})
    return (Atom(name, text, tries),)


def pca_gaussian(stage: str) -> tuple[str, tuple[Atom, ...]]:
    """The rival of a fitted generator of this stage, and its name."""
    (atom,) = built_in(PCA_GAUSSIAN, "images")
    assert atom.entry is not None
    if stage == atom.entry.stage:
        return PCA_GAUSSIAN, (atom,)
    name = f"{PCA_GAUSSIAN} on the {stage}"
    return name, (replace(atom, name=name, entry=replace(atom.entry, stage=stage)),)


def _entry(
    arm: str, method: type[Method], stage: str, arguments: dict[str, Any] | None = None
) -> Entry:
    return Entry(
        name=method.__name__,
        kind=method.kind,
        artifact=None,
        arguments=arguments or {},
        p=1.0,
        stage=stage,
        from_epoch=0,
        until_epoch=None,
        resize=False,
        module=method.__module__,
        where=f"the arm {arm}",
    )


def dilution(shares: tuple[float, ...]) -> Atom:
    """As much of plain real images as another atom changes."""
    return Atom("dilution", str(_ABOUT["dilution"]), {"share": shares})


def of_entry(entry: Entry) -> Atom:
    """An entry of a spec. What the file says comes first among the strengths."""
    if entry.fit is not None:
        entry = replace(entry, fit={**_FITS.get(entry.name, {}), **entry.fit})
    tries = {}
    for key, values in entry.tries.items():
        own = entry.p if key == "p" else entry.value(key)
        tries[key] = (own, *(value for value in values if value != own))
    return Atom(entry.name, str(entry), tries, entry, _content(entry))


def _content(entry: Entry) -> str:
    """Of its artifact, and of the pools that its arguments name."""
    files = [Path(entry.artifact, name) for name in (CONFIG, TENSORS)] if entry.artifact else []
    wanted: Any = methods()[entry.name]
    files += [Path(entry.value(name), file) for name, file in sorted(wanted.paths.items())]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()[:16] if files else ""
