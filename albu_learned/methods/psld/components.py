"""Which networks of diffusers a model can be made of, and whether they go together."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["AUTOENCODERS", "PREDICTIONS", "UNETS", "check_kinds", "check_together", "is_told"]

AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny", "VQModel")
UNETS = ("UNet2DModel", "UNet2DConditionModel")
PREDICTIONS = ("epsilon", "v_prediction", "sample")


def check_kinds(unet: Any, autoencoder: Any) -> None:
    """Raises if one of them is of a class that is not known."""
    for name, given, known in (
        ("unet", unet, UNETS),
        ("autoencoder", autoencoder, AUTOENCODERS),
    ):
        if type(given).__name__ not in known:
            raise TypeError(
                f"`{name}` must be one of diffusers' {', '.join(known)}, got "
                f"{type(given).__name__}."
            )


def check_together(unet: Any, autoencoder: Any, embedding: Tensor | None) -> None:
    """Raises if the network cannot work in the autoencoder's latents, or not with the text."""
    wanted = getattr(autoencoder.config, "latent_channels", None)
    if unet.config.in_channels != wanted:
        raise ValueError(
            f"`unet` must take latents of {wanted} channels, as the autoencoder makes them, "
            f"got one that takes {unet.config.in_channels}. Networks made for inpainting "
            "take more; give the plain one."
        )
    if is_told(unet) != (embedding is not None):
        raise ValueError(
            "`embedding` must be the encoded text for a UNet2DConditionModel, and None for a "
            f"UNet2DModel, got {'none' if embedding is None else 'one'} for a "
            f"{type(unet).__name__}. Read the model with from_pretrained."
        )


def is_told(unet: Any) -> bool:
    """Whether it is told a text."""
    return type(unet).__name__ == "UNet2DConditionModel"
