"""zeta-mixup: every sample becomes a mixture of many, close to one of them.

The weights are the terms of a p-series, w_r = r^-gamma / C for the ranks r = 1..K. Sample i has
rank 1 in output i, so each sample leads exactly one output; the other ranks go to the other samples
in a uniformly random order, drawn anew for every output.

Paper: K. Abhishek, C. J. Brown, G. Hamarneh, "Multi-sample zeta-mixup: richer, more realistic
synthetic samples from a p-series interpolant", Journal of Big Data 11:43 (2024).
"""

from __future__ import annotations

import warnings
from types import MappingProxyType

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch
from albu_learned.kinds import Mix
from albu_learned.method import Plan

__all__ = ["ZetaMixup", "zeta_weights"]

# Few samples of a large batch are picked one by one, faster than by sorting the whole batch.
MOST_PICKED = 64
FEWEST_ROWS = 64


class ZetaMixup(Mix):
    """Mixes all samples of a batch with weights rank^-gamma, each sample leading one output.

    Args:
        gamma: how close an output stays to its leading sample. At 2.8 (the reference's default) it
            keeps .80 of it, at 4 .92, which is worth trying with few images and short training.
        top_k: mix at most so many samples, weights renormalised; None mixes the whole batch.
        num_classes: how many classes there are; needed when labels are class numbers.
        smoothing: label smoothing of class numbers, folded into the soft labels.
        min_weight: boxes, points and instances of an image are kept in every output in which it
            weighs at least this much.

    Shape:
        images (B, ...) of any float type or uint8, labels (B,) or (B, K) -> the same images, and
        labels (B, K).

    Example:
        >>> import torch
        >>> images, labels = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
        >>> mixed, soft = ZetaMixup(num_classes=3)(images, labels)
        >>> mixed.shape, soft.shape, bool((soft.argmax(1) == labels).all())
        (torch.Size([6, 3, 8, 8]), torch.Size([6, 3]), True)
    """

    citation = """@article{abhishek2024zetamixup,
  title   = {Multi-sample {$\\zeta$}-mixup: richer, more realistic synthetic samples from a
             $p$-series interpolant},
  author  = {Abhishek, Kumar and Brown, Colin J. and Hamarneh, Ghassan},
  journal = {Journal of Big Data},
  volume  = {11},
  number  = {43},
  year    = {2024}
}"""
    tries = MappingProxyType({"gamma": (2.8, 4.0, 6.0)})

    def __init__(
        self,
        gamma: float = 2.8,
        top_k: int | None = None,
        num_classes: int | None = None,
        smoothing: float = 0.0,
        min_weight: float = 0.2,
    ) -> None:
        super().__init__(num_classes, smoothing, min_weight)
        self.gamma = _check_gamma(gamma)
        self.top_k = None
        if top_k is not None:
            self.top_k = checks.integer("top_k", top_k, 2, ", or None for the whole batch")

    def draw(
        self,
        rows: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Plan:
        """`order` (B, K): the sample of each rank, row i led by i."""
        size = rows if self.top_k is None else min(self.top_k, rows)
        return {"order": draw_order(rows, size, generator, device)}

    def plan(self, batch: Batch, noise: Plan) -> Plan:
        order = noise["order"]
        weight = rank_weights(order.shape[1], self.gamma).to(order.device)
        return {"index": order, "weight": weight.expand(order.shape)}

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, top_k={self.top_k}, num_classes={self.num_classes}"


def zeta_weights(
    n: int,
    gamma: float = 2.8,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The (n, n) mixing matrix of a batch: rows sum to 1, row i is led by sample i.

    Example:
        >>> W = zeta_weights(4, gamma=2.8)
        >>> W.shape, bool((W.argmax(1) == torch.arange(4)).all())
        (torch.Size([4, 4]), True)
    """
    n = checks.integer("n", n, 1)
    method = ZetaMixup(gamma, top_k)
    device = None if generator is None else generator.device
    plan = method.plan(Batch(), method.draw(n, generator, device))
    W = torch.zeros(n, n, device=plan["index"].device)
    return W.scatter(1, plan["index"], plan["weight"])


def rank_weights(size: int, gamma: float) -> Tensor:
    """(K,): r^-gamma / C for the ranks r = 1..K."""
    terms = torch.arange(1, size + 1, dtype=torch.float64).pow(-gamma)
    weights = (terms / terms.sum()).float()
    if not torch.compiler.is_compiling() and size > 1 and weights[0] <= 0.5:
        warnings.warn(
            f"`gamma` should give the leading sample more than half of the weight, got {gamma}, "
            f"which gives it {weights[0]:.3f} of {size} samples: labels no longer follow the "
            "images. Raise gamma, or lower top_k.",
            stacklevel=2,
        )
    return weights


def draw_order(
    rows: int,
    size: int,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """(B, K): i itself, then K - 1 of the others in uniformly random order, for every row i."""
    if 1 < size <= MOST_PICKED and 8 * size <= rows and rows >= FEWEST_ROWS:
        return _pick_order(rows, size, generator, device)
    return _sort_order(rows, size, generator, device)


def _sort_order(
    rows: int, size: int, generator: torch.Generator | None, device: torch.device | str | None
) -> Tensor:
    """All samples in a random order, the first K kept."""
    noise = torch.rand(rows, rows, generator=generator, device=device)
    noise.fill_diagonal_(-1)
    return noise.argsort(dim=1)[:, :size]


def _pick_order(
    rows: int, size: int, generator: torch.Generator | None, device: torch.device | str | None
) -> Tensor:
    """Floyd's sampling without replacement, all rows at once, then a shuffle of what was picked.

    Of n others pick number j, for j = n - K + 1 .. n - 1, draws from 0..j and takes j itself if
    the draw was picked before: then j is new, and every set of picks is equally likely.
    """
    others, picks = rows - 1, size - 1
    noise = torch.randint(2**62, (2, picks, rows), generator=generator, device=device)
    limits = torch.arange(others - picks, others, device=noise.device)[:, None]
    picked = noise[0] % (limits + 1)
    for step in range(1, picks):
        taken = (picked[:step] == picked[step]).any(dim=0)
        picked[step].masked_fill_(taken, others - picks + step)
    picked = picked.gather(0, noise[1].argsort(dim=0)).t()
    own = torch.arange(rows, device=noise.device)[:, None]
    return torch.cat([own, picked + (picked >= own)], dim=1)  # the others skip the row's own number


def _check_gamma(gamma: float) -> float:
    rule = "a number > 0, such as 2.8 or 4"
    number = checks.real("gamma", gamma, rule)
    if number <= 0:
        raise ValueError(f"`gamma` must be {rule}, got {number}.")
    return number
