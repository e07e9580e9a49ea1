"""A plan as plain lists and numbers, so that a host can keep, print, save and replay it.

Values go out exactly: every float32 is a float64, and JSON writes float64 without loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from albu_learned.method import Plan

__all__ = ["from_record", "generator_from", "to_record"]

Record = dict[str, dict[str, Any]]


def to_record(plan: Plan) -> Record:
    """The tensors of a plan, each as its dtype, shape and a flat list of values."""
    return {
        name: {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "values": tensor.detach().cpu().flatten().tolist(),
        }
        for name, tensor in plan.items()
    }


def from_record(record: Record) -> Plan:
    """The plan that `to_record` wrote."""
    return {
        name: torch.tensor(entry["values"], dtype=getattr(torch, entry["dtype"])).view(
            entry["shape"]
        )
        for name, entry in record.items()
    }


def generator_from(rng: np.random.Generator) -> torch.Generator:
    """A torch generator that the host's own generator decides."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))
