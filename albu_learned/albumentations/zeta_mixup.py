"""zeta-mixup in Albumentations: of whole batches, or of one image with references."""

from __future__ import annotations

from albu_learned.albumentations import host
from albu_learned.albumentations.collate import MixCollate
from albu_learned.albumentations.mix import MixTransform
from albu_learned.methods import zeta_mixup

__all__ = ["ZetaCollate", "ZetaMixup"]


class ZetaMixup(MixTransform):
    """Mixes an image with references by zeta-mixup; the image leads the mix.

    For training on batches prefer `ZetaCollate`, which needs no references. The label becomes soft,
    a float32 vector of class probabilities, on every call, also where p does not fire. For that
    this must stand outside OneOf, SomeOf and a Compose with p < 1, which may skip it: the label
    would then stay as it was.

    Args:
        gamma: how close the output stays to the image. At 2.8 it keeps at least .80 of it.
        top_k: mix at most so many images, the image itself included; None mixes all.
        num_classes: how many classes there are; needed when labels are class numbers.
        smoothing: label smoothing of class numbers, folded into the soft labels.
        metadata_key: where the references are, a list of {"image": ..., "label": ...} of the shape
            and dtype that the image has at this place of the pipeline.
        label_key: where the image's label is.
        p: the probability of mixing. With p=0 no references are needed.

    Targets:
        image

    Image types:
        uint8, float32

    Example:
        >>> import numpy as np
        >>> red, blue = np.zeros((2, 8, 8, 3), np.uint8)
        >>> red[..., 0] = blue[..., 2] = 200
        >>> mix = ZetaMixup(num_classes=2, p=1)
        >>> out = mix(image=red, label=0, zeta_metadata=[{"image": blue, "label": 1}])
        >>> out["image"][0, 0].tolist(), out["label"].round(3).tolist()
        ([175, 0, 25], [0.8740000128746033, 0.12600000202655792])
    """

    class InitSchema(host.BaseTransformInitSchema):
        gamma: float
        top_k: int | None
        num_classes: int | None
        smoothing: float
        metadata_key: str
        label_key: str

    def __init__(
        self,
        gamma: float = 2.8,
        top_k: int | None = None,
        num_classes: int | None = None,
        smoothing: float = 0.0,
        metadata_key: str = "zeta_metadata",
        label_key: str = "label",
        p: float = 0.5,
    ) -> None:
        method = zeta_mixup.ZetaMixup(gamma, top_k, num_classes, smoothing)
        super().__init__(method, metadata_key, label_key, p)
        self.gamma = gamma
        self.top_k = top_k
        self.num_classes = num_classes
        self.smoothing = smoothing


class ZetaCollate(MixCollate):
    """Mixes each batch by zeta-mixup: `DataLoader(..., collate_fn=ZetaCollate(num_classes=10))`.

    Args:
        num_classes: how many classes there are; None if labels are vectors already.
        gamma: how close an output stays to the image that leads it.
        top_k: mix at most so many images; None mixes the whole batch.
        smoothing: label smoothing of class numbers, folded into the soft labels.
        p: the probability of mixing a batch; labels are soft in every batch.
        image_key: where the image of a dict is.
        label_key: where its label is.

    Example:
        >>> import torch
        >>> samples = [{"image": torch.rand(3, 8, 8), "label": i % 2} for i in range(4)]
        >>> batch = ZetaCollate(num_classes=2)(samples)
        >>> batch["image"].shape, batch["label"].shape
        (torch.Size([4, 3, 8, 8]), torch.Size([4, 2]))
    """

    def __init__(
        self,
        num_classes: int | None,
        gamma: float = 2.8,
        top_k: int | None = None,
        smoothing: float = 0.0,
        p: float = 1.0,
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        method = zeta_mixup.ZetaMixup(gamma, top_k, num_classes, smoothing)
        super().__init__(method, p, image_key, label_key)
