"""How a detector is trained in a comparison: what all arms share, and what tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultralytics.utils import DEFAULT_CFG_DICT

from albu_learned import checks

__all__ = ["PLAIN", "RECIPE", "DetectorSettings", "augmentation", "schedule", "shared"]

# Without any augmentation of the host's: an image is resized and padded, nothing else.
PLAIN: dict[str, Any] = {
    **dict.fromkeys(["mosaic", "mixup", "cutmix", "copy_paste", "hsv_h", "hsv_s", "hsv_v"], 0.0),
    **dict.fromkeys(["degrees", "translate", "scale", "shear", "perspective", "flipud"], 0.0),
    **dict.fromkeys(["fliplr", "bgr", "erasing", "multi_scale"], 0.0),
    "close_mosaic": 0,
    "auto_augment": None,
    "augmentations": [],  # None is the host's choice, if Albumentations is installed
}
# The defaults of the host, which ends its mosaic a tenth of the epochs early: see `augmentation`.
RECIPE: dict[str, Any] = {key: DEFAULT_CFG_DICT.get(key) for key in PLAIN}
WARMUP = 0.1  # of the steps


@dataclass(frozen=True)
class DetectorSettings:
    """What all arms share.

    Args:
        model: a YAML file of YOLO or weights that are here; also the name of one of the host's
            YAML files, such as "yolo11n.yaml".
        image_size: the side of square images, a multiple of 32.
        steps: optimiser steps. Epochs are whole but the last, which ends at the last step.
        batch: images a step; all there are, if there are fewer. The last batch of an epoch has
            what is left, and is a step too.
        device: "cpu", or one GPU: "0", "cuda:0".
        amp: whether to train with bfloat16, on a GPU that has it. (float16 would leave out steps
            whose gradients overflow, and download a model to be checked with.)
        workers: processes that load data; on a CPU the host takes none.
        learning_rate: the highest; it rises in the first tenth of the steps, then falls to a
            hundredth, epoch by epoch.
        optimizer: a name that the host knows; not "auto", which chooses by the number of images.
    """

    model: str
    image_size: int
    steps: int
    batch: int
    device: str = "cpu"
    amp: bool = False
    workers: int = 0
    learning_rate: float = 0.001
    optimizer: str = "AdamW"

    def __post_init__(self) -> None:
        for name, least in (("image_size", 32), ("steps", 1), ("batch", 1), ("workers", 0)):
            checks.integer(name, getattr(self, name), least)
        checks.between("learning_rate", self.learning_rate, "(0, 1]")
        if self.image_size % 32:
            raise ValueError(f"`image_size` must be a multiple of 32, got {self.image_size}.")
        if self.optimizer == "auto":
            raise ValueError('`optimizer` must be the same for all arms, got "auto". Name one.')
        device = {"cuda": "0"}.get(self.device, self.device.removeprefix("cuda:"))
        if device not in ("cpu", "mps") and not device.isdigit():
            raise ValueError(f'`device` must be "cpu" or one GPU such as "0", got {self.device!r}.')
        if self.amp and device in ("cpu", "mps"):
            raise ValueError(f"`amp` must be False on {device}: Ultralytics needs a GPU for it.")
        object.__setattr__(self, "device", device)


def augmentation(overrides: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The host's arguments. It means `close_mosaic` to be so many of its default number of epochs,
    and would leave no mosaic in a short training, so it is scaled."""
    for key in overrides:
        if key not in PLAIN:
            raise ValueError(
                f"`overrides` must be augmentation of YOLO, got {key!r}."
                f"{checks.nearest(key, PLAIN)} Known: {', '.join(PLAIN)}."
            )
    given = {**PLAIN, **overrides}
    given["close_mosaic"] = round(given["close_mosaic"] * epochs / DEFAULT_CFG_DICT["epochs"])
    return given


def schedule(settings: DetectorSettings, batches: int) -> dict[str, Any]:
    """The same for all arms, and nothing that depends on how well they do."""
    return {
        "optimizer": settings.optimizer,
        "lr0": settings.learning_rate,
        "momentum": 0.9,
        "warmup_epochs": WARMUP * settings.steps / batches,
        "warmup_bias_lr": 0.0,  # as the host has it for Adam
        "deterministic": True,
        "patience": 0,
        "val": False,
        "save": False,  # but the last state
        "single_cls": False,
    }


def shared(settings: DetectorSettings, place: Path) -> dict[str, Any]:
    """For trainings and tests."""
    return {
        "imgsz": settings.image_size,
        "device": settings.device,
        "workers": settings.workers,
        "project": str(place),
        "name": "run",
        "exist_ok": True,
        "plots": False,
        "verbose": False,
    }
