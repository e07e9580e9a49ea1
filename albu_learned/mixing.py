"""Weighted sums of the rows of a batch: the one primitive of every mix.

There are two ways to the same sums. A dense product of matrices is best where an output takes in
much of the batch; where it takes in little, the few rows are gathered and added up.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

# A gathered term costs about as much as so many terms of a dense product (measured on two cores);
# a big batch outgrows the caches and is gathered from memory, which is slower still.
GATHER_COST = 4
GATHER_COST_BIG = 16
BIG = 8 * 2**20  # bytes


def mix(rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """(R, ...): output i is the sum over k of weight[i, k] * rows[index[i, k]].

    Half precision and uint8 are summed in float32; uint8 is rounded. The memory format is kept. A
    NaN or infinity in one row may reach all outputs, also those that do not take it in: 0 * NaN.
    """
    with torch.autocast(rows.device.type, enabled=False):
        accurate = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
        order = _memory_order(accurate)
        laid = accurate.permute(order)
        flat = laid.reshape(len(rows), -1)
        product = _gathered if _is_sparse(flat, index, weight) else _dense
        mixed = product(flat, index, weight.to(flat.dtype)).view(len(index), *laid.shape[1:])
        if rows.dtype == torch.uint8:
            mixed = mixed.round().clamp(0, 255)
    return mixed.permute([order.index(dim) for dim in range(rows.ndim)]).to(rows.dtype)


def _memory_order(rows: Tensor) -> list[int]:
    """The dimensions from the outermost to the innermost in memory, the batch first: in this order
    rows of any dense format (channels_last too) flatten without a copy."""
    order = list(range(rows.ndim))
    if rows.is_contiguous():
        return order
    return [0, *sorted(order[1:], key=lambda dim: -rows.stride()[dim])]


def _is_sparse(flat: Tensor, index: Tensor, weight: Tensor) -> bool:
    """Whether to gather: where it is faster, and no derivative is wanted. The gathered sum has but
    first ones, backwards; which derivatives there are must not depend on the size of a batch."""
    if _wants_derivatives(flat, weight):
        return False
    big = flat.numel() * flat.element_size() > BIG
    cost = GATHER_COST_BIG if big else GATHER_COST
    return flat.shape[1] > 0 and index.shape[1] * cost <= len(flat)


def _gathered(flat: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    return F.embedding_bag(index, flat, mode="sum", per_sample_weights=weight.contiguous())


def _dense(flat: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    W = flat.new_zeros(len(index), len(flat)).scatter_add(1, index, weight)
    if not _takes_output(W, flat):
        return W @ flat
    return torch.mm(W, flat, out=_fresh(len(W), flat))


def _takes_output(W: Tensor, X: Tensor) -> bool:
    """Whether a product may be written to memory of ours: big enough to matter, no derivatives."""
    if torch.compiler.is_compiling() or X.device.type != "cpu":
        return False
    if _wants_derivatives(W, X):
        return False
    return len(W) * X.shape[1] * X.element_size() > BIG


def _wants_derivatives(*tensors: Tensor) -> bool:
    backwards = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return backwards or any(_has_tangent(tensor) for tensor in tensors)


def _has_tangent(tensor: Tensor) -> bool:
    """Whether forward-mode derivatives are being carried along."""
    return unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


def _fresh(rows: int, like: Tensor) -> Tensor:
    """Memory that nothing uses yet, from numpy: it asks the system for huge pages, torch does not,
    and to fault in 77 MB of small pages takes a fifth of the time of their product."""
    kind = np.float64 if like.dtype == torch.float64 else np.float32
    return torch.from_numpy(np.empty((rows, like.shape[1]), dtype=kind))
