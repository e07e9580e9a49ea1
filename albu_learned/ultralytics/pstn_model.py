"""A YOLO classifier inside a PSTN: the host's own class, whose layers see moved images.

It is pickled into checkpoints by its name here, so `YOLO("best.pt")` finds it where this package is
installed. What it was made of is in its `yaml`, which the host reads to make a model again.
"""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import ClassificationModel

from albu_learned import checks
from albu_learned.pstn import PSTN, join
from albu_learned.pstn.named import family_of
from albu_learned.pstn.predict import evaluating

__all__ = ["PSTNClassificationModel", "Recipe", "check_settings"]

DEFAULTS = {"family": "affine", "cells": None, "prior_std": 0.05, "kl_weight": 1.0, "stn": False}
_SIDE = 64  # of an example; the localiser has the same weights for any


def check_settings(given: Any) -> dict[str, Any]:
    """All settings, of those that were given; raises if one is unknown."""
    if not isinstance(given, dict):
        raise TypeError(
            f"`pstn` must be a dict of settings, such as {{'prior_std': 0.05}}, got {given!r}."
        )
    for key in given:
        if key not in DEFAULTS:
            raise ValueError(
                f"`pstn` must have the settings {', '.join(DEFAULTS)}, got {key!r}."
                f"{checks.nearest(key, DEFAULTS)}"
            )
    return {**DEFAULTS, **given}


class Recipe(dict[str, Any]):
    """The host's description of the network, and the settings of the PSTN around it. To trainers
    that do not know it, it is no description: they would train the network alone."""

    def __init__(self, network: dict[str, Any], settings: dict[str, Any]) -> None:
        plain = {key: value for key, value in network.items() if key not in ("backbone", "head")}
        super().__init__(plain, network=network, pstn=settings)

    def __missing__(self, key: str) -> NoReturn:
        raise ValueError(
            "`trainer` must be one that knows a PSTN: any other would train its network alone. "
            "Write model.train(trainer=albu_learned.ultralytics.PSTNTrainer, ...)."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self["network"], self["pstn"])


class PSTNClassificationModel(ClassificationModel):
    """Made by `around`, of a classifier that the host has made."""

    pstn: PSTN

    @classmethod
    def around(
        cls, model: ClassificationModel, settings: dict[str, Any], weights: Any = None
    ) -> PSTNClassificationModel:
        """The same model, inside a PSTN.

        Args:
            model: its layers are taken as they are.
            settings: all that `check_settings` gives.
            weights: of a model of this class, whose localiser is taken too.
        """
        how = dict(settings)
        weight = checks.between("kl_weight", how.pop("kl_weight"), "[0, inf)")
        family = family_of(how.pop("family"), how.pop("cells"))
        model.__class__ = cls
        shape = (model.yaml["channels"], _SIDE, _SIDE)
        model.pstn = PSTN(_Network(model), family, **how, example=shape)
        model.pstn.kl_weight = weight
        model.yaml = Recipe(model.yaml, settings)
        if isinstance(weights, cls):
            model.pstn.load_state_dict(weights.pstn.float().state_dict())
        return model

    def network(self, x: Tensor) -> Tensor:
        """Logits of the layers alone."""
        found = super()._predict_once(x)
        return found[1] if isinstance(found, tuple) else found

    def _predict_once(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if any(args) or any(kwargs.values()):  # profiles and embeddings are of the layers
            return super()._predict_once(x, *args, **kwargs)
        if getattr(self.model[-1], "export", False):
            raise NotImplementedError(
                "A PSTN must predict in PyTorch: how it moves an image follows from the image, "
                "which no format of export() holds. Predict with YOLO('best.pt')."
            )
        scores = self.pstn(x)
        return scores if self.training else (scores.exp(), scores)

    def loss(self, batch: dict[str, Any], preds: Any = None) -> tuple[Tensor, Any]:
        """The host's loss, and the KL in training."""
        if preds is None:
            preds = self.forward(batch["img"])
        loss, items = super().loss(batch, preds)
        logits = preds[1] if isinstance(preds, (list, tuple)) else preds
        total = join(loss, logits)
        shown = total.detach()
        return total, {**items, "loss": shown} if isinstance(items, dict) else shown


class _Network(nn.Module):
    """The layers of a model, from within a part of it: no part of the tree of modules, in which
    they are already."""

    def __init__(self, model: PSTNClassificationModel) -> None:
        super().__init__()
        self.model = [model]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        model = self.model[0]
        if self.training:
            return model.network(x)
        with evaluating(model.model):  # which does not know when this evaluates alone
            return model.network(x)
