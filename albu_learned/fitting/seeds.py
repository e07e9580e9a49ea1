"""Random numbers that facts decide, so that a fit which was stopped goes on with the same bits."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

__all__ = ["seed_for", "seeded"]


def seeded(*facts: object) -> torch.Generator:
    """A generator that such facts decide, on the CPU."""
    return torch.Generator().manual_seed(seed_for(repr([_told(fact) for fact in facts])))


def seed_for(text: str, bits: int = 63) -> int:
    """The seed of so many bits that a text decides. Neighbouring seeds, such as 0 and 1, must not
    share a stream of random numbers: so what is asked for, in words, is hashed."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> (64 - bits)


def _told(fact: object) -> object:
    return fact.tolist() if isinstance(fact, Tensor) else fact
