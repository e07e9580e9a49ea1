"""PSTN in timm's registry: any model of timm, with motions that are learned together with it.

    model = timm.create_model("pstn", backbone="resnet18", prior_std=0.05, num_classes=10)

A training script that is not edited takes it by importing this package first:

    python train.py DATA --device-modules albu_learned.timm --model pstn \\
        --model-kwargs backbone=resnet18 family=cpab cells=4 prior_std=0.05

The KL joins the loss by itself, see `albu_learned.pstn.joined`; in evaluation predictions are
averaged over ten motions. What is not named below goes to the backbone.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import timm
from timm.models import register_model
from torch import nn

from albu_learned import checks
from albu_learned.pstn import PSTN
from albu_learned.pstn.named import family_of

__all__ = ["BackbonePSTN", "pstn"]

_SIDE = 64  # of an example; the localiser has the same weights for any


class BackbonePSTN(PSTN):
    """A PSTN around a model of timm, with what training scripts ask of one. Made by `pstn`."""

    classifier: Any  # a module of timm
    num_classes: int

    def __init__(self, backbone: Any, in_chans: int, **arguments: Any) -> None:
        super().__init__(backbone, example=(in_chans, _SIDE, _SIDE), **arguments)
        self.num_classes = backbone.num_classes
        self.num_features = backbone.num_features
        self.default_cfg = self.pretrained_cfg = backbone.pretrained_cfg

    def get_classifier(self) -> nn.Module:
        return self.classifier.get_classifier()

    def reset_classifier(self, num_classes: int, *args: Any, **kwargs: Any) -> None:
        self.classifier.reset_classifier(num_classes, *args, **kwargs)
        self.num_classes = num_classes

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.classifier.set_grad_checkpointing(enable)

    def no_weight_decay(self) -> set[str]:
        """The parameters of the backbone that it keeps from weight decay."""
        names: set[str] = getattr(self.classifier, "no_weight_decay", set)()
        return {f"classifier.{name}" for name in names}


@register_model  # type: ignore[untyped-decorator]
def pstn(
    pretrained: bool = False,
    backbone: str | None = None,
    family: str = "affine",
    cells: int | Sequence[int] | None = None,
    prior_std: float = 0.05,
    kl_weight: float = 1.0,
    crops: int = 1,
    stn: bool = False,
    in_chans: int = 3,
    **kwargs: Any,
) -> BackbonePSTN:
    """Called by timm.create_model("pstn", ...).

    Args:
        pretrained: whether the backbone has its pretrained weights.
        backbone: the name of a model that timm knows.
        family: "affine", "cpab" or "affine_cpab".
        cells: of a CPAB, in each direction; (4, 4) by default.
        prior_std: how far the prior moves points, as a fraction of the side.
        kl_weight: of the KL in the loss; 1 is the bound, 0 leaves it out.
        crops: how many moved copies of an image the backbone sees at once, as more channels.
        stn: the deterministic transformer, to compare with.
        in_chans: of the images.
        **kwargs: of the backbone, such as `num_classes` and `drop_rate`.
    """
    _check_backbone(backbone)
    moves = family_of(family, cells)
    weight = checks.between("kl_weight", kl_weight, "[0, inf)")
    if kwargs.get("features_only") or kwargs.get("num_classes") == 0:
        raise ValueError(
            "A PSTN must have classes, whose logits train it, got features_only=True or "
            "num_classes=0. Leave them out; features are those of model.classifier."
        )
    channels = checks.integer("in_chans", in_chans, 1) * checks.integer("crops", crops, 1)
    try:
        inner = timm.create_model(backbone, pretrained=pretrained, in_chans=channels, **kwargs)
    except TypeError as error:
        _name_unknown(error, backbone)
        raise
    model = BackbonePSTN(inner, in_chans, family=moves, prior_std=prior_std, crops=crops, stn=stn)
    model.kl_weight = weight
    return model


def _name_unknown(error: TypeError, backbone: str | None) -> None:
    """Raises if it was an argument that neither knows: it may be one of ours, misspelt."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if found is not None:
        name = found.group(1)
        raise TypeError(
            f"`{name}` must be an argument of a PSTN or of its backbone {backbone!r}, and is none."
            + checks.nearest(name, inspect.signature(pstn).parameters)
        ) from error


def _check_backbone(name: Any) -> None:
    known = [each for each in timm.list_models() if each != "pstn"]
    if not isinstance(name, str) or name.partition(".")[0] not in known:
        raise ValueError(
            f"`backbone` must be the name of a model that timm knows, such as 'resnet18', got "
            f"{name!r}.{checks.nearest(name, known)} timm.list_models() lists them; of train.py "
            "write --model-kwargs backbone=resnet18."
        )
