"""Artifacts: a fitted method as a folder that can be read, checked and shared.

    config.json         format, type, constructor arguments, what it knows of its data
    model.safetensors   every parameter and buffer (absent when there is none)
    README.md           the model card

Loading is strict: an unknown key, another type, a missing or additional tensor, another shape or
dtype raise and are named. Nothing in a folder is executed: the type is looked up in the registry of
imported classes, the arguments are JSON, the tensors are safetensors.
"""

from __future__ import annotations

import inspect
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import nn

__all__ = ["FORMAT", "About", "Part", "registry"]

FORMAT = 1
CONFIG = "config.json"
TENSORS = "model.safetensors"
CARD = "README.md"
_KEYS = {"format", "type", "arguments", "about"}


@dataclass(frozen=True)
class About:
    """What an artifact knows of the data it was fitted to, and how well it fitted."""

    classes: list[str] | None = None
    image_size: list[int] | None = None
    channels: int | None = None
    data: str = ""
    licence: str = ""
    figures: dict[str, float] = field(default_factory=dict)


class Part:
    """Anything that an artifact names by type: methods, and the parts they are made of.

    A subclass registers itself under its own name when it is defined. Every constructor argument is
    kept as an attribute of the same name, so that `arguments` can read it back.
    """

    _registry: ClassVar[dict[str, type[Part]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if inspect.isabstract(cls) or cls.__dict__.get("_base", False):
            return
        known = Part._registry.get(cls.__name__)
        here = (cls.__module__, cls.__qualname__)
        # A notebook cell that is run again defines the same class anew; that is no clash.
        if known is not None and (known.__module__, known.__qualname__) != here:
            raise TypeError(
                f"The name {cls.__name__!r} is taken by {known.__module__}.{known.__qualname__}: "
                "artifacts are found by it, so it must be unique. Choose another class name."
            )
        Part._registry[cls.__name__] = cls

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that make this object again, as JSON values."""
        values: dict[str, Any] = {}
        for name in inspect.signature(type(self).__init__).parameters:
            if name == "self":
                continue
            if not hasattr(self, name):
                raise AttributeError(
                    f"{type(self).__name__} must keep its argument `{name}` as an attribute of the "
                    "same name; without it an artifact cannot be written."
                )
            values[name] = _encode(getattr(self, name), f"{type(self).__name__}.{name}")
        return values


def registry(kind: type[Part] = Part) -> dict[str, type[Part]]:
    """The registered classes of a kind, by name."""
    return {name: c for name, c in sorted(Part._registry.items()) if issubclass(c, kind)}


def describe(part: Part) -> dict[str, Any]:
    return {"type": type(part).__name__, "arguments": part.arguments()}


def build(config: dict[str, Any], where: str) -> Part:
    """The object that `describe` described."""
    name, arguments = config["type"], config["arguments"]
    if name not in Part._registry:
        raise ValueError(
            f"{where} has the unknown type {name!r}. Known: {', '.join(registry())}. "
            "If it is a class of your own, import its module first."
        )
    wanted = Part._registry[name]
    known = [n for n in inspect.signature(wanted.__init__).parameters if n != "self"]
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise ValueError(
            f"{where} has the unknown arguments {unknown} for {name}, which takes {known}. "
            "It was written by another version."
        )
    decoded = {key: _decode(value, f"{where}, {key}") for key, value in arguments.items()}
    try:
        return wanted(**decoded)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from error


def write(part: Part, about: About, card: str, folder: Path) -> None:
    """Writes the artifact. The config goes last: a folder without one is no artifact, so an
    interrupted write is never read as a mixture of an old and a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"format": FORMAT, **describe(part), "about": asdict(about)}
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False)
    (folder / CONFIG).unlink(missing_ok=True)
    tensors = part.state_dict() if isinstance(part, nn.Module) else {}
    if tensors:
        plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        write_atomically(folder / TENSORS, to_safetensors(plain))
    else:
        (folder / TENSORS).unlink(missing_ok=True)
    write_atomically(folder / CARD, card.encode())
    write_atomically(folder / CONFIG, text.encode())


def read(folder: Path, kind: type[Part]) -> tuple[Part, About]:
    """Reads the artifact in a folder, which must be of the given kind."""
    config = _read_config(folder)
    where = f"The artifact {str(folder)!r}"
    expected = sorted(registry(kind))
    if config["type"] in Part._registry and config["type"] not in expected:
        raise TypeError(
            f"{where} is a {config['type']}, but {kind.__name__} was asked for. "
            "Load it with albu_learned.load, or name the right folder."
        )
    about = _read_about(config["about"], where)
    part = build(config, where)
    _read_tensors(part, folder, where)
    return part, about


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"`folder` must be an artifact, a folder with a {CONFIG}, got {str(folder)!r}, which "
            + ("has none." if folder.is_dir() else "does not exist.")
            + " Write one with save_pretrained; to download one, use from_pretrained."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} must be JSON, but {error}.") from error
    if not isinstance(config, dict) or not isinstance(config.get("arguments"), dict):
        raise ValueError(
            f"{str(path)!r} must be an object with the keys {sorted(_KEYS)}. "
            "It is not an albu_learned artifact."
        )
    if config.get("format") != FORMAT:
        raise ValueError(
            f"{str(path)!r} must have format {FORMAT}, got {config.get('format')!r}. "
            "It was written by another version of albu_learned."
        )
    if set(config) != _KEYS:
        missing, unknown = sorted(_KEYS - set(config)), sorted(set(config) - _KEYS)
        raise ValueError(
            f"{str(path)!r} must have exactly the keys {sorted(_KEYS)}; "
            f"missing {missing}, unknown {unknown}."
        )
    return config


def _read_about(values: dict[str, Any], where: str) -> About:
    unknown = sorted(set(values) - {f.name for f in fields(About)})
    if unknown:
        raise ValueError(f"{where} has the unknown keys {unknown} in `about`.")
    return About(**values)


def _read_tensors(part: Part, folder: Path, where: str) -> None:
    wanted = part.state_dict() if isinstance(part, nn.Module) else {}
    path = folder / TENSORS
    if wanted and not path.is_file():
        raise FileNotFoundError(
            f"{where} must have a {TENSORS} with {sorted(wanted)}, but there is no such file. "
            "Copy the whole folder, or save it again."
        )
    found: dict[str, torch.Tensor] = {}
    if path.is_file():
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or unknown:
        raise ValueError(
            f"{where} must have exactly the tensors of {type(part).__name__}; "
            f"missing {missing}, unknown {unknown}."
        )
    for name, tensor in wanted.items():
        got = found[name]
        if got.shape != tensor.shape or got.dtype != tensor.dtype:
            raise ValueError(
                f"{where} must hold `{name}` as {tuple(tensor.shape)} {tensor.dtype}, got "
                f"{tuple(got.shape)} {got.dtype}."
            )
    if isinstance(part, nn.Module):
        part.load_state_dict(found, strict=True)


def _encode(value: Any, name: str) -> Any:
    if isinstance(value, Part):
        return describe(value)
    if isinstance(value, (list, tuple)):
        return [_encode(item, name) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _encode(item, name) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"`{name}` must be a number, text, list, or a registered part to be saved, got "
        f"{type(value).__name__}. Keep tensors as buffers or parameters instead."
    )


def _decode(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        if set(value) == {"type", "arguments"}:
            return build(value, where)
        return {key: _decode(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item, where) for item in value]
    return value


def write_atomically(path: Path, content: bytes) -> None:
    """The whole file or none of it, even if the machine stops."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)  # mkstemp makes files only their owner can read
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
