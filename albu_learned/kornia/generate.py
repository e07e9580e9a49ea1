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
from albu_learned.method import Method, hold
from albu_learned.methods import class_vae, psld


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


class ClassVAE(GenerateTransform):
    """Puts a new image of its class in the place of an image; see `albu_learned.ClassVAE`.

    It reads labels, so it stands in our container, directly in its list. Gradients reach the
    decoder of the live method that it was given; with a sampler, temperature or reject of its own
    those of a copy, `method` of this operation.

    Args:
        method: a fitted `ClassVAE`, or its folder.
        p: probability for each image. Above 0.4 real images become few.
        same_on_batch: draw one code for the whole batch.
        keepdim: return (C, H, W) for (C, H, W).
        classes: your class names in the order of your labels, where the artifact has names.
        resize: whether pictures of another size than the images are resized to fit.
        sampler: where codes come from: "prior", "posterior", "mixture" or "convex"; None for the
            artifact's own.
        temperature: multiplies the spread of codes; None likewise.
        reject: draw again what is doubtful, such as 0.05; None likewise.

    Example:
        >>> import albu_learned, torch
        >>> from albu_learned.kornia import LearnedAugmentationSequential
        >>> of_no_data = albu_learned.ClassVAE((3, 16, 16), num_classes=2)
        >>> replace = ClassVAE(of_no_data, p=1.0)
        >>> augment = LearnedAugmentationSequential(replace, data_keys=["input", "class"])
        >>> augment(torch.rand(2, 3, 16, 16), torch.tensor([0, 1]))[0].shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        method: class_vae.ClassVAE | str | Path,
        *,
        p: float = 0.4,
        same_on_batch: bool = False,
        keepdim: bool = False,
        classes: Sequence[str] | None = None,
        resize: bool = False,
        sampler: str | None = None,
        temperature: float | None = None,
        reject: float | None = None,
    ) -> None:
        facts = {"sampler": sampler, "temperature": temperature, "reject": reject}
        super().__init__(
            hold(method, class_vae.ClassVAE, **facts),
            p=p,
            same_on_batch=same_on_batch,
            keepdim=keepdim,
            classes=classes,
            resize=resize,
        )


class PSLDInpaint(GenerateTransform):
    """Makes the background of images anew around their boxes; see `albu_learned.PSLDInpaint`.

    It reads images and boxes, so it stands in our container, directly in its list, before anything
    that takes pixels out of [0, 1]. What lies in boxes stays bit by bit, and boxes and labels as
    they are. An image takes seconds to minutes, so make variants once for a training, by
    `albu-learned synth`. No gradient passes.

    Args:
        method: a `PSLDInpaint`, or its folder.
        p: probability for each image.
        same_on_batch: draw the noise once for the whole batch.
        keepdim: return (C, H, W) for (C, H, W).
        **arguments: other values than the method's own of what a `PSLDInpaint` takes, such as
            `steps`, `mask` or `batch`. With protect="instances" objects are the channels of the
            first mask (B, N, H, W).

    Example:
        >>> from albu_learned.kornia import LearnedAugmentationSequential, PSLDInpaint
        >>> vary = PSLDInpaint("my_artifact", p=0.5, steps=50)               # doctest: +SKIP
        >>> augment = LearnedAugmentationSequential(                         # doctest: +SKIP
        ...     vary, data_keys=["input", "bbox_xyxy"])
        >>> images, boxes = augment(images, boxes)                           # doctest: +SKIP
    """

    def __init__(
        self,
        method: psld.PSLDInpaint | str | Path,
        *,
        p: float = 0.5,
        same_on_batch: bool = False,
        keepdim: bool = False,
        **arguments: Any,
    ) -> None:
        held = hold(method, psld.PSLDInpaint, **arguments)
        super().__init__(held, p=p, same_on_batch=same_on_batch, keepdim=keepdim)
