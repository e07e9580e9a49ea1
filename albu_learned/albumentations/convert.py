"""The host's arrays as the core's tensors, and back: RGB, height x width x channels, in pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from albu_learned import checks

__all__ = [
    "channels_first",
    "class_number",
    "image_from",
    "image_to",
    "label_array",
    "tensor_of",
    "unit_range",
]


def tensor_of(array: np.ndarray) -> Tensor:
    """An array as a tensor, whatever its strides; read-only memory is copied, never shared."""
    contiguous = np.ascontiguousarray(array)
    return torch.from_numpy(contiguous if contiguous.flags.writeable else contiguous.copy())


def image_to(image: np.ndarray) -> Tensor:
    """(H, W) or (H, W, C) as one row (1, C, H, W) of a batch."""
    tensor = tensor_of(image)
    return tensor[None, None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)[None]


def channels_first(images: Tensor) -> Tensor:
    """A batch (B, H, W) or (B, H, W, C) of the host's images as (B, C, H, W)."""
    return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)


def unit_range(image: np.ndarray, name: str, door: str) -> np.ndarray:
    """The image itself; a float one with values outside of [0, 1] is refused."""
    if image.dtype.kind == "f" and image.size:
        low, high = float(image.min()), float(image.max())
        if not checks.in_unit(low, high):
            raise ValueError(
                f"`{name}` must have values in [0, 1] for {door} if it is float, got {low:g} to "
                f"{high:g}. Put {door} before Normalize; clip what a resampler overshot."
            )
    return image


def image_from(rows: Tensor, like: np.ndarray) -> np.ndarray:
    """One row (1, C, H, W) as an array of the shape and dtype of `like`."""
    image = rows[0].permute(1, 2, 0).reshape(like.shape)
    return np.ascontiguousarray(image.numpy().astype(like.dtype, copy=False))


def label_array(label: Any, name: str) -> np.ndarray:
    """A class number () or class probabilities (K,) as an array of int64 or float32."""
    array = np.asarray(label)
    if array.ndim == 0 and array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.ndim == 1 and len(array) and array.dtype.kind in "iuf":
        return array.astype(np.float32)
    raise TypeError(
        f"`{name}` must be a class number or a vector of class probabilities, got "
        f"{type(label).__name__} of shape {array.shape} and type {array.dtype}. "
        "Encode class names as numbers first."
    )


def class_number(label: Any, name: str) -> int:
    """A class number; a soft label is refused."""
    array = np.asarray(label)
    if array.dtype.kind not in "iu" or array.size != 1:
        raise TypeError(
            f"`{name}` must be one class number, got {type(label).__name__} of shape {array.shape} "
            f"and type {array.dtype}. Put transforms that read a class before those that mix."
        )
    return int(array.reshape(()))
