"""Ultralytics' own command line with the methods of a spec: `albu-learned yolo train spec=...`.

The arguments are those of `yolo`, plus `spec`. The hook is put among the host's default callbacks,
which every model copies that is made while the command runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ultralytics import cfg
from ultralytics.utils import remove_colorstr

from albu_learned.spec import Spec
from albu_learned.ultralytics import find
from albu_learned.ultralytics.hook import Callbacks, Hook
from albu_learned.ultralytics.host import callbacks

__all__ = ["parse", "run"]


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


def _spec(rest: Sequence[str], given: str | None) -> Spec | None:
    words = [each.lstrip("-").rstrip(",") for each in rest]  # as Ultralytics reads them
    pairs = dict(each.partition("=")[::2] for each in words)
    modes = [each for each in words if each in cfg.MODES]  # `val` is one, `val=False` is not
    mode = pairs.get("mode") or (modes[-1] if modes else None)
    if given is not None:
        if mode not in (None, "train"):  # without one, Ultralytics trains
            raise ValueError(f"`spec` must be left out of the mode {mode!r}: it is for train.")
        return find.as_spec(given)
    if mode != "train" and not (mode is None and "data" in pairs):
        return None
    spec = find.of_environment() or _resumed(pairs)
    if spec is None:
        raise ValueError(
            "`spec` must be given to train: spec=augment.yaml. To train without one, use the "
            "command `yolo`."
        )
    return spec


def _resumed(pairs: dict[str, str]) -> Spec | None:
    """The spec of the run that is resumed: `resume model=last.pt`, or `resume=last.pt`."""
    resume = pairs.get("resume")
    if resume is None or resume.lower() == "false":
        return None
    return find.of_run(pairs.get("model") if resume.lower() in ("", "true") else resume)


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
    if spec is not None:
        Hook(spec).register(defaults)
    try:
        yield
    finally:
        for event, functions in defaults.items():
            functions[:] = before[event]
