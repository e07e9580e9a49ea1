"""What all warps by a family have in common: noise of its size, its motion as a field, and how
finely that must be computed."""

from __future__ import annotations

import copy
from abc import abstractmethod
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.families import Family, Pace
from albu_learned.kinds import Warp
from albu_learned.kinds.warp import BOXES, PADDINGS
from albu_learned.method import Plan
from albu_learned.methods.theta_warp.family import checked
from albu_learned.methods.theta_warp.field import ThetaField

__all__ = ["FamilyWarp"]

_MEASURED = 0.9  # the share of motions whose pace is enough


class FamilyWarp(Warp):
    """A warp by random thetas of a family; see `ThetaWarp` for its arguments.

    A subclass says by `plan` which theta becomes of the noise, by `tried` which thetas to expect,
    and calls `measure` once it has made the buffers of its distribution.
    """

    _base = True
    tries = MappingProxyType({"scale": (1.0, 0.7, 1.4)})

    def __init__(self, family: Family, padding: str, box: str, min_visible: float) -> None:
        super().__init__()
        self.padding = checks.one_of("padding", padding, PADDINGS)
        self.box = checks.one_of("box", box, BOXES)
        self.min_visible = checks.between("min_visible", min_visible, "[0, 1]")
        self.family = checked(family)
        self.ndim = self.family.ndim

    @abstractmethod
    def tried(self, generator: torch.Generator) -> Tensor:
        """(N, dim): random thetas, float32 on the CPU."""

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.measure()

    @torch.no_grad()
    def measure(self) -> None:
        """Measures the pace of the motions; to be called when their distribution has been changed.

        It is that of nine tenths of them; the others are a little less exact. An image then comes
        out the same in every batch and in a compiled graph, and no GPU is waited for.
        """
        thetas = self.tried(torch.Generator().manual_seed(0))
        if not thetas.isfinite().all():
            raise ValueError(
                f"The distribution of this {type(self).__name__} must be of finite numbers, got "
                "NaN or infinity. Fit it again, or copy its artifact again."
            )
        family = copy.deepcopy(self.family).float().cpu()
        paces = torch.tensor([family.pace(theta[None]) for theta in thetas], dtype=torch.float64)
        self.pace = Pace(*paces.quantile(_MEASURED, dim=0).tolist())

    def draw(
        self,
        rows: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Plan:
        return {"z": torch.randn(rows, self.family.dim, generator=generator, device=device)}

    def field(self, plan: Plan) -> ThetaField:
        return ThetaField(self.family, plan["theta"], self.pace)

    def identity(self, rows: int, device: torch.device | str | None = None) -> Plan:
        return {"theta": torch.zeros(rows, self.family.dim, device=device)}
