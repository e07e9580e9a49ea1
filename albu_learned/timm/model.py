"""Models of timm, for a comparison."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

from albu_learned import checks

__all__ = ["check", "classifier", "input_size"]


def check(name: str) -> None:
    """Raises if timm knows no such model."""
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise ValueError(
            f"`model` must be `small` or one that timm knows, got {name!r}."
            f"{checks.nearest(name, known)} timm.list_models() lists them."
        )
    try:
        timm.get_pretrained_cfg(name, allow_unregistered=True)
    except RuntimeError as error:  # for what stands behind the dot
        raise ValueError(f"`model` must be one that timm knows, got {name!r}: {error}") from error


def classifier(
    name: str, classes: int, channels: int, pretrained: bool
) -> tuple[nn.Module, tuple[Tensor, Tensor] | None]:
    """A model of timm, and the mean and deviation of the images its weights were made with; None
    if they are new."""
    model = timm.create_model(name, pretrained=pretrained, num_classes=classes, in_chans=channels)
    if not pretrained:
        return model, None
    config = timm.data.resolve_data_config({}, model=model)
    mean, std = (torch.tensor(config[key]).double() for key in ("mean", "std"))
    if len(mean) != channels:
        mean, std = mean.mean().expand(channels), std.mean().expand(channels)
    return model, (mean, std)


def input_size(name: str) -> int:
    """The side of the images for which a model was made."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return int((config.input_size if config else (3, 224, 224))[-1])
