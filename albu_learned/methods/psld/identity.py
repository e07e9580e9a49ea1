"""What tells one diffusion model from others."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from albu_learned.fitting import add_tensor

if TYPE_CHECKING:
    from albu_learned.methods.psld.diffusion import LatentDiffusion

__all__ = ["identity"]


def identity(model: LatentDiffusion) -> str:
    """Of all its numbers, in 16 hexadecimal digits: the same wherever it lies."""
    digest = hashlib.sha256()
    for part in (model.unet, model.autoencoder):
        for name, tensor in sorted(part.state_dict().items()):
            add_tensor(digest, name, tensor)
    if model.embedding is not None:
        add_tensor(digest, "embedding", model.embedding)
    digest.update(json.dumps([model.prediction, model.alphas.tolist()]).encode())
    return digest.hexdigest()[:16]
