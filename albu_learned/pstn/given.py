"""What a model is given, checked: errors name the argument, the rule, the value and the remedy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from albu_learned import checks
from albu_learned.families import Family

__all__ = [
    "class_scores",
    "example_shape",
    "features",
    "flag",
    "module",
    "other_factor",
    "prior_std",
    "rows",
    "start",
    "targets",
]

_KINDS = {
    1: ("series (B, C, T)", "For images take a family that moves them, such as Affine()."),
    2: (
        "images (B, C, H, W)",
        "Of one image give x[None]; for series take Affine(2) or CPAB(10).",
    ),
}


def module(name: str, value: Any, example: str) -> nn.Module:
    if not isinstance(value, nn.Module):
        raise TypeError(f"`{name}` must be an nn.Module, such as {example}, got {value!r}.")
    return value


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {value!r}.")
    return value


def prior_std(value: Any) -> float:
    rule = "a number > 0, such as 0.05 of the image's side"
    number = checks.real("prior_std", value, rule)
    if number <= 0:
        raise ValueError(f"`prior_std` must be {rule}, got {number:g}.")
    return number


def start(value: Any, crops: int, family: Family) -> Tensor:
    """(crops, dim), float32: the theta at which crops start."""
    if value is None:
        return torch.zeros(crops, family.dim, dtype=torch.float32)
    if not isinstance(value, Tensor):
        raise TypeError(f"`start` must be a tensor, one theta for each crop, got {value!r}.")
    if value.shape != (crops, family.dim) or not value.is_floating_point():
        raise ValueError(
            f"`start` must be floats of the shape ({crops}, {family.dim}): one theta of "
            f"{family!r} for each crop, got {value.dtype} of the shape {tuple(value.shape)}."
        )
    if not value.isfinite().all():
        raise ValueError("`start` must be finite, got NaN or infinity.")
    return value.detach().float().clone()


def example_shape(value: Any, ndim: int) -> list[int]:
    """The shape of one row, with a batch of one, of an example batch or of its shape."""
    shape = value.shape if isinstance(value, Tensor) else value
    if isinstance(shape, (str, bytes)) or not hasattr(shape, "__len__"):
        raise TypeError(
            f"`example` must be a batch, or a shape such as (1, 28, 28), got {value!r}."
        )
    sizes = [checks.integer("example", n, 1) for n in shape]
    if len(sizes) == ndim + 2:
        sizes = sizes[1:]
    if len(sizes) != ndim + 1:
        raise ValueError(
            f"`example` must be {_KINDS[ndim][0]} or the shape of them, got {tuple(shape)}. "
            f"{_KINDS[ndim][1]}"
        )
    return [1, *sizes]


def rows(x: Any, ndim: int) -> None:
    """Raises if these are not images, or series, that the family moves."""
    if not isinstance(x, Tensor):
        raise TypeError(f"`x` must be a tensor, got {type(x).__name__}. Give torch.as_tensor(x).")
    if x.ndim != ndim + 2:
        wanted, remedy = _KINDS[ndim]
        raise ValueError(
            f"`x` must be {wanted}, which the `family` of this PSTN moves, got the shape "
            f"{tuple(x.shape)}. {remedy}"
        )
    if not x.is_floating_point():
        raise TypeError(f"`x` must be floats, got {x.dtype}. Of uint8 images give x.float() / 255.")
    if 0 in x.shape:
        raise ValueError(f"`x` must have at least one row and pixel, got {tuple(x.shape)}.")


def features(found: Any, count: int) -> Tensor:
    """What a localiser returned, if it is (B, features)."""
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != count:
        raise ValueError(
            f"`localiser` must return (B, features), here ({count}, features), got "
            f"{_described(found)}. Put nn.Flatten() at its end."
        )
    return found


def class_scores(found: Any, count: int) -> Tensor:
    """What a classifier returned, if it is (B, K) logits, as floats of 32 bits or more."""
    good = isinstance(found, Tensor) and found.ndim == 2 and len(found) == count
    if not good or found.shape[1] < 2 or not found.is_floating_point():
        raise ValueError(
            f"`classifier` must return logits (B, K) of K >= 2 classes, here ({count}, K), got "
            f"{_described(found)}. Wrap it so that it does; for yes or no give two classes."
        )
    scores: Tensor = found.to(torch.promote_types(found.dtype, torch.float32))
    checks.require(
        scores.logsumexp(dim=1).isfinite().all(),  # some may be minus infinity: never that class
        "`classifier` must return numbers, got NaN or infinity, so the loss would be NaN. Training "
        "has diverged: lower the learning rate, or clip gradients.",
    )
    return scores


def targets(y: Any, count: int, classes: int) -> Tensor:
    """(B,) class numbers, or (B, K) soft labels."""
    if not isinstance(y, Tensor):
        raise TypeError(f"`y` must be a tensor, got {type(y).__name__}. Give torch.as_tensor(y).")
    soft = y.is_floating_point()
    expected = (count, classes) if soft else (count,)
    if y.shape != expected or y.dtype == torch.bool or y.is_complex():
        raise ValueError(
            f"`y` must be class numbers of the shape ({count},), or soft labels of the shape "
            f"({count}, {classes}) as floats, got {y.dtype} of the shape {tuple(y.shape)}."
        )
    if not soft:
        checks.class_numbers(y.long(), classes, "the logits of this classifier", "y")
        return y
    checks.require(
        (y >= 0).all() & ((y.sum(dim=1) - 1).abs() < 0.01).all(),
        "`y` must be soft labels that are >= 0 and sum to 1 in each row, got others. Divide them "
        "by their sum.",
    )
    return y


def other_factor(own: Tensor, saved: Tensor | None) -> list[str]:
    """What is wrong if weights were trained with another map from z to theta; shapes are torch's to
    compare."""
    if saved is None or saved.shape != own.shape:
        return []
    if torch.allclose(saved.cpu().double(), own.cpu().double(), rtol=1e-2, atol=1e-4):
        return []  # up to half precision
    ratio = float(saved.norm() / own.norm())
    return [
        "`family` and `prior_std` must be those with which the weights were trained, got others "
        f"({ratio:.3g} times as strong there). Make the PSTN with the same arguments."
    ]


def _described(found: Any) -> str:
    if not isinstance(found, Tensor):
        return f"a {type(found).__name__}"
    return f"{found.dtype} of the shape {tuple(found.shape)}"
