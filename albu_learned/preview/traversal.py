"""What a latent number changes: images along the directions in which codes of a class vary most."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from albu_learned.kinds import Generate
from albu_learned.method import Plan

__all__ = ["REACH", "traversal"]

REACH = 2.0  # deviations to either side


@torch.no_grad()
def traversal(
    method: Generate, plan: Plan, like: Tensor, direction: int, steps: int
) -> Tensor | None:
    """(steps, C, H, W): images of one class, from -2 to 2 deviations of its codes along one of the
    directions in which they vary most; None if the generator has no codes.

    Args:
        method: the generator; its plan holds a code "z" and the class "label" of each row, if it
            has codes at all.
        plan: of a row or more of the class.
        like: (B, C, H, W), images as `pixels` takes them.
        direction: 0 is the one in which they vary most, 1 the next.
        steps: how many images.
    """
    if set(plan) != {"z", "label"} or plan["z"].ndim != 2:
        return None
    codes = _codes(method, int(plan["label"][0])).to(plan["z"])
    direction = min(direction, plan["z"].shape[1] - 1)
    centre, axis = codes.new_zeros(codes.shape[1]), torch.eye(codes.shape[1]).to(codes)[direction]
    if len(codes) > direction + 1:
        centre = codes.mean(dim=0)
        _, sizes, axes = torch.linalg.svd(codes - centre, full_matrices=False)
        axis = axes[direction] * sizes[direction] / (len(codes) - 1) ** 0.5
    along = torch.linspace(-REACH, REACH, steps).to(codes)[:, None]
    made = {"z": centre + along * axis, "label": plan["label"][:1].expand(steps)}
    return method.pixels(like[:1].expand(steps, -1, -1, -1), made)


def _codes(method: Any, label: int) -> Tensor:
    """(N, L): what real images of the class are encoded by; none are known before a fit."""
    starts = method.table.starts.tolist()
    codes: Tensor = method.table.mean[starts[label] : starts[label + 1]]
    return codes
