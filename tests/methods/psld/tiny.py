"""Diffusion models of a few thousand parameters, from config."""

import pytest
import torch

import albu_learned as al

diffusers = pytest.importorskip("diffusers")


def autoencoder(kind="kl", channels=3):
    torch.manual_seed(0)
    if kind == "tiny":
        return diffusers.AutoencoderTiny(
            in_channels=channels,
            out_channels=channels,
            encoder_block_out_channels=(4, 4),
            decoder_block_out_channels=(4, 4),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
            latent_channels=4,
        )
    if kind == "vq":
        return diffusers.VQModel(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(4, 8),
            latent_channels=4,
            norm_num_groups=2,
            num_vq_embeddings=8,
        )
    return diffusers.AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        latent_channels=4,
        norm_num_groups=2,
    )


def unet(conditional=False, channels=4):
    torch.manual_seed(1)
    common = {
        "sample_size": 8,
        "in_channels": channels,
        "out_channels": 4,
        "layers_per_block": 1,
        "block_out_channels": (4, 8),
        "norm_num_groups": 2,
    }
    if conditional:
        return diffusers.UNet2DConditionModel(
            **common,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=8,
            attention_head_dim=2,
        )
    return diffusers.UNet2DModel(
        **common, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2
    )


def scheduler(prediction="epsilon"):
    return diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
    )


def model(kind="kl", channels=3, prediction="epsilon"):
    """Unconditional; images are 16 px, cells 2 px."""
    return al.LatentDiffusion(unet(), autoencoder(kind, channels), scheduler(prediction))


def told(prediction="epsilon"):
    """Told a text of three words."""
    words = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(2))
    return al.LatentDiffusion(unet(True), autoencoder(), scheduler(prediction), words)
