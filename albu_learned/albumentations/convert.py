"""The host's arrays as the core's tensors, and back: RGB, height x width x channels, in pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["class_number", "image_from", "image_to", "label_array", "tensor_of"]


def tensor_of(array: np.ndarray) -> Tensor:
    """An array as a tensor, whatever its strides; read-only memory is copied, never shared."""
    contiguous = np.ascontiguousarray(array)
    return torch.from_numpy(contiguous if contiguous.flags.writeable else contiguous.copy())


def image_to(image: np.ndarray) -> Tensor:
    """(H, W) or (H, W, C) as one row (1, C, H, W) of a batch."""
    tensor = tensor_of(image)
    return tensor[None, None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)[None]


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
