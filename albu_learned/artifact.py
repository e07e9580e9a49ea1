"""Artifacts: a fitted method as a folder that can be read, checked and shared.

    config.json         format, type, constructor arguments, what it knows of its data
    model.safetensors   every parameter and buffer (absent when there is none)
    README.md           the model card
    preview.png         what it does to samples, if it was drawn

Loading is strict: an unknown key, another type, a missing or additional tensor, another shape or
dtype and a NaN raise and are named. Nothing in a folder is executed: the type is looked up in the
registry of imported classes, the arguments are JSON, the tensors are safetensors.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import nn

from albu_learned.parts import Part, build, describe, registry, unknown_type

__all__ = ["FORMAT", "About"]

FORMAT = 1
CONFIG = "config.json"
TENSORS = "model.safetensors"
CARD = "README.md"
FILES = (CONFIG, TENSORS, CARD)
PARTS = ("*/*.json", "*/*.safetensors")  # of folders in it, such as that of a diffusion model
PICTURE = "preview.png"  # which the command line draws; the card shows it if it is there
MARK = "library_name: albu_learned"  # in every card
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


def card(name: str, summary: str, about: About, citation: str) -> str:
    """The model card, in Markdown."""
    lines = [
        "---",
        MARK,
        "tags: [data-augmentation, albu_learned]",
        *([f"license: {about.licence}"] if about.licence else []),
        "---",
        f"# {name}",
        "",
        summary,
        "",
        f"Data: {about.data or 'none; this method was not fitted.'}",
    ]
    if about.classes:
        lines.append(f"Classes: {', '.join(about.classes)}")
    if about.figures:
        lines += ["", "| figure | value |", "|---|---|"]
        lines += [f"| {figure} | {value:g} |" for figure, value in about.figures.items()]
    lines += ["", "```python", "import albu_learned as al", "", 'method = al.load("FOLDER")']
    return "\n".join([*lines, "```", "", "```bibtex", citation, "```", ""])


def check(part: Part, about: About, folder: Path) -> None:
    """Raises, before anything is touched, if what would be written could not be read again, or if
    files of somebody else would be overwritten."""
    refuse_file("save_directory", folder)
    _refuse_foreign(folder)
    where = f"What would be saved of {type(part).__name__}"
    read_about(asdict(about), where)
    with torch.random.fork_rng(devices=[]):  # a network draws its first weights when it is built
        twin = build(describe(part), where)
    if isinstance(part, nn.Module) and isinstance(twin, nn.Module):
        _compare(twin.state_dict(), part.state_dict(), f"This {type(part).__name__}")


def refuse_file(name: str, folder: Path) -> None:
    """Raises if what shall become a folder, or the place of one, is a file."""
    for place in (folder, *folder.parents):
        if place.is_file():
            raise NotADirectoryError(
                f"`{name}` must be a folder, or a new one, got {str(folder)!r}, but "
                f"{str(place)!r} is a file. Choose another."
            )


def _refuse_foreign(folder: Path) -> None:
    found = [name for name in (CONFIG, TENSORS, CARD) if (folder / name).exists()]
    if not found:
        return
    try:
        ours = MARK in (folder / CARD).read_text(encoding="utf-8")
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise FileExistsError(
            f"`save_directory` must be new, empty or an artifact of albu_learned, got "
            f"{str(folder)!r}, whose {', '.join(found)} would be overwritten. Choose another."
        )


def write(part: Part, about: About, card: str, folder: Path, before: Path | None = None) -> None:
    """Writes the artifact. The card goes first, by which the folder is known as an artifact's; the
    config goes last: without it a folder cannot be read, so an interrupted write is never read as a
    mixture of an old and a new one. The picture comes along from the folder where it was before."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"format": FORMAT, **describe(part), "about": asdict(about)}
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False)
    (folder / CONFIG).unlink(missing_ok=True)
    if before is not None and (before / PICTURE).is_file():
        write_atomically(folder / PICTURE, (before / PICTURE).read_bytes())
    if (folder / PICTURE).is_file():
        card = f"{card}\n![What it does to samples]({PICTURE})\n"
    write_atomically(folder / CARD, card.encode())
    tensors = part.state_dict() if isinstance(part, nn.Module) else {}
    if tensors:
        plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        write_atomically(folder / TENSORS, to_safetensors(plain))
    else:
        (folder / TENSORS).unlink(missing_ok=True)
    write_atomically(folder / CONFIG, text.encode())


def type_of(folder: Path, kind: type[Part]) -> str:
    """The type that an artifact names, which must be of the given kind; nothing else is read."""
    return _named(_read_config(folder), folder, kind)


def _named(config: dict[str, Any], folder: Path, kind: type[Part]) -> str:
    named: str = config["type"]
    if named in registry(kind):
        return named
    where = f"The artifact {str(folder)!r}"
    if named in registry():
        raise TypeError(
            f"{where} is a {named}, but {kind.__name__} was asked for. "
            "Load it with albu_learned.load, or name the right folder."
        )
    raise unknown_type(named, where)


def read(folder: Path, kind: type[Part]) -> tuple[Part, About]:
    """Reads the artifact in a folder, which must be of the given kind."""
    config = _read_config(folder)
    _named(config, folder, kind)
    where = f"The artifact {str(folder)!r}"
    about = read_about(config["about"], where)
    part = build(config, where)
    _read_tensors(part, folder, where)
    return part, about


_HOW = " Write one with save_pretrained; to download one, use from_pretrained."


def _what_else(folder: Path) -> str:
    """What other folder of ours this is, and what takes it."""
    if (folder / "model_index.json").is_file():
        return " It is a diffusion model: give it to PSLDInpaint, as PSLDInpaint(folder)."
    if (folder / "manifest.json").is_file():
        return " If it is a pool of variants, use PSLDPool(folder)."
    return ""


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if folder.is_file():
        raise NotADirectoryError(
            f"`folder` must be the folder of an artifact, got the file {str(folder)!r}."
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"`folder` must be an artifact, a folder with a {CONFIG}, got {str(folder)!r}, which "
            + ("has none." if folder.is_dir() else "does not exist.")
            + (_what_else(folder) or _HOW)
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} must be JSON, but {error}.") from error
    kinds = {"arguments": dict, "about": dict, "type": str}
    if not isinstance(config, dict) or not all(
        isinstance(config.get(key, kind()), kind) for key, kind in kinds.items()
    ):
        raise ValueError(
            f"{str(path)!r} must be an object with the keys {sorted(_KEYS)}. "
            "It is not an albu_learned artifact."
        )
    if config.get("format") != FORMAT or type(config["format"]) is not int:
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


def read_about(values: dict[str, Any], where: str) -> About:
    unknown = sorted(set(values) - {f.name for f in fields(About)})
    if unknown:
        raise ValueError(f"{where} has the unknown keys {unknown} in `about`.")
    about = About(**values)
    for key, (rule, good) in _ABOUT.items():
        if not good(getattr(about, key)):
            raise ValueError(
                f"{where} must have {rule} as {key!r} in `about`, got {getattr(about, key)!r}."
            )
    return about


def _list_of(kind: type, value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(type(v) is kind for v in value))


_ABOUT: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "classes": ("a list of names", lambda value: _list_of(str, value)),
    "image_size": ("a list of integers", lambda value: _list_of(int, value)),
    "channels": ("an integer", lambda value: value is None or type(value) is int),
    "data": ("a text", lambda value: isinstance(value, str)),
    "licence": ("a text", lambda value: isinstance(value, str)),
    "figures": (
        "named, finite numbers",
        lambda value: (
            isinstance(value, dict)
            and all(type(v) in (int, float) and math.isfinite(v) for v in value.values())
        ),
    ),
}


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
        try:
            with safe_open(path, framework="pt") as file:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(
                f"{where} must have tensors in the format of safetensors, but its {TENSORS} cannot "
                f"be read ({error}). Copy the whole folder again."
            ) from error
    _compare(wanted, found, where)
    if isinstance(part, nn.Module):
        part.load_state_dict(found, strict=True)


def _compare(wanted: dict[str, Any], found: dict[str, Any], where: str) -> None:
    """Raises if the tensors are not those that are wanted, by name, shape and dtype, or have NaN.
    Infinity is let pass: as a bound in a buffer it has its use."""
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or unknown:
        raise ValueError(
            f"{where} must have exactly the tensors that its arguments make; "
            f"missing {missing}, unknown {unknown}."
        )
    for name, tensor in wanted.items():
        got = found[name]
        if got.shape != tensor.shape or got.dtype != tensor.dtype:
            raise ValueError(
                f"{where} must hold `{name}` as {tuple(tensor.shape)} {tensor.dtype}, got "
                f"{tuple(got.shape)} {got.dtype}."
            )
        if _has_nan(got):
            raise ValueError(
                f"{where} must hold numbers as `{name}`, got NaN, which would spoil every image. "
                "Fit the method again, at a lower learning rate."
            )


def _has_nan(tensor: torch.Tensor) -> bool:
    if tensor.is_floating_point():
        tensor = tensor.float()  # the smallest dtypes cannot be asked
    return bool(tensor.isnan().any())


def write_atomically(path: Path, content: bytes) -> None:
    """The whole file or none of it, even if the machine stops."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
