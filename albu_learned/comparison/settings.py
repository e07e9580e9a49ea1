"""What all arms of a comparison share: how many images, seeds and steps, which network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from albu_learned import checks
from albu_learned.comparison.result import ALL, MEASURES, ordered

__all__ = ["NEAREST", "OWN", "SMALL", "Settings"]

SMALL = "small"  # the name of the networks of this package
NEAREST = "nearest"  # and of the classifier that learns nothing but its neighbours
OWN = (SMALL, NEAREST)
DETECTOR = "yolo11n.yaml"  # in its place for detection
PRECISIONS = ("float32", "bfloat16", "float16")
OF_CLASSES = ("accuracy", "macro_f1", "nll", "ece")
OF_BOXES = ("map50_95", "map50", "f1")


@dataclass(frozen=True)
class Settings:
    """How every cell is trained.

    Args:
        sizes: training images a class (of a detection set: in all); "all" for every one. The
            smaller subsets of a seed lie in its larger ones.
        seeds: how many times everything is repeated, each with other images and initial weights.
        steps: optimiser steps of every training.
        batch: images a step.
        model: "small"; "nearest", the class of the nearest training sample; the name of a timm
            model; or for detection a YAML file of YOLO.
        pretrained: whether timm loads the model's published weights, which may be a download.
        learning_rate: the highest of a one-cycle schedule; None for the model's default.
        image_size: the side of square images; None for the model's default.
        holdouts: how many times a third of the subset is held out to choose a strength.
        measure: by which strengths are chosen and arms compared; None for accuracy, or mAP50-95.
        device: "cpu", "cuda", "cuda:1"; None for CUDA where there is one.
        precision: "float32", or "bfloat16" or "float16" for mixed precision. float16 leaves out
            steps whose gradients overflow, so arms may differ in their number.
        threads: of each training. Results may differ in their last digits with it.
        together: how many candidates of an arm are trained in one go, as one network with a stack
            of weights; None for what is faster.
    """

    sizes: tuple[int, ...] = (5, 10, 50)
    seeds: int = 5
    steps: int = 600
    batch: int = 32
    model: str = SMALL
    pretrained: bool = False
    learning_rate: float | None = None
    image_size: int | None = None
    holdouts: int = 1
    measure: str | None = None
    device: str | None = None
    precision: str = "float32"
    threads: int = 1
    together: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", _sizes(self.sizes))
        for name in ("seeds", "steps", "holdouts", "threads"):
            checks.integer(name, getattr(self, name), 1)
        checks.integer("batch", self.batch, 2)  # one row alone cannot be mixed
        for name in ("image_size", "together"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), 1)
        if self.learning_rate is not None:
            checks.between("learning_rate", self.learning_rate, "(0, 1]")
        _one_of("precision", self.precision, PRECISIONS)
        if self.measure is not None:
            _one_of("measure", self.measure, MEASURES)
        if not isinstance(self.model, str) or not self.model:
            raise TypeError(f"`model` must be the name of one, got {self.model!r}.")
        object.__setattr__(self, "device", _device(self.device))

    def for_kind(self, kind: str) -> Settings:
        """The same with a measure, and a model, that data of this kind can have."""
        known = OF_BOXES if kind == "detection" else OF_CLASSES
        measure = self.measure or known[0]
        if measure not in known:
            raise ValueError(
                f"`measure` must be one of {', '.join(known)} for {kind}, got {measure!r}."
            )
        model = DETECTOR if kind == "detection" and self.model == SMALL else self.model
        return Settings(**{**asdict(self), "measure": measure, "model": model})

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        return tuple(range(self.seeds))


def _sizes(given: Any) -> tuple[int, ...]:
    listed = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    sizes = []
    for value in listed:
        rule = ', or "all"'
        if value == "all" or (value == ALL and type(value) is int):
            sizes.append(ALL)
        else:
            sizes.append(checks.integer("sizes", value, 1, rule))
    if not sizes or len(set(sizes)) < len(sizes):
        raise ValueError(f"`sizes` must name at least one size, each once, got {given!r}.")
    return tuple(ordered(sizes))


def _one_of(name: str, value: Any, known: Any) -> None:
    if not isinstance(value, str) or value not in known:
        near = checks.nearest(value, known)
        raise ValueError(f"`{name}` must be one of {', '.join(known)}, got {value!r}.{near}")


def _device(given: str | None) -> str:
    if given is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(given)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f'`device` must be one of torch, such as "cpu" or "cuda", got {given!r}.'
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f'`device` must be "cpu" or "cuda", got {given!r}.')
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f'`device` must be "cpu" here: torch sees no GPU, got {given!r}.')
    return str(device)
