"""Reads a spec, and says of every mistake the file, the line, the key and the nearest right key."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from albu_learned import artifact, checks
from albu_learned.kinds import Generate
from albu_learned.method import Method, methods
from albu_learned.spec.document import Document
from albu_learned.spec.entry import COMMON, STAGES, Entry, Spec, parameters

__all__ = ["VARIABLE", "as_spec", "of_environment", "read"]

VARIABLE = "ALBU_LEARNED"  # of the environment: the path of a spec
_ORDER = ("generate", "warp", "mix")
_DEFAULTS = {"generate": ("image", 0.5), "warp": ("sample", 0.5), "mix": ("batch", 1.0)}
_TOP = ("methods", "classes", "modules")
_SET_BY_COMPARISON = {"images", "labels", "classes", "seed", "progress", "folder", "groups"}
_SET_BY_COMPARISON |= {"device"}


def read(path: str | os.PathLike[str]) -> Spec:
    """The spec in a file, checked: every key, every value, the type of every artifact."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"`spec` must be the path of a YAML file, got {type(path).__name__}.")
    return _Reader(Path(path)).spec()


def as_spec(given: Spec | str | os.PathLike[str]) -> Spec:
    """A spec, or the one in a file."""
    return given if isinstance(given, Spec) else read(given)


def of_environment() -> Spec | None:
    """The spec that the environment names, if it does."""
    path = os.environ.get(VARIABLE)
    return read(path) if path else None


class _Reader(Document):
    """What a file means."""

    def spec(self) -> Spec:
        if self.root is None:
            raise ValueError(f"{self.path}: the spec must list `methods:`, got an empty file.")
        top = self.mapping(self.root, "a spec", _TOP)
        if "methods" not in top:
            self.fail(self.root, "a spec must have the key `methods`, the list of them.")
        names = {key: self.names(top[key], key) for key in ("classes", "modules") if key in top}
        for module in names.get("modules", []):
            self._import(module, top["modules"])
        listed = top["methods"]
        if not isinstance(listed, yaml.SequenceNode) or not listed.value:
            self.fail(listed, "`methods` must be a list of at least one method: begin it with `-`.")
        entries = [(node, self._entry(node)) for node in listed.value]
        self._check_order(entries)
        ordered = sorted((entry for _, entry in entries), key=lambda e: STAGES.index(e.stage))
        return Spec(tuple(ordered), names.get("classes"), names.get("modules", []), str(self.path))

    def _entry(self, node: yaml.Node) -> Entry:
        keys = self.mapping(node, "a method of the list")
        if ("method" in keys) == ("artifact" in keys):
            self.fail(node, "each method must have one of the keys `method` and `artifact`.")
        made = "method" in keys
        name = self._method_name(keys["method"]) if made else self._artifact_type(keys["artifact"])
        wanted = methods()[name]
        assert issubclass(wanted, Method)
        if made and wanted.made_by:
            self.fail(
                keys["method"],
                f"`method` must not be {name}, which {wanted.made_by} makes: save what that gives "
                "with save_pretrained, and name its folder as `artifact`.",
            )
        known = (*COMMON, *(parameters(wanted) if made else _resizable(wanted)))
        fits = ("fit",) if made and hasattr(wanted, "fit") else ()
        self._check_known(keys, name, ("method" if made else "artifact", *known, "try", *fits))
        for key in sorted(wanted.paths.keys() - keys.keys()) if made else ():
            self.fail(keys["method"], f"{name} must have the key `{key}`, the path of a folder.")
        if "fit" in keys:
            self._check_fit(keys, wanted)
        stage, p = _DEFAULTS[wanted.kind]
        stage = getattr(wanted, "stage", stage)
        p = (wanted.tries.get("p") or (p,))[0]  # what a method would try first, if it has a say
        values = {key: self.value(keys[key]) for key in known if key in keys}
        values |= {key: str(self._folder(keys[key], key)) for key in wanted.paths if key in keys}
        stage = self._stage(keys, wanted, values.pop("stage", stage))
        entry = Entry(
            name=name,
            kind=wanted.kind,
            artifact=None if made else str(self._folder(keys["artifact"])),
            p=self.checked(keys, "p", checks.between, values.pop("p", p), "[0, 1]"),
            stage=stage,
            from_epoch=self._epoch(keys, "from_epoch", values.pop("from_epoch", 0), 0) or 0,
            until_epoch=self._epoch(keys, "until_epoch", values.pop("until_epoch", None), 1),
            resize=self._yes(keys, values.get("resize", False)),
            arguments=values if made else {},
            module=wanted.__module__,
            where=self.at(node),
            tries=self._tries(keys, wanted),
            fit=self._fit(keys["fit"], wanted) if "fit" in keys else None,
        )
        if entry.until_epoch is not None and entry.until_epoch <= entry.from_epoch:
            rule = f"`until_epoch` must be greater than from_epoch={entry.from_epoch}"
            self.fail(keys["until_epoch"], f"{rule}, got {entry.until_epoch}.")
        # Arguments are checked now, not in the middle of a training.
        tried = entry
        if entry.fit is not None:
            with self._placing(entry, {**keys, **self.mapping(keys["fit"], "`fit`")}):
                tried = entry.unfitted()
        elif made:
            with self._placing(entry, keys):
                entry.build()
        for key, values_ in entry.tries.items():
            for value in values_:
                self._try(tried, keys.get("try", node), key, value)
        return entry

    @contextmanager
    def _placing(self, entry: Entry, keys: dict[str, yaml.Node]) -> Iterator[None]:
        """An error about the entry that begins with one of its keys gets the line of that."""
        try:
            yield
        except (ValueError, TypeError, OSError) as error:
            message = str(error).removeprefix(f"{entry.where}: ")
            blamed = next((n for k, n in keys.items() if message.startswith(f"`{k}`")), None)
            if blamed is None:
                raise
            raise type(error)(f"{self.at(blamed)}: {message}") from error

    def _check_fit(self, keys: dict[str, yaml.Node], wanted: type[Method]) -> None:
        """What the fit finds out cannot be given; what it takes can, in one place."""
        inside = self.mapping(keys["fit"], "`fit`")
        for name in parameters(wanted):
            if name in keys and (name not in _fit_arguments(wanted) or name in inside):
                self.fail(keys[name], f"`{name}` must not stand beside `fit`, or must stand once.")
            if name in inside and name in wanted.tries:
                self.fail(inside[name], f"`{name}` must stand beside `fit`, not in it.")

    def _fit(self, node: yaml.Node, wanted: type[Method]) -> dict[str, Any]:
        """The arguments of a fit, but for the data and what a comparison sets itself."""
        known = _fit_arguments(wanted)
        return {key: self.value(value) for key, value in self.mapping(node, "`fit`", known).items()}

    def _tries(self, keys: dict[str, yaml.Node], wanted: type[Method]) -> dict[str, Any]:
        """The strengths that are listed under `try`; else those that the method knows for the
        arguments that are left to it."""
        if "try" not in keys:
            return {key: values for key, values in wanted.tries.items() if key not in keys}
        allowed = ("p", *parameters(wanted))
        nodes = self.mapping(keys["try"], "`try`", allowed)
        found = {key: self.value(node) for key, node in nodes.items()}
        for key, values in found.items():
            if not isinstance(values, list) or not values:
                self.fail(nodes[key], f"`try` must list values of `{key}`, got {values!r}.")
        return {key: tuple(values) for key, values in found.items()}

    def _try(self, entry: Entry, node: yaml.Node, key: str, value: Any) -> None:
        if key == "p":
            self.checked({"p": node}, "p", checks.between, value, "[0, 1]")
        with self._placing(entry, {key: node}):
            entry.with_strength({key: value}).build()

    def _method_name(self, node: yaml.Node) -> str:
        name, known = self.value(node), methods()
        if isinstance(name, str) and name in known:
            return name
        self.fail(
            node,
            f"`method` must be one of {', '.join(known)}, got {name!r}."
            f"{checks.nearest(name, known)} A method of your own is known once its module is named "
            "in `modules`.",
        )

    def _folder(self, node: yaml.Node, key: str = "artifact") -> Path:
        given = self.value(node)
        if not isinstance(given, str) or not given:
            self.fail(node, f"`{key}` must be the folder of one, got {given!r}.")
        return (self.path.parent / Path(given).expanduser()).resolve()

    def _artifact_type(self, node: yaml.Node) -> str:
        try:
            return artifact.type_of(self._folder(node), Method)
        except (ValueError, TypeError, OSError) as error:
            raise type(error)(f"{self.at(node)}: `artifact`: {error}") from None

    def _stage(self, keys: dict[str, yaml.Node], wanted: type[Method], stage: Any) -> str:
        kind = wanted.kind
        if stage not in STAGES:
            near = checks.nearest(stage, STAGES)
            rule = f"`stage` must be one of {', '.join(STAGES)}, got {stage!r}.{near}"
            self.fail(keys["stage"], rule)
        if wanted.stages and stage not in wanted.stages:
            self.fail(
                keys["stage"],
                f"`stage` of {wanted.__name__} must be {' or '.join(wanted.stages)}, got {stage}: "
                "it knows images as they were read.",
            )
        if kind == "mix" and stage != "batch":
            self.fail(keys["stage"], f"`stage` of a mix must be batch, got {stage}: it mixes rows.")
        if stage == "policy":
            if kind != "warp":
                self.fail(
                    keys["stage"], f"`stage` policy is for warps, got it for a {kind} method."
                )
            for key in ("p", "from_epoch", "until_epoch"):
                if key in keys:
                    self.fail(
                        keys[key], f"`{key}` must be left out of stage policy: RandAugment decides."
                    )
        return str(stage)

    def _epoch(self, keys: dict[str, yaml.Node], key: str, value: Any, least: int) -> int | None:
        if value is None:
            return None
        return int(self.checked(keys, key, checks.integer, value, least))

    def _yes(self, keys: dict[str, yaml.Node], value: Any) -> bool:
        if not isinstance(value, bool):
            self.fail(keys["resize"], f"`resize` must be true or false, got {value!r}.")
        return value

    def _check_known(self, keys: dict[str, yaml.Node], name: str, known: Sequence[str]) -> None:
        for key, node in keys.items():
            if key in known:
                continue
            why = ""
            if "artifact" in keys and key in parameters(methods()[name]):
                why = " An artifact stores its own arguments."
            self.fail(
                node,
                f"`{key}` is not a key of {name}.{checks.nearest(key, known)}{why} "
                f"Known: {', '.join(known)}.",
            )

    def _check_order(self, entries: list[tuple[yaml.Node, Entry]]) -> None:
        """Within a stage generators before warps before mixes, and nothing after a mix; and no two
        mixes at a time. After the warps of an earlier stage a generator may work: what it makes is
        then left as it is."""
        ordered = sorted(entries, key=lambda pair: STAGES.index(pair[1].stage))
        for (_, before), (node, after) in pairwise(ordered):
            later = before.kind == "warp" and before.stage != after.stage
            if _ORDER.index(before.kind) > _ORDER.index(after.kind) and not later:
                self.fail(
                    node,
                    f"{after.name} (a {after.kind} method, stage {after.stage}) must "
                    f"be applied before {before.name} (a {before.kind} method, stage "
                    f"{before.stage}): first generators, then warps, then mixes.",
                )
        mixes = [(node, entry) for node, entry in entries if entry.kind == "mix"]
        for i, (node, entry) in enumerate(mixes):
            if any(_overlap(entry, other) for _, other in mixes[:i]):
                self.fail(
                    node,
                    "only one mix may be used in an epoch. Give them epochs of their "
                    "own with `from_epoch` and `until_epoch`.",
                )

    def _import(self, module: str, node: yaml.Node) -> None:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ImportError(
                f"{self.at(node)}: `modules` must be importable Python modules, but {module!r} is "
                f"not: {error}. Install it, or run from its folder."
            ) from error


def _fit_arguments(wanted: type[Method]) -> list[str]:
    fit: Any = getattr(wanted, "fit")  # noqa: B009  # not every method has one
    return [name for name in inspect.signature(fit).parameters if name not in _SET_BY_COMPARISON]


def _resizable(wanted: type) -> tuple[str, ...]:
    return ("resize",) if issubclass(wanted, Generate) else ()


def _overlap(one: Entry, other: Entry) -> bool:
    first, second = sorted([one, other], key=lambda entry: entry.from_epoch)
    return first.until_epoch is None or second.from_epoch < first.until_epoch
