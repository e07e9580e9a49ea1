"""An Albumentations pipeline where timm expects a torchvision transform: PIL in, PIL out.

Nothing of Albumentations is imported: any callable with its convention will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["AlbumentationsTransform"]


class AlbumentationsTransform:
    """`loader.dataset.transform = Compose([AlbumentationsTransform(A.Compose([...])), ...])`.

    To be set after create_loader, which assigns a transform of timm's own, and before the first
    epoch.

    uint8 H x W x C results become PIL images, which timm's own transforms take; a uint8 C x H x W
    tensor (`ToTensorV2`) is passed on. So leave Normalize out: the prefetcher normalises. Without
    the prefetcher timm's transform takes tensors as they are: uint8 ones become floats in [0, 1]
    here, and float results are passed on, arrays as C x H x W tensors.

    Albumentations has generators of its own, and 2.0.8 copies one stream into all workers. They are
    seeded here once in each process, by a draw from torch's; a seed given to the Compose is
    replaced.

    Args:
        compose: called as compose(image=array)["image"].
        prefetcher: whether the loader has timm's prefetcher, whose fast_collate casts floats to
            uint8 without a word; float results are refused then.

    Example:
        >>> class Flip:
        ...     def __call__(self, image):
        ...         return {"image": image[:, ::-1]}
        >>> flipped = AlbumentationsTransform(Flip())(Image.new("RGB", (8, 6)))
        >>> flipped.size, flipped.mode
        ((8, 6), 'RGB')
    """

    def __init__(self, compose: Callable[..., Any], prefetcher: bool = True) -> None:
        if not callable(compose):
            raise TypeError(
                f"`compose` must be callable as compose(image=...), got {type(compose).__name__}."
            )
        self.compose = compose
        self.prefetcher = prefetcher
        self._seed: int | None = None

    def __call__(self, img: Any) -> Any:
        if not isinstance(img, (Image.Image, np.ndarray)):
            raise TypeError(
                f"The image must be a PIL image or an array, got {type(img).__name__}. Put this "
                "before the conversion to a tensor."
            )
        self._seed_process()
        return self._result(self.compose(image=np.array(img))["image"])

    def _seed_process(self) -> None:
        seed = torch.initial_seed()
        if seed != self._seed and hasattr(self.compose, "set_random_seed"):
            self.compose.set_random_seed(int(torch.randint(2**32, ())))
            self._seed = seed

    def _result(self, image: Any) -> Any:
        if not isinstance(image, (np.ndarray, Tensor)):
            raise TypeError(
                f'`compose` must return an array or a tensor as "image", got '
                f"{type(image).__name__}."
            )
        whole = image.dtype in (np.uint8, torch.uint8)
        if not whole and self.prefetcher:
            raise TypeError(
                f"`compose` must return uint8 images for timm's prefetcher, got {image.dtype}, "
                "which it would cast to uint8. Drop Normalize and ToFloat (the prefetcher "
                "normalises), or say AlbumentationsTransform(..., prefetcher=False) for a loader "
                "with use_prefetcher=False."
            )
        if isinstance(image, Tensor):
            return image / 255 if whole and not self.prefetcher else image
        return _picture(image) if whole else _channels_first(image)


def _picture(image: np.ndarray) -> Any:
    flat = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if flat.ndim == 3 and flat.shape[2] != 3:
        raise ValueError(
            f"`compose` must return images with 1 or 3 channels, got {flat.shape}. End it with "
            "ToTensorV2 for others."
        )
    return Image.fromarray(np.ascontiguousarray(flat))


def _channels_first(image: np.ndarray) -> Tensor:
    layers = image[..., None] if image.ndim == 2 else image
    return torch.from_numpy(np.ascontiguousarray(layers.transpose(2, 0, 1)))
