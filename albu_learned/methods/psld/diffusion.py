"""A latent diffusion model of diffusers, as the samplers want it.

What is read is diffusers' own folder: a `model_index.json` and a folder each for the UNet, the
autoencoder and the noise schedule; for Stable Diffusion 1 and 2 the text encoder and its tokenizer
too, once, to encode the text. What is written is such a folder again, with the encoded text in the
place of what encodes it. Weights are safetensors; nothing in a folder is executed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.artifact import About
from albu_learned.fitting import Progress, folder_of, isolated
from albu_learned.methods.psld import fit as fitting
from albu_learned.methods.psld import folder, words
from albu_learned.methods.psld.components import (
    AUTOENCODERS,
    PREDICTIONS,
    UNETS,
    check_kinds,
    check_schedule,
    check_together,
    is_told,
)
from albu_learned.methods.psld.latents import cell_of, decoded, encoded
from albu_learned.methods.psld.problem import Draw, levels
from albu_learned.methods.psld.samplers.steps import ahead, clean

__all__ = ["LatentDiffusion"]


class LatentDiffusion:
    """A prior of images: an autoencoder, and a network that sees the noise in its latents.

    Everything is frozen. It is not a `torch.nn.Module`, so that a method which holds it stays small
    when it is saved or copied to a worker by its name.

    Args:
        unet: a `UNet2DModel` or `UNet2DConditionModel` of diffusers.
        autoencoder: an `AutoencoderKL`, `AutoencoderTiny` or `VQModel`.
        scheduler: any of diffusers' that was made for training, for its noise levels and for what
            the network predicts; a sampler's steps are our own.
        embedding: (1, L, D), the encoded text that a `UNet2DConditionModel` is told.

    Example:
        >>> import albu_learned as al                                    # doctest: +SKIP
        >>> ldm = al.LatentDiffusion.from_pretrained("my/pipeline")      # doctest: +SKIP
        >>> ldm.decode(ldm.encode(images))                               # doctest: +SKIP
    """

    def __init__(
        self, unet: Any, autoencoder: Any, scheduler: Any, embedding: Tensor | None = None
    ) -> None:
        check_kinds(unet, autoencoder)
        check_schedule(type(scheduler).__name__, getattr(scheduler, "config", {}))
        self.unet, self.autoencoder, self.scheduler = unet, autoencoder, scheduler
        self.embedding = embedding
        self.about = About()  # of its fit
        self.source: str | None = None  # the folder or repository where it is as it is here
        self.alphas: Tensor = scheduler.alphas_cumprod.double().clamp(min=1e-6)
        self.prediction = checks.one_of(
            "prediction_type", scheduler.config.prediction_type, PREDICTIONS
        )
        for part in (unet, autoencoder):
            part.requires_grad_(False).eval()
        check_together(unet, autoencoder, embedding)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | os.PathLike[str],
        text: str | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        variant: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> LatentDiffusion:
        """The model in a folder of diffusers, or of a repository of the hub.

        Args:
            path_or_id: the folder of a pipeline, or "user/name" to download it. A folder is read
                without a look at the network.
            text: what a network that is told a text shall be told; None: what was stored with it,
                or nothing, "".
            device: where it shall be.
            dtype: of its weights and arithmetic, such as torch.bfloat16.
            variant: of the files, such as "fp16": no other is downloaded.
            revision: of the repository. An artifact that uses the model holds a copy of it if one
                of `text`, `variant` and `revision` is given; else it may refer to its name.
            local_files_only: use what was downloaded before.
        """
        name = os.fspath(path_or_id)
        place = folder.located(name, revision, variant, local_files_only)
        index = folder.read_index(place)
        load: dict[str, Any] = {"variant": variant, "use_safetensors": True, "torch_dtype": dtype}
        unet = folder.component(index, place, "unet", UNETS, **load)
        kind = folder.autoencoder_of(index)
        autoencoder = folder.component(index, place, kind, AUTOENCODERS, **load)
        embedding = None
        if is_told(unet):
            embedding = folder.embedding(index, place, text, variant)
        elif text is not None:
            raise ValueError(f"`text` must be None for {name!r}, whose network is told none.")
        model = cls(unet, autoencoder, folder.scheduler(place), embedding)
        model.about = folder.about(place)
        if text is None and revision is None and variant is None:
            model.source = name if folder.is_id(name) else str(Path(name).absolute())
        return model.to(device, dtype)

    @classmethod
    @isolated()
    def fit(
        cls,
        images: Any,
        *,
        size: int | None = None,
        flip: bool = False,
        background: bool = False,
        width: int = 32,
        cell: int = 4,
        latent: int = 4,
        prediction: str = "v_prediction",
        steps: int | None = None,
        autoencoder_steps: int | None = None,
        batch: int = 16,
        learning_rate: float | None = None,
        decay: float = 0.999,
        validation: float = 0.1,
        most: int | None = 2000,
        start: LatentDiffusion | None = None,
        seed: int = 0,
        folder: str | os.PathLike[str] | None = None,
        device: torch.device | str | None = None,
        precision: str = "float32",
        progress: Progress = True,
    ) -> LatentDiffusion:
        """Trains a small model of one's own images, on crops of them that are as large as they are.

        First an autoencoder, then the network that sees noise in its latents. How true what is
        decoded is, and how near samples are to what was learned from, is in `about` of what it
        returns, which is on the CPU; `summary` says it in words.

        Args:
            images: (N, C, H, W), float in [0, 1] or uint8, as a tensor or an array; a list of
                tensors (C, H, W) of any sizes, or of paths of image files; a folder of image files;
                a data.yaml of YOLO or another data set (see `albu_learned.data.open_data`), of
                which the training part is read; or such a data set, opened.
            size: of the crops, in pixels; None: 128, or that of `start`. Objects should fit in.
            flip: whether images may be turned left to right.
            background: whether only what is outside of boxes is learned, so that no objects without
                a label are drawn. For a detection set.
            width: channels of the autoencoder's first layer; the network's has twice as many.
            cell: pixels of a side of a latent cell: 2, 4 or 8. Smaller ones keep more detail.
            latent: channels of the latents.
            prediction: what the network predicts, "v_prediction" or "epsilon".
            steps: of the network's training; None: 8,000, or 4,000 from `start`.
            autoencoder_steps: None: 4,000; from `start` none, and if there are any, of its decoder
                alone, as the network knows its latents.
            batch: crops a step.
            learning_rate: None: 1e-3 for the autoencoder and 5e-4 for the network; from `start`
                5e-5.
            decay: of the moving average of weights, which is what is kept.
            validation: share of the images that is held out, to judge by.
            most: images that are learned from, chosen by the seed; all are in memory.
            start: a model to begin with, which stays as it is. `width`, `cell`, `latent` and
                `prediction` are its own.
            seed: of every random choice: the same gives the same fit.
            folder: keeps what is finished, so that a fit that was stopped goes on there; in the
                end it holds the model, which `from_pretrained` reads.
            device: where; CUDA if there is one.
            precision: "float32", or "bfloat16" for mixed precision.
            progress: True for a bar, if tqdm is installed and somebody looks; or a function, told
                how many of how many steps are done.

        Example:
            >>> ldm = al.LatentDiffusion.fit("cells/data.yaml", size=64)      # doctest: +SKIP
            >>> print(ldm.summary())                                          # doctest: +SKIP
        """
        how = fitting.Settings(
            size=size,
            flip=flip,
            background=background,
            width=width,
            cell=cell,
            latent=latent,
            prediction=prediction,
            steps=steps,
            autoencoder_steps=autoencoder_steps,
            batch=batch,
            learning_rate=learning_rate,
            decay=decay,
            validation=validation,
            most=most,
            seed=seed,
            precision=precision,
        )
        if start is not None and not isinstance(start, LatentDiffusion):
            raise TypeError(
                f"`start` must be a LatentDiffusion, got {type(start).__name__}. Read one with "
                "LatentDiffusion.from_pretrained."
            )
        return fitting.fitted(cls, images, how, start, folder_of(folder), device, progress)

    def summary(self) -> str:
        """What came of its fit, in plain words."""
        return words.summary(self.about)

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Writes a folder that `from_pretrained` reads. It is a pipeline of diffusers, too: an
        `LDMPipeline`, or a `StableDiffusionPipeline` (tell it text_encoder=None, tokenizer=None).

        Args:
            save_directory: a folder that is new, empty, or such a folder already.
        """
        place = Path(save_directory)
        parts = (self.unet, self.autoencoder, self.scheduler, self.embedding)
        folder.write(place, *parts, self.about)
        self.source = str(place.absolute())

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> LatentDiffusion:
        """The same, moved; itself, not a copy."""
        for part in (self.unet, self.autoencoder):
            torch.nn.Module.to(part, device=device, dtype=dtype)  # diffusers' own warns of nothing
        if self.embedding is not None:
            self.embedding = self.embedding.to(device=device, dtype=dtype)
        return self

    def checkpointing(self, on: bool = True) -> LatentDiffusion:
        """Keeps less for gradients and computes it again: less memory, more time; itself. A part
        of a kind that cannot, as a `VQModel`, goes on as it is."""
        for part in (self.unet, self.autoencoder):
            if not part._supports_gradient_checkpointing:
                continue
            (part.enable_gradient_checkpointing if on else part.disable_gradient_checkpointing)()
        return self

    @property
    def device(self) -> torch.device:
        return torch.device(self.unet.device)

    @property
    def dtype(self) -> torch.dtype:
        kind: torch.dtype = self.unet.dtype
        return kind

    @property
    def channels(self) -> int:
        """Of its images."""
        return int(self.autoencoder.config.in_channels)

    @property
    def cell(self) -> int:
        """Pixels of a side of a latent cell."""
        return cell_of(self.autoencoder)

    @property
    def multiple(self) -> int:
        """Sides of images must be multiples of this."""
        return int(self.cell * 2 ** (len(self.unet.config.block_out_channels) - 1))

    @property
    def side(self) -> int:
        """Of the images in pixels that it was trained on."""
        size = self.unet.config.sample_size or 64
        return int(max(size) if isinstance(size, (tuple, list)) else size) * self.cell

    def encode(self, images: Tensor, draw: Draw | None = None) -> Tensor:
        """Latents of (B, C, H, W) pixels in [0, 1]: the mode, or one draw."""
        return encoded(self.autoencoder, images, draw)

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels of latents, about in [0, 1]."""
        return decoded(self.autoencoder, latents)

    def noise(self, latents: Tensor, time: int) -> Tensor:
        """The noise that the network sees in latents."""
        told = {}
        if self.embedding is not None:
            told["encoder_hidden_states"] = self.embedding.expand(len(latents), -1, -1)
        found: Tensor = self.unet(latents.to(self.dtype), time, **told).sample.to(latents.dtype)
        share = self.alphas[time]
        signal, rest = share.sqrt().item(), (1 - share).sqrt().item()
        if self.prediction == "epsilon":
            return found
        if self.prediction == "v_prediction":
            return signal * found + rest * latents
        return (latents - signal * found) / rest

    @torch.no_grad()
    def sample(
        self,
        count: int = 1,
        *,
        size: int | None = None,
        steps: int = 50,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """(count, C, size, size) new images in [0, 1], of nothing but noise, by DDIM.

        Args:
            count: how many.
            size: of a side in pixels; None for what it was trained on.
            steps: noise levels; one pass through the network each.
            generator: on the CPU, of the noise.
        """
        side = self.side if size is None else checks.integer("size", size, self.multiple)
        cells = (side // self.cell,) * 2
        shape = (checks.integer("count", count, 1), self.unet.config.in_channels, *cells)
        latents = torch.randn(shape, generator=generator).to(self.device)
        for time, before, after in levels(self.alphas, checks.integer("steps", steps, 1)):
            noise = self.noise(latents, time)
            cleaned = clean(latents, noise, before)
            latents = ahead(cleaned, noise, before, after, 0.0, torch.randn_like)
        return self.decode(latents).clamp(0, 1)
