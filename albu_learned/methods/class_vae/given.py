"""What a ClassVAE is made with and asked, checked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import as_floats

__all__ = ["check_labels", "check_starts", "images", "labels", "members", "numbers", "shape"]

_SIDES = (8, 128)  # of images, in pixels


def shape(given: Any) -> list[int]:
    low, high = _SIDES
    good = isinstance(given, Sequence) and len(given) == 3
    if not good or not all(low <= side <= high for side in given[1:]):
        raise ValueError(
            f"`shape` must be (C, H, W) with sides of {low} to {high} pixels, got {given!r}. "
            "Resize the images before the fit."
        )
    return [checks.integer("shape", number, 1) for number in given]


def members(given: Sequence[Sequence[int]] | None, classes: int) -> list[list[int]]:
    """The classes of each network."""
    if given is None:
        return [[label] for label in range(classes)]
    found = [[checks.integer("members", label, 0) for label in own] for own in given]
    flat = [label for own in found for label in own]
    if not flat or not all(found) or len(set(flat)) < len(flat) or max(flat) >= classes:
        raise ValueError(
            f"`members` must name classes from 0 to {classes - 1}, each once, for every network, "
            f"got {given!r}."
        )
    return found


def numbers(members: Sequence[Sequence[int]], classes: int) -> tuple[Tensor, Tensor]:
    """(classes,) of each class its network, -1 where it has none; and its number there."""
    network_of = torch.full((classes,), -1)
    member_of = torch.zeros(classes, dtype=torch.int64)
    for number, own in enumerate(members):
        network_of[own], member_of[own] = number, torch.arange(len(own))
    return network_of, member_of


def labels(given: Any, device: torch.device) -> Tensor:
    """Class numbers as a tensor; which they may be is checked with the batch."""
    try:
        found = torch.as_tensor(given, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"`labels` must be (B,) class numbers, such as [0, 2], got {given!r}."
        ) from error
    if found.numel() == 0:
        raise ValueError("`labels` must be one class number or more, got none.")
    return found


def check_labels(found: Tensor, network_of: Tensor, without: Sequence[object]) -> None:
    """Raises unless these are classes that have a network.

    Args:
        found: (B,) int64.
        network_of: (classes,) of each class its network, -1 where it has none.
        without: the classes that have none, as they are called.
    """
    checks.class_numbers(found, len(network_of), "this ClassVAE")
    if without:
        checks.require(
            (network_of[found] >= 0).all(),
            "`labels` must be classes that this ClassVAE has seen images of, which it has not of "
            f"{', '.join(map(repr, without))}. Fit it anew with some, or leave rows of these "
            "classes out.",
        )


def images(given: Tensor, learned: Sequence[int]) -> Tensor:
    """Images as floats, if they are of the shape (C, H, W) that was learned."""
    if list(given.shape[1:]) != list(learned):
        raise ValueError(
            f"`images` must be (B, {', '.join(map(str, learned))}) for this ClassVAE, got "
            f"{tuple(given.shape)}. Resize or convert them."
        )
    seen = as_floats(given)
    checks.require(
        ((seen >= 0) & (seen <= 1)).all(),
        "`images` must be floats in [0, 1], or uint8, got others, or NaN. Divide pixels of 0 "
        "to 255 by 255.",
    )
    return seen


def check_starts(saved: Tensor, codes: int, present: Sequence[int]) -> None:
    """Raises unless this is where the codes of each class begin, in a table of so many; in one that
    was never filled all are 0.

    Args:
        saved: (classes + 1,).
        codes: how many there are.
        present: the classes that have some.
    """
    starts = saved.tolist()
    counts = [last - first for first, last in pairwise(starts)]
    filled = min(counts) >= 0 and all(counts[label] for label in present)
    if any(starts) and not (filled and starts[0] == 0 and starts[-1] == codes):
        raise ValueError(
            f"`table.starts` must rise from 0 to {codes}, the number of codes, at every class that "
            f"has a network, got {starts}. Fit the method again, or copy its artifact again."
        )
