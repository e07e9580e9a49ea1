"""Which networks of diffusers a model can be made of, and whether they go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["AUTOENCODERS", "PREDICTIONS", "UNETS", "check_kinds", "check_schedule"]
__all__ += ["check_together", "check_told", "is_told"]

AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny", "VQModel")
UNETS = ("UNet2DModel", "UNet2DConditionModel")
PREDICTIONS = ("epsilon", "v_prediction", "sample")
_MORE = ("addition_embed_type", "class_embed_type", "num_class_embeds")  # that a network is told


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


def check_schedule(name: object, settings: Mapping[str, Any]) -> None:
    """Raises if a schedule, by its settings, is not of noise levels that go from signal to noise as
    those of Stable Diffusion: diffusers would read its own for it without a word."""
    if not {"beta_schedule", "trained_betas"} & set(settings):
        raise ValueError(
            "`scheduler` must be of noise levels by betas, as DDPMScheduler or DDIMScheduler, got "
            f"{name}, of another kind of model, such as flow matching. Give a model of the "
            "kind of Stable Diffusion 1 or 2."
        )


def check_told(settings: Mapping[str, Any]) -> None:
    """Raises if a network, by its settings, must be told more than a text, as that of Stable
    Diffusion XL."""
    for name in _MORE:
        if settings.get(name) is not None:
            raise ValueError(
                f"`unet` must be told a noise level and at most a text, got one with {name}="
                f"{settings[name]!r}, which is told more. Give a model of the kind of Stable "
                "Diffusion 1 or 2, or an unconditional one."
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
    if unet.config.out_channels != wanted:
        raise ValueError(
            f"`unet` must make latents of {wanted} channels, as it takes them, got one that makes "
            f"{unet.config.out_channels}. Those that learn a variance too cannot be used."
        )
    check_told(unet.config)
    if is_told(unet) != (embedding is not None):
        raise ValueError(
            "`embedding` must be the encoded text for a UNet2DConditionModel, and None for a "
            f"UNet2DModel, got {'none' if embedding is None else 'one'} for a "
            f"{type(unet).__name__}. Read the model with from_pretrained."
        )
    if embedding is not None:
        width = getattr(unet.config, "encoder_hid_dim", None) or unet.config.cross_attention_dim
        widths = set(width) if isinstance(width, (tuple, list)) else {width}
        if widths != {embedding.shape[-1]}:
            raise ValueError(
                f"`unet` must be told a text of {embedding.shape[-1]} numbers a word, as it is "
                f"encoded, got one that is told {width}. Give the text encoder that it was "
                "trained with."
            )


def is_told(unet: Any) -> bool:
    """Whether it is told a text."""
    return type(unet).__name__ == "UNet2DConditionModel"
