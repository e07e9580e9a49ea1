"""PSTN in the classification of Ultralytics: motions that are learned together with a classifier.

    from ultralytics import YOLO
    from albu_learned.ultralytics import PSTNTrainer

    model = YOLO("yolo11n-cls.pt")
    model.train(trainer=PSTNTrainer, pstn={"prior_std": 0.05}, data="...", epochs=20)

The loss has the KL; validation and predictions are averaged over ten motions, by any process that
opens the checkpoint. It goes together with a spec: install(model, "augment.yaml") before.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.nn.modules import Classify
from ultralytics.utils import DEFAULT_CFG

from albu_learned.ultralytics.host import LOGGER, RANK
from albu_learned.ultralytics.listed import Callbacks, copied, owner
from albu_learned.ultralytics.pstn_model import PSTNClassificationModel, Recipe, check_settings

__all__ = ["PSTNTrainer"]


@dataclass(frozen=True, eq=False)
class _Carried:
    """Settings among the callbacks, which alone the host takes along to other processes."""

    settings: dict[str, Any]

    def keep(self, trainer: Any) -> None:
        """Nothing: a callback is needed that belongs to this."""


class PSTNTrainer(ClassificationTrainer):
    """Trains a PSTN around a classifier: `model.train(trainer=PSTNTrainer, pstn={...}, ...)`.

    Settings are `family` ("affine", "cpab" or "affine_cpab"), `cells`, `prior_std`, `kl_weight` and
    `stn`, see `albu_learned.PSTN`. A model that was trained so has its own, and needs none.
    """

    def __init__(
        self,
        cfg: Any = DEFAULT_CFG,
        overrides: dict[str, Any] | None = None,
        _callbacks: Callbacks | None = None,
    ) -> None:
        overrides, listed = copied(overrides, _callbacks)
        given, carried = overrides.pop("pstn", None), owner(listed, _Carried)
        if given is None:
            self.given = None if carried is None else carried.settings
        else:
            self.given = check_settings(given)
            carried = _Carried(self.given)
            listed.setdefault("on_pretrain_routine_start", []).append(carried.keep)
        super().__init__(cfg, overrides, listed)

    def get_model(
        self, cfg: Any = None, weights: Any = None, verbose: bool = True
    ) -> PSTNClassificationModel:
        settings, network = self._settings(cfg), cfg
        if isinstance(cfg, Recipe):
            network = copy.deepcopy(cfg["network"])
        model = super().get_model(network, weights, verbose)
        if not isinstance(model.model[-1], Classify):
            raise ValueError(
                "A PSTNTrainer must be given a classifier, such as yolo11n-cls.yaml, got a model "
                f"that ends with {type(model.model[-1]).__name__}."
            )
        made = PSTNClassificationModel.around(model, settings, weights)
        if verbose and RANK in (-1, 0):
            told = ", ".join(f"{key} {value}" for key, value in settings.items())
            LOGGER.info(f"albu_learned: PSTN around the classifier: {told}")
        return made

    def _settings(self, cfg: Any) -> dict[str, Any]:
        own = cfg["pstn"] if isinstance(cfg, Recipe) else None
        if own is not None and self.given not in (None, own):
            raise ValueError(
                f"`pstn` must be left out of the training of a model that was trained as a PSTN, "
                f"or be {own}, got {self.given}."
            )
        return own or self.given or check_settings({})
