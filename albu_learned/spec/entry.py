"""The one YAML file that every training hook reads: which methods, with what, when and where.

    classes: [melanoma, naevus]      # only where a host does not know its class names; in its order
    modules: [my_package.methods]    # only for methods of your own: imported first
    methods:                         # applied stage by stage, within a stage in this order
      - artifact: fitted/my_warp     # what save_pretrained wrote; relative to this file
        stage: sample
        p: 0.5                       # per image; of a mix, per batch
        until_epoch: 90              # the first epoch without it; epochs count from 0
      - method: ZetaMixup            # or a method by name, with its own arguments
        gamma: 4.0
        try: {gamma: [2.8, 4, 6]}    # what `compare` chooses from; a training takes what is above
      - method: PSLDPool
        pool: more_cells             # a path, relative to this file as well
      - method: ThetaWarp
        family: {CPAB: {cells: [3, 3]}}  # a part of a method, with its own arguments
        fit: {partners: 5}           # in `compare` alone: fitted anew to the training images of
                                     # every cell, with these arguments of its `fit`

Stages: "image", the raw image as it was read (in YOLO before mosaic, partners included); "sample",
one training sample before it becomes a tensor; "policy", an operation of RandAugment in timm;
"batch", on the device. By default generators work on images (a ClassVAE on batches: what it makes
is better left as it is), warps on samples, mixes on batches. p is by default what the method would
try first, such as 0.4 of a ClassVAE; else 0.5, of a mix 1.

A spec is trusted like the training script beside it: `modules` are imported. Artifacts are not:
nothing in them is executed.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from albu_learned import checks
from albu_learned.data import Data
from albu_learned.kinds import Generate, Mix
from albu_learned.method import Method, load, methods
from albu_learned.parts import build, registry

__all__ = ["IN_SCRIPT", "STAGES", "Entry", "Spec", "parameters"]

STAGES = ("image", "sample", "policy", "batch")
COMMON = ("p", "stage", "from_epoch", "until_epoch")
IN_SCRIPT = "# Defined in a script, not in a module: "  # begins a spec that others cannot read
_KNOWN = ("albu_learned", "__main__", "")  # imported anyhow, or not to be imported


@dataclass(frozen=True)
class Entry:
    """One method of a spec: plain values, so that it can travel to other processes."""

    name: str
    kind: str
    artifact: str | None
    arguments: dict[str, Any]  # of an artifact: those that differ from what it stores
    p: float
    stage: str
    from_epoch: int
    until_epoch: int | None
    resize: bool
    module: str  # where the method's class is defined: other processes import it
    where: str  # file and line, for messages
    tries: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # strengths, for a comparison
    fit: dict[str, Any] | None = None  # arguments of `fit`: a comparison fits it anew in every cell
    fitted: Method | None = field(default=None, repr=False, compare=False)  # what came of that

    def fit_to(self, data: Data, **others: Any) -> Entry:
        """The same entry with its method fitted to open data, as on the command line."""
        wanted: Any = self._class()
        return replace(self, fitted=wanted.fit(data, progress=False, **others, **self._how()))

    def unfitted(self, shape: Sequence[int] | None = None, classes: int | None = None) -> Entry:
        """The same entry with its method as it is before a fit to rows of this shape and so many
        classes, to try what it does. What `fit` is given is checked where the method has a class
        method `unfitted`."""
        wanted: Any = self._class()
        try:
            if not hasattr(wanted, "unfitted"):
                return replace(self, fitted=self._made(wanted, None))
            return replace(self, fitted=wanted.unfitted(shape, classes, **self._how()).eval())
        except (ValueError, TypeError) as error:
            raise type(error)(f"{self.where}: {error}") from error

    def _how(self) -> dict[str, Any]:
        return _parts({**self.arguments, **(self.fit or {})})

    def with_strength(self, strength: Mapping[str, Any]) -> Entry:
        """The same entry with another p, or other arguments of its method."""
        arguments = {**self.arguments, **{k: v for k, v in strength.items() if k != "p"}}
        return replace(self, arguments=arguments, p=strength.get("p", self.p))

    def value(self, argument: str) -> Any:
        """What an argument of the method is, be it written in the spec, stored or a default."""
        awaits_fit = self.fit is not None and self.fitted is None
        entry = self.unfitted() if awaits_fit else self
        return entry.build().arguments()[argument]

    def active(self, epoch: int) -> bool:
        """Whether it is used in an epoch; the first is 0."""
        return self.from_epoch <= epoch and (self.until_epoch is None or epoch < self.until_epoch)

    @property
    def limited(self) -> bool:
        """Whether there may be epochs without it."""
        return self.from_epoch > 0 or self.until_epoch is not None

    def build(self, num_classes: int | None = None) -> Method:
        """The method, for a host that knows how many classes there are, or does not say."""
        try:
            wanted = self._class()
            if self.fitted is not None:
                return self.fitted.with_arguments(**_parts(self.arguments))
            return self._fitted(num_classes) if self.artifact else self._made(wanted, num_classes)
        except (ValueError, TypeError, OSError) as error:
            raise type(error)(f"{self.where}: {error}") from error

    def _class(self) -> type[Method]:
        if self.name not in methods() and self.module != "__main__":
            importlib.import_module(self.module)
        if self.name not in methods():
            raise ValueError(
                f"{self.name} is defined in the script {self.module!r}, which this process has not "
                "run. Define it in a module of its own, and import that in the script."
            )
        wanted = methods()[self.name]
        assert issubclass(wanted, Method)
        return wanted

    def _made(self, wanted: type[Method], num_classes: int | None) -> Method:
        arguments = _parts(self.arguments)
        if num_classes is not None and "num_classes" in parameters(wanted):
            given = arguments.setdefault("num_classes", num_classes)
            _same_count(given, num_classes)
        return wanted(**arguments).eval()

    def _fitted(self, num_classes: int | None) -> Method:
        fitted = load(self.artifact or "")
        if self.arguments:
            fitted = fitted.with_arguments(**self.arguments)
        if num_classes is not None and isinstance(fitted, Mix):
            if fitted.num_classes is None:
                fitted.num_classes = num_classes
            _same_count(fitted.num_classes, num_classes)
        return fitted.resized() if self.resize and isinstance(fitted, Generate) else fitted

    def as_dict(self) -> dict[str, Any]:
        """The keys and values of the file, in full."""
        what = {"artifact": self.artifact} if self.artifact else {"method": self.name}
        asked = ("stage",) if self.stage == "policy" else COMMON
        how = {key: getattr(self, key) for key in asked if getattr(self, key) is not None}
        resize = {"resize": True} if self.artifact and self.resize else {}
        tries = {"try": {k: list(v) for k, v in self.tries.items()}} if self.tries else {}
        fit = {} if self.fit is None else {"fit": self.fit}
        return {**what, **self.arguments, **fit, **how, **resize, **tries}

    def __str__(self) -> str:
        epochs = ""
        if self.limited:
            last = "" if self.until_epoch is None else self.until_epoch - 1
            epochs = f", epochs {self.from_epoch}-{last}"
        given = ", ".join(f"{key}={value}" for key, value in self.arguments.items())
        given = f"({given})" if given else ""
        given += "" if self.fit is None else ", fitted to the training images of each cell,"
        how = "" if self.stage == "policy" else f" p={self.p:g}"
        return f"{self.name}{given} on the {self.stage}{how}{epochs}"


@dataclass(frozen=True)
class Spec:
    """The methods of a training, in the order in which they are applied."""

    entries: tuple[Entry, ...]
    classes: list[str] | None = None
    modules: list[str] = field(default_factory=list)
    path: str = ""

    def __str__(self) -> str:
        return "; ".join(map(str, self.entries))

    def at(self, *stages: str) -> tuple[Entry, ...]:
        """The entries of these stages."""
        return tuple(entry for entry in self.entries if entry.stage in stages)

    @property
    def mixes(self) -> tuple[Entry, ...]:
        """The entries that make labels soft."""
        return tuple(entry for entry in self.entries if entry.kind == "mix")

    def dump(self) -> str:
        """The same spec as YAML that can stand anywhere: artifacts have absolute paths, and the
        modules of all methods are named, whoever has imported them here."""
        listed = [entry.as_dict() for entry in self.entries]
        own = [e.module for e in self.entries if e.module.split(".")[0] not in _KNOWN]
        modules = list(dict.fromkeys([*self.modules, *own]))
        top = {"classes": self.classes, "modules": modules, "methods": listed}
        text = str(yaml.safe_dump({k: v for k, v in top.items() if v}, sort_keys=False))
        scripted = sorted({entry.name for entry in self.entries if entry.module == "__main__"})
        return f"{IN_SCRIPT}{', '.join(scripted)}\n{text}" if scripted else text


def parameters(wanted: type) -> tuple[str, ...]:
    """The names of the constructor's arguments."""
    found = inspect.signature(wanted.__init__).parameters  # type: ignore[misc]
    return tuple(name for name in found if name != "self")


def _parts(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _part(value, key) for key, value in arguments.items()}


def _part(value: Any, key: str) -> Any:
    """A mapping of one capital name is the part of that name; anything else is itself."""
    name = next(iter(value), None) if isinstance(value, Mapping) and len(value) == 1 else None
    if not isinstance(name, str) or not name[:1].isupper():
        return value
    arguments = value[name] or {}
    if not isinstance(arguments, Mapping):
        raise ValueError(
            f"`{key}` must give {name} its arguments as `key: value`, got {arguments!r}. Write "
            f"{{{name}: {{...}}}}."
        )
    known = parameters(registry()[name]) if name in registry() else ()
    if not known:
        near = checks.nearest(name, registry())
        raise ValueError(f"`{key}` must name a part that is known, got {name}.{near}")
    for argument in arguments:
        if argument not in known:
            raise ValueError(
                f"`{argument}` is not an argument of {name}.{checks.nearest(argument, known)} "
                f"Known: {', '.join(known)}."
            )
    inner = _parts(arguments)
    return build({"type": name, "arguments": inner}, f"`{key}`")


def _same_count(given: Any, num_classes: int) -> None:
    if given != num_classes:
        raise ValueError(
            f"`num_classes` must be {num_classes}, as your data has it, got {given}. Leave it out."
        )
