"""Checks whose errors name the argument, the rule, the value and the remedy.

Numbers of numpy are taken as the numbers they are, and become Python's own, so that they can be
saved; True and False are not numbers here.
"""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from albu_learned.batch import Batch

_OVERSHOT = 1e-3


def integer(name: str, value: Any, least: int, remedy: str = "") -> int:
    """The value as an int that is at least `least`."""
    rule = f"`{name}` must be an integer >= {least}{remedy}, got {value!r}."
    if isinstance(value, bool):
        raise TypeError(rule)
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(rule) from None
    if number < least:
        raise ValueError(rule)
    return number


def real(name: str, value: Any, rule: str) -> float:
    """The value as a finite float, to be compared with `rule` by the caller."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be {rule}, got {value!r} ({type(value).__name__}).")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"`{name}` must be {rule}, got {number}.")
    return number


def between(name: str, value: Any, interval: str) -> float:
    """The value as a float in an interval written as in "[0, 1)" or "(0, inf)"."""
    number = real(name, value, f"a number in {interval}")
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = number >= low if interval[0] == "[" else number > low
    below = number <= high if interval[-1] == "]" else number < high
    if not (above and below):
        raise ValueError(f"`{name}` must be in {interval}, got {number:g}.")
    return number


def in_unit(low: float, high: float) -> bool:
    """Whether pixels from `low` to `high` are in [0, 1]; a resampling may overshoot."""
    return low >= -_OVERSHOT and high <= 1 + _OVERSHOT


def one_of(name: str, value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"`{name}` must be one of {tuple(known)}, got {value!r}.")
    return str(value)


def needs(method: Any, batch: Batch) -> None:
    """Raises if the batch lacks a part that the method plans from."""
    missing = sorted(name for name in method.needs if getattr(batch, name) is None)
    if missing:
        raise ValueError(
            f"{type(method).__name__} needs {' and '.join(missing)} to plan its change, but the "
            f"batch has none. Give a Batch with them.{method.instead}"
        )


def hard_labels(method: Any, batch: Batch) -> None:
    """Raises if labels are soft already, where a method needs to know the one class of an image."""
    if batch.labels is not None and batch.labels.ndim != 1:
        raise ValueError(
            f"`labels` must be (B,) class numbers for {type(method).__name__}, got "
            f"{tuple(batch.labels.shape)} soft labels. Put it before mixes."
        )


def on_cpu(method: Any, where: str, otherwise: str = "") -> None:
    """Raises if a method has tensors elsewhere than where its door works."""
    places = {tensor.device.type for tensor in method.state_dict().values()} - {"cpu"}
    if places:
        raise ValueError(
            f"`method` must be on the CPU for {where}, got {sorted(places)}. Give method.cpu()"
            f"{otherwise}."
        )


def nearest(given: Any, known: Iterable[str]) -> str:
    """The end of a message about a wrong name: the right one that is most like it, if one is."""
    near = difflib.get_close_matches(str(given), list(known), n=1)
    return f" Did you mean `{near[0]}`?" if near else ""


def class_numbers(labels: Tensor, count: int, what: str, name: str = "labels") -> None:
    """Raises if class numbers, as int64, are not in 0..count - 1, the range of `what`."""
    inside = (labels >= 0) & (labels < count)
    rule = f"`{name}` must be in 0..{count - 1} for {what}"
    if _waits(labels) and not inside.all():
        raise ValueError(f"{rule}, got {labels[~inside][0].item()}.")
    if not _waits(labels):
        torch._assert_async(inside.all(), f"{rule}.")


def require(condition: Tensor, rule: str) -> None:
    """Raises unless the condition, one truth value, holds."""
    if not _waits(condition):
        torch._assert_async(condition, rule)
    elif not condition:
        raise ValueError(rule)


def _waits(tensor: Tensor) -> bool:
    """Whether looking at numbers costs nothing. On CUDA checks run with the kernels, unwaited for;
    a compiled graph takes them in."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def rows(method: Any, step: str, values: object, count: int) -> None:
    """What a method's author may get wrong, said before it turns into an error of torch."""
    good = isinstance(values, dict) and all(
        isinstance(value, Tensor) and value.ndim > 0 and len(value) == count
        for value in values.values()
    )
    if not good:
        raise TypeError(
            f"`{step}` of {type(method).__name__} must return a dict of tensors with one row for "
            f"each of the {count} images, got {_describe(values)}."
        )


def _describe(values: object) -> str:
    if not isinstance(values, dict):
        return type(values).__name__
    shapes = {name: tuple(v.shape) for name, v in values.items() if isinstance(v, Tensor)}
    return str({name: shapes.get(name, type(v).__name__) for name, v in values.items()})
