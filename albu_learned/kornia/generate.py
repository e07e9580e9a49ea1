"""Generators in Kornia: new pixels, everything else passes through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kornia.augmentation import IntensityAugmentationBase2D
from torch import Tensor

from albu_learned import checks
from albu_learned.kinds import Generate
from albu_learned.kornia import parts
from albu_learned.kornia.learned import Learned, Params
from albu_learned.method import Method


class GenerateTransform(Learned, IntensityAugmentationBase2D):
    """Any generator as an operation of Kornia.

    Args:
        method: the generator, or the folder of its artifact.
        p: probability for each image.
        same_on_batch: draw once for the whole batch.
        keepdim: return (C, H, W) for (C, H, W).
        classes: your class names in the order of your labels, where the artifact has names.
        resize: whether pixels of another size than the images are resized to fit.
    """

    method: Generate

    def __init__(
        self,
        method: Method | str | Path,
        *,
        p: float = 0.5,
        same_on_batch: bool = False,
        keepdim: bool = False,
        classes: Sequence[str] | None = None,
        resize: bool = False,
    ) -> None:
        super().__init__(
            p=checks.between("p", p, "[0, 1]"), same_on_batch=same_on_batch, keepdim=keepdim
        )
        self._hold(method, Generate, classes)
        if resize:
            self.method = self.method.resized()

    def apply_transform(
        self, input: Tensor, params: Params, flags: Any, transform: Tensor | None = None
    ) -> Tensor:
        changed = self.change(params, parts.images(input)).images
        assert changed is not None
        return changed
