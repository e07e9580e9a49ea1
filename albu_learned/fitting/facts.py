"""What every fit depends on: the sample, the device, the versions; and what another has given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import torch
from torch import Tensor

from albu_learned.fitting.sample import Sample

__all__ = ["add_tensor", "device_of", "differing", "facts_of", "versions"]


def facts_of(sample: Sample, place: torch.device) -> dict[str, Any]:
    """For a checkpoint, to know its own fit by."""
    shape = " x ".join(map(str, sample.images.shape))
    return {
        "images": f"{shape} {_digest(sample.images)}",
        "labels": _digest(sample.labels),
        "groups": "none" if sample.groups is None else _digest(sample.groups),
        "device": place.type,
        "versions": versions(),
    }


def versions() -> str:
    """Of what computes."""
    try:
        own = metadata.version("albu_learned")
    except metadata.PackageNotFoundError:
        own = "unknown"
    return f"albu_learned {own}, torch {torch.__version__}"


def _digest(values: Tensor) -> str:
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()[:12]


def add_tensor(digest: Any, name: str, tensor: Tensor) -> None:
    """Adds to one of hashlib's digests what a tensor is called, its form and its numbers."""
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def differing(kept: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """In what facts that were kept as JSON differ from those of now, in words; "" if in nothing."""
    now = json.loads(json.dumps(facts))
    names = [name for name in {**kept, **now} if kept.get(name) != now.get(name)]
    return "; ".join(f"{name} ({kept.get(name)}, now {now.get(name)})" for name in names)


def device_of(given: torch.device | str | None) -> torch.device:
    if given is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(given)
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f'`device` must be one that torch has here, such as "cpu", got {given!r}: '
            f"{str(error).splitlines()[0]}"
        ) from error
    return place
