"""The arms of a comparison, and the controls that each has to beat.

An arm is named by what it does: "recipe", a spec's file, or several with a plus between them. What
it gains may have a simpler reason, so every arm has controls, which are added where they are not
asked for:

- of a mix, label smoothing: soft labels without mixed images;
- of a warp that is fitted, the same smooth warp without a fit, its strength tuned;
- of a generator that is fitted, samples of the Gaussian of each class (`pca-gaussian`);
- of a combination, the same without its last part; and that again with as many plain real images
  as the last part changes (`dilution`), for diluting an over-strong recipe gains by itself. Where
  the last part changes every row, or stands alone, that control is plain training, which is there.

"class-vae" and "pca-gaussian" are for images alone, and not among the usual arms: a network for
each class is fitted in every cell, which takes most of its time. The share of rows that become
samples is chosen on validation images, and may be none. In "recipe + class-vae" samples stay as
they are (see PLACES in `atoms`); a spec whose ClassVAE has the stage image has them changed by the
recipe too, as a training would.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from albu_learned import checks
from albu_learned.comparison.atoms import (
    ALIASES,
    BUILT_IN,
    SMOOTH_WARP,
    Atom,
    built_in,
    dilution,
    of_entry,
    pca_gaussian,
)
from albu_learned.comparison.pipeline import Pipeline
from albu_learned.comparison.result import PLAIN, ArmFacts
from albu_learned.spec import Entry, Given, Spec, read

__all__ = ["DEFAULT", "Arm", "arms_of"]

DEFAULT: tuple[str, ...] = ("plain", "label smoothing", "recipe", "smooth warp", "theta-warp")
DEFAULT += ("mixup", "zeta-mixup")
MOST_CANDIDATES = 36  # "recipe + mixup" has as many
_FILES = (".yaml", ".yml")
_NO_IMAGES = {"series": "series are not", "detection": "images with boxes are not"}


@dataclass(frozen=True)
class Part:
    """One name of an arm: one atom, or those of a spec."""

    name: str
    atoms: tuple[Atom, ...]
    spec: Spec | None = None

    @property
    def dilutes(self) -> bool:
        return any(atom.kind == "dilution" for atom in self.atoms)

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of rows that it changes, for each strength worth trying."""
        if len(self.atoms) == 1:
            for key in ("p", "mixup"):  # the second is YOLO's name for the share that it mixes
                if key in self.atoms[0].tries:
                    return tuple(self.atoms[0].tries[key])
        shares = [atom.entry.p if atom.entry else 1.0 for atom in self.atoms]
        return (1 - math.prod(1 - share for share in shares),)


@dataclass(frozen=True)
class Arm:
    """A way to train, by which images and labels differ from plain training."""

    parts: tuple[Part, ...]
    controls: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def name(self) -> str:
        return " + ".join(part.name for part in self.parts) or PLAIN

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """In the order in which they work, each with a name of its own: "ZetaMixup 2"."""
        found = sorted((a for part in self.parts for a in part.atoms), key=lambda atom: atom.rank)
        counts: Counter[str] = Counter()
        for number, atom in enumerate(found):
            counts[atom.name] += 1
            if counts[atom.name] > 1:
                found[number] = replace(atom, name=f"{atom.name} {counts[atom.name]}")
        return tuple(found)

    @property
    def candidates(self) -> tuple[dict[str, Any], ...]:
        """Every strength that validation chooses from; the first has all defaults. Empty if there
        is nothing to choose."""
        keys, values = [], []
        for atom in self.atoms:
            for key, tried in atom.tries.items():
                twice = sum(key in other.tries for other in self.atoms) > 1
                keys.append(f"{atom.name}.{key}" if twice else key)
                values.append(tried)
        if not keys or math.prod(map(len, values)) == 1:
            return ()
        every = [dict(zip(keys, chosen, strict=True)) for chosen in product(*values)]
        return tuple(one for one in every if not any(a.same_as_idle(one) for a in self.atoms))

    @property
    def spec(self) -> Spec | None:
        """The files' settings that are not methods, such as class names."""
        return next((part.spec for part in self.parts if part.spec), None)

    def pipeline(self, strength: Mapping[str, Any], given: Given) -> Pipeline:
        assert given.num_classes is not None
        pipeline = Pipeline(given.num_classes)
        for atom in self.atoms:
            atom.add(pipeline, strength, given)
        return pipeline

    @property
    def fits(self) -> bool:
        """Whether something of it is fitted to the training images of each cell."""
        return any(atom.fits for part in self.parts for atom in part.atoms)

    def with_fits(self, change: Callable[[Entry], Entry]) -> Arm:
        """The same arm with every entry that has to be fitted changed so."""
        parts = [
            replace(part, atoms=tuple(atom.with_fit(change) for atom in part.atoms))
            for part in self.parts
        ]
        return replace(self, parts=tuple(parts))

    def facts(self) -> ArmFacts:
        about = "; ".join(atom.about for atom in self.atoms) or "images and labels as they are"
        return ArmFacts(self.name, about, self.controls, self.candidates, self.skipped)

    def described(self) -> dict[str, Any]:
        """What its results depend on."""
        atoms = [
            {
                "name": atom.name,
                "tries": {key: list(values) for key, values in atom.tries.items()},
                "entry": atom.entry and replace(atom.entry, artifact=None).as_dict(),
                "epochs": atom.entry and [atom.entry.from_epoch, atom.entry.until_epoch],
                "content": atom.content,
            }
            for atom in self.atoms
        ]
        return {"name": self.name, "atoms": atoms, "classes": self.spec and self.spec.classes}


def arms_of(
    names: Iterable[str] | None,
    specs: Sequence[str | Path],
    kind: str,
    against: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Arm, ...]:
    """The arms that are asked for, plain first, and the controls that they need.

    Args:
        names: of arms; None for the usual ones, and for each of `specs` alone and with the recipe.
        specs: files of specs, in addition.
        kind: of the data: "images", "series" or "detection".
        against: more controls, by the name of the arm: those that one has to beat.
    """
    listed = [PLAIN, *(DEFAULT if names is None else names)]
    for path in specs:
        listed += [str(path), f"recipe + {path}"]
    arms: dict[str, Arm] = {}
    for name in listed:
        _add(arms, _arm(name, kind))
    for arm in [*arms.values()]:
        for control in [] if arm.skipped else _controls(arm, kind):
            _add(arms, control)
    return _with_controls(arms, kind, against or {})


def _add(arms: dict[str, Arm], arm: Arm) -> None:
    known = arms.setdefault(arm.name, arm)
    if known.described() != arm.described():
        raise ValueError(
            f"`arms` must have names of their own, got two that are called {arm.name!r}: a spec is "
            "called by its file's name. Rename one file."
        )


def _arm(text: str, kind: str) -> Arm:
    if not isinstance(text, str) or not text.strip():
        raise TypeError(f"`arms` must be names, got {text!r}.")
    # A file's name may have a plus in it.
    pattern = r"\s\+\s" if re.search(r"\s\+\s", text) else r"\+"
    names = [text] if Path(text).is_file() else re.split(pattern, text)
    parts = [_part(name.strip(), kind) for name in names]
    arm = Arm(tuple(part for part in parts if part.name != PLAIN), skipped=_skipped(parts, kind))
    mixes = [part.name for part in arm.parts if any(atom.mixes for atom in part.atoms)]
    names = [part.name for part in arm.parts]
    if len(mixes) > 1:
        raise ValueError(f"`arms` must have one mix each, got {mixes} in {text!r}.")
    if len(set(names)) < len(names):
        raise ValueError(f"`arms` must name each part once, got {text!r}.")
    if len(arm.candidates) > MOST_CANDIDATES:
        raise ValueError(
            f"`arms` must have at most {MOST_CANDIDATES} strengths to choose from, got "
            f"{len(arm.candidates)} in {text!r}. Fix some in the spec, or list fewer under `try`."
        )
    return arm


def _part(name: str, kind: str) -> Part:
    known = ALIASES.get(name.lower(), name.lower())
    if known in BUILT_IN:
        return Part(known, built_in(known, kind))
    if not name.lower().endswith(_FILES):
        raise ValueError(
            f"`arms` must be {', '.join(BUILT_IN)}, the YAML file of a spec, or several with + "
            f"between them, got {name!r}.{checks.nearest(name, BUILT_IN)}"
        )
    spec = read(name)
    for entry in spec.at("policy"):
        raise ValueError(
            f"{entry.where}: `stage` must not be policy in a comparison: it belongs to timm's "
            "RandAugment. Leave `stage` out."
        )
    return Part(Path(name).stem, tuple(map(of_entry, spec.entries)), spec)


def _skipped(parts: Sequence[Part], kind: str) -> str:
    atoms = [atom for part in parts for atom in part.atoms]
    if kind == "detection" and any(part.name == "label smoothing" for part in parts):
        return "detectors of Ultralytics take no soft class labels"
    if kind != "images" and any(atom.fits and atom.kind == "generate" for atom in atoms):
        return f"it makes whole images of one class, which {_NO_IMAGES[kind]}"
    if kind == "detection" and any(atom.fits for atom in atoms):
        return "a fit needs images by class: fit it once, and give a spec that names its folder"
    return ""


def _controls(arm: Arm, kind: str) -> list[Arm]:
    """The arms whose gain would explain that of this one."""
    *base, last = arm.parts or (Part(PLAIN, ()),)
    controls = []
    if any(atom.mixes for atom in last.atoms) and kind != "detection":
        smoothing = Part("label smoothing", built_in("label smoothing", kind))
        if not any(part.name == smoothing.name for part in base):
            controls.append(Arm((*base, smoothing)))
    if kind != "detection" and any(atom.fits and atom.kind == "warp" for atom in last.atoms):
        controls.append(Arm((*base, Part(SMOOTH_WARP, built_in(SMOOTH_WARP, kind)))))
    for atom in last.atoms if kind == "images" else ():
        if atom.rivals_pca and atom.entry:
            stage = atom.entry.stage if base else "batch"  # alone, there is nothing before or after
            controls.append(Arm((*base, Part(*pca_gaussian(stage)))))
    if base and not last.dilutes:
        controls.insert(0, Arm(tuple(base)))
        shares = last.shares
        if shares != (1.0,):
            name = f"dilution {'/'.join(f'{share:g}' for share in shares)}"
            controls.append(Arm((*base, Part(name, (dilution(shares),)))))
    return controls


def _with_controls(
    arms: dict[str, Arm], kind: str, against: Mapping[str, Sequence[str]]
) -> tuple[Arm, ...]:
    found = {name: [c.name for c in _controls(arm, kind)] for name, arm in arms.items()}
    for name, arm in arms.items():
        own = arm.parts and any(a.entry and a.mixes for a in arm.parts[-1].atoms)
        rival = " + ".join([*(part.name for part in arm.parts[:-1]), "mixup"])
        if own and rival in arms:
            found[name].append(rival)
    for name, others in against.items():
        for other in [name, *others]:
            if other not in arms:
                raise ValueError(
                    f"`against` must name arms of the comparison, {', '.join(arms)}, got {other!r}."
                    f"{checks.nearest(other, arms)}"
                )
        found[name] += others
    return tuple(
        replace(arm, controls=tuple(dict.fromkeys(c for c in found[name] if c in arms)))
        for name, arm in arms.items()
    )
