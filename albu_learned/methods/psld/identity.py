"""What tells one diffusion model from others."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor

from albu_learned.methods.psld.diffusion import LatentDiffusion

__all__ = ["identity"]


def identity(model: LatentDiffusion) -> str:
    """Of all its numbers, in 16 hexadecimal digits: the same wherever it lies."""
    digest = hashlib.sha256()
    for part in (model.unet, model.autoencoder):
        for name, tensor in sorted(part.state_dict().items()):
            _add(digest, name, tensor)
    if model.embedding is not None:
        _add(digest, "embedding", model.embedding)
    digest.update(json.dumps([model.prediction, model.alphas.tolist()]).encode())
    return digest.hexdigest()[:16]


def _add(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
