"""Ultralytics' own command line with the methods of a spec: `albu-learned yolo train spec=...`.

The arguments are those of `yolo`, plus `spec`. The hook is put among the host's default callbacks,
which every model copies that is made while the command runs. Where the arguments were not read as
those of a training, a refusal is put there: should the host train all the same, it stops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ultralytics import cfg
from ultralytics.utils import remove_colorstr

from albu_learned.spec import Spec, as_spec, of_environment
from albu_learned.ultralytics import find
from albu_learned.ultralytics.hook import Callbacks, Hook
from albu_learned.ultralytics.host import callbacks

__all__ = ["parse", "run"]

# Commands that are no mode, after which the host reads no further; it shortens some, and takes
# dashes before them.
SPECIAL = (
    "checks",
    "version",
    "settings",
    "cfg",
    "login",
    "logout",
    "copy-cfg",
    "solutions",
    "help",
)
NEEDED = (
    "`spec` must be given to train: spec=augment.yaml. To train without one, use the command "
    "`yolo`."
)


def parse(arguments: Sequence[str], spec: str | None = None) -> tuple[list[str], Spec | None]:
    """The arguments that are Ultralytics' own, and the spec, which a training must have.

    Args:
        arguments: what would follow `yolo`, with `spec=...` among them or not.
        spec: the YAML file of the methods, if it was given in another way.
    """
    rest = []
    for each in cfg.merge_equals_args(list(arguments)):
        key, _, value = each.partition("=")
        if key.lstrip("-") == "spec" and value:
            if spec is not None:
                raise ValueError(f"`spec` must be given once, got {spec!r} and {value!r}.")
            spec = value
        else:
            rest.append(each)
    return rest, _spec(rest, spec)


def run(arguments: Sequence[str], spec: Spec | None) -> None:
    """Runs a command of Ultralytics, and leaves the host as it was found.

    Raises:
        SyntaxError: what Ultralytics finds wrong with the arguments, without its page of help.
    """
    with _arguments(["yolo", *arguments]), _callbacks(spec):
        try:
            cfg.entrypoint()
        except SyntaxError as error:
            message = remove_colorstr(str(error).replace(cfg.CLI_HELP_MSG, ""))
            raise SyntaxError(message.strip()) from error


class Refusal:
    """A callback that lets nothing train. One that is bound to an object, as the hook's are: of
    plain functions the host believes that they are its own, and trains on several data sets in
    processes that have none of them."""

    def register(self, callbacks: Callbacks) -> None:
        # The first comes before the data are looked for; only the second runs in all processes.
        for event in ("on_pretrain_routine_start", "on_pretrain_routine_end"):
            callbacks.setdefault(event, []).append(self.refuse)

    def refuse(self, trainer: Any) -> None:
        raise ValueError(NEEDED)


def _spec(rest: Sequence[str], given: str | None) -> Spec | None:
    words = [each.removeprefix("--").removesuffix(",") for each in rest]  # as the host reads them
    settings = _settings(words)
    mode = _mode(words, settings)
    if given is not None:
        if mode != "train":
            raise ValueError(f"`spec` must be left out of the mode {mode!r}: it is for train.")
        return as_spec(given)
    if mode != "train":
        return None
    spec = of_environment() or _resumed(settings)
    if spec is None:
        raise ValueError(NEEDED)
    return spec


def _settings(words: Sequence[str]) -> dict[str, str]:
    """What is set by the arguments, the later of two, or else by the file that one names."""
    found = {}
    for each in words:
        key, _, value = each.partition("=")
        if each in cfg.MODES:  # `val` is one, `val=False` is not
            key, value = "mode", each
        found[key.strip()] = value.strip()
    return {**_file(found.get("cfg")), **found}


def _file(name: str | None) -> dict[str, str]:
    """Of a file that cannot be read the host will tell."""
    if not name:
        return {}
    try:
        loaded = cfg.YAML.load(cfg.checks.check_yaml(name))
    except Exception:  # of YAML too, whose errors are not at hand here
        return {}
    if not isinstance(loaded, dict):
        return {}
    return {key: str(value) for key, value in loaded.items() if value is not None}


def _mode(words: Sequence[str], settings: dict[str, str]) -> str:
    """What the host will do: without a mode it trains, without an argument it shows its help."""
    for each in words:
        if each not in (*cfg.MODES, *cfg.TASKS) and _special(each.lower().lstrip("-")):
            return each
    if not words:
        return "help"
    mode = settings.get("mode", "").lower()
    return str(cfg.DEFAULT_CFG.mode) if mode in ("", "none") else mode


def _special(word: str) -> bool:
    return any(word in (name, name[0], name.removesuffix("s")) for name in SPECIAL)


def _resumed(settings: dict[str, str]) -> Spec | None:
    """The spec of the run that is resumed: `resume model=last.pt`, or `resume=last.pt`."""
    resume = settings.get("resume")
    if resume is None or resume.lower() == "false":
        return None
    return find.of_run(settings.get("model") if resume.lower() in ("", "true") else resume)


@contextmanager
def _arguments(given: list[str]) -> Iterator[None]:
    """Its entry point takes a text too, but splits it at every blank."""
    before, cfg.ARGV = cfg.ARGV, given
    try:
        yield
    finally:
        cfg.ARGV = before


@contextmanager
def _callbacks(spec: Spec | None) -> Iterator[None]:
    defaults: Callbacks = callbacks.default_callbacks
    before = {event: list(functions) for event, functions in defaults.items()}
    hook = Refusal() if spec is None else Hook(spec)
    hook.register(defaults)
    try:
        yield
    finally:
        for event, functions in defaults.items():
            functions[:] = before[event]
