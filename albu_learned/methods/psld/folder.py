"""The folder of a pipeline of diffusers: read and written part by part."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor

from albu_learned.artifact import About, read_about, refuse_file, write_atomically
from albu_learned.fitting import UNFINISHED, unfinished
from albu_learned.methods.psld.components import (
    AUTOENCODERS,
    UNETS,
    check_schedule,
    check_told,
)

__all__ = ["about", "autoencoder_of", "check", "component", "embedding", "finished", "is_id"]
__all__ += ["located", "read_index", "scheduler", "write"]

INDEX = "model_index.json"
TEXT = "embedding.safetensors"  # of ours: the encoded text
ABOUT = "fit.json"  # of ours: what it was fitted to, and how well
_SETTINGS = [INDEX, TEXT, ABOUT, "tokenizer/*"]
_SETTINGS += [f"{part}/*.json" for part in ("unet", "vae", "vqvae", "scheduler", "text_encoder")]
_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def diffusers() -> Any:
    """The package, or what to install."""
    try:
        import diffusers
    except ModuleNotFoundError as error:
        if error.name != "diffusers":
            raise
        raise ModuleNotFoundError(
            "A LatentDiffusion needs diffusers. Install it with the extra: "
            'pip install "albu_learned[psld]"',
            name="diffusers",
        ) from error
    return diffusers


def is_id(name: str) -> bool:
    """Whether it names a repository of the hub, and no folder."""
    return bool(_ID.fullmatch(name)) and not Path(name).is_dir()


def located(name: str, revision: str | None, variant: str | None, local_files_only: bool) -> Path:
    """The folder itself, or that of a repository, downloaded; if its settings say that what is
    there can be read, before weights are downloaded or read."""
    if Path(name).is_dir():
        check_readable(Path(name))
        return Path(name)
    if not is_id(name):
        raise FileNotFoundError(
            "`path_or_id` must be the folder of a pipeline of diffusers, or a repository as "
            f'"user/name", got {name!r}, which is neither: there is no such folder.'
        )
    for wanted in (_SETTINGS, [*_SETTINGS, *_weights(variant)]):
        place = _downloaded(name, wanted, revision, local_files_only)
        check_readable(place)
    return place


def _downloaded(name: str, wanted: list[str], revision: str | None, local_files_only: bool) -> Path:
    try:
        place = snapshot_download(
            name, revision=revision, local_files_only=local_files_only, allow_patterns=wanted
        )
    except (LocalEntryNotFoundError, RepositoryNotFoundError) as error:
        why, _, _ = str(error).partition("\n")
        reason = f"can be had ({why}). Correct the path, or go online."
        if local_files_only:
            reason = "was downloaded. Correct the path, or download it with "
            reason += f"LatentDiffusion.from_pretrained({name!r})."
        raise FileNotFoundError(
            "`path_or_id` must be the folder of a pipeline of diffusers, or a repository as "
            f'"user/name", got {name!r}: there is no such folder, and no such repository {reason}'
        ) from error
    return Path(place)


def _weights(variant: str | None) -> list[str]:
    """The files of one variant: repositories have several, each of gigabytes."""
    end = f".{variant}" if variant else ""
    stems = [f"{part}/diffusion_pytorch_model" for part in ("unet", "vae", "vqvae")]
    stems.append("text_encoder/model")
    parts = (end, f"{end}-*", f"-*{end}")  # in one, or in several in either order of the name
    return [f"{stem}{part}.safetensors" for stem in stems for part in parts]


def check_readable(place: Path) -> None:
    """Raises if the settings of a pipeline are those of a kind that cannot be used."""
    index = read_index(place)
    _kind(index, place, "unet", UNETS)
    _kind(index, place, autoencoder_of(index), AUTOENCODERS)
    check_told(diffusers().UNet2DModel.load_config(place / "unet"))
    scheduler(place)


def autoencoder_of(index: Mapping[str, Any]) -> str:
    """The name of this part."""
    return "vae" if "vae" in index else "vqvae"


def read_index(place: Path) -> dict[str, Any]:
    """What the parts of a pipeline are."""
    try:
        index = json.loads((place / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"`path_or_id` must be the folder of a pipeline of diffusers, with a {INDEX}, got "
            f"{str(place)!r}, which has none."
        ) from None
    except ValueError as error:
        raise ValueError(f"{str(place / INDEX)!r} must be JSON, but {error}.") from error
    if not isinstance(index, dict):
        raise ValueError(f"{str(place / INDEX)!r} must be an object, got {type(index).__name__}.")
    return index


def component(
    index: dict[str, Any], place: Path, name: str, known: tuple[str, ...], **load: Any
) -> Any:
    """One of the networks, if it is of a known class."""
    network = getattr(diffusers(), _kind(index, place, name, known))
    lean = importlib.util.find_spec("accelerate") is not None  # diffusers warns where it is not
    return network.from_pretrained(place / name, low_cpu_mem_usage=lean, **load)


def _kind(index: Mapping[str, Any], place: Path, name: str, known: tuple[str, ...]) -> str:
    entry = index.get(name)
    kind = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    if kind not in known:
        raise ValueError(
            f"{str(place)!r} must have one of {', '.join(known)} as its {name}, got {kind!r}. "
            "Latent diffusion models of the kind of Stable Diffusion 1 and 2, and unconditional "
            "ones, are what can be read."
        )
    return str(kind)


def scheduler(place: Path) -> Any:
    """The noise levels, whatever sampler they are stored for."""
    kind = diffusers().DDPMScheduler
    settings = kind.load_config(place / "scheduler")
    check_schedule(settings.get("_class_name"), settings)
    return kind.from_config(settings)


@torch.no_grad()
def embedding(index: dict[str, Any], place: Path, text: str | None, variant: str | None) -> Tensor:
    """(1, L, D), the encoded text: the one that is stored, or made now."""
    stored = place / TEXT
    if text is None and stored.is_file():
        return load_file(stored)["embedding"]
    encoder = index.get("text_encoder") or [None, None]
    if encoder[1] != "CLIPTextModel" or not (place / "text_encoder").is_dir():
        raise ValueError(
            f"{str(place)!r} must have a CLIPTextModel to encode a text, got {encoder[1]!r}. "
            + ("Leave `text` out to use the one that is stored." if stored.is_file() else "")
        )
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        raise ModuleNotFoundError(
            "Encoding a text needs transformers. Install it: pip install transformers",
            name="transformers",
        ) from error
    tokens = CLIPTokenizer.from_pretrained(place / "tokenizer")
    how = {"variant": variant, "use_safetensors": True}
    model = CLIPTextModel.from_pretrained(place / "text_encoder", **how).float()
    numbers = tokens(
        text or "",
        padding="max_length",
        max_length=tokens.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    encoded: Tensor = model(numbers)[0]
    return encoded


def about(place: Path) -> About:
    """What is known of a fit; nothing of a model that comes from elsewhere."""
    file = place / ABOUT
    if not file.is_file():
        return About()
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(file)!r} must be JSON, but {error}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{str(file)!r} must be an object, got {type(values).__name__}.")
    return read_about(values, repr(str(file)))


def check(name: str, place: Path) -> None:
    """Raises if files of somebody else are there."""
    refuse_file(name, place)
    others = [file for file in place.iterdir() if file.name != UNFINISHED] if place.is_dir() else []
    if others and not (place / "unet").is_dir():
        raise FileExistsError(
            f"`{name}` must be new, empty or the folder of a pipeline of diffusers, got "
            f"{str(place)!r}, which has other files. Choose another."
        )


def finished(place: Path) -> bool:
    """Whether a model is there that no fit is at work on."""
    return (place / INDEX).is_file() and not unfinished(place)


def write(
    place: Path,
    unet: Any,
    autoencoder: Any,
    scheduler: Any,
    embedding: Tensor | None,
    known: About,
) -> None:
    """A folder that is read by `LatentDiffusion.from_pretrained` and by diffusers. The index goes
    last: without it a folder is not read."""
    check("save_directory", place)
    place.mkdir(parents=True, exist_ok=True)
    (place / INDEX).unlink(missing_ok=True)
    kind = "vqvae" if embedding is None else "vae"
    for name, part in (("unet", unet), (kind, autoencoder), ("scheduler", scheduler)):
        part.save_pretrained(place / name)
    if embedding is not None:
        plain = embedding.detach().cpu().float().contiguous()
        write_atomically(place / TEXT, to_safetensors({"embedding": plain}))
    if known == About():
        (place / ABOUT).unlink(missing_ok=True)
    else:
        write_atomically(place / ABOUT, json.dumps(asdict(known), indent=2).encode())
    index = _index(unet, autoencoder, scheduler, kind)
    write_atomically(place / INDEX, json.dumps(index, indent=2).encode())


def _index(unet: Any, autoencoder: Any, scheduler: Any, kind: str) -> dict[str, Any]:
    """By which diffusers knows the pipeline; what encodes a text is left out."""
    parts = {"unet": unet, kind: autoencoder, "scheduler": scheduler}
    index: dict[str, Any] = {
        "_class_name": "LDMPipeline" if kind == "vqvae" else "StableDiffusionPipeline",
        "_diffusers_version": diffusers().__version__,
        **{name: ["diffusers", type(part).__name__] for name, part in parts.items()},
    }
    if kind == "vae":
        others = ("text_encoder", "tokenizer", "safety_checker", "feature_extractor")
        index |= {name: [None, None] for name in others}
    return index
