"""Mixes: outputs that are weighted sums of the rows of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned import mixing
from albu_learned.batch import Batch, Rows
from albu_learned.method import Method, Plan


class Mix(Method):
    """Convex combinations of the rows of a batch.

    The plan is sparse: output i is the sum over k of weight[i, k] times row index[i, k]. There may
    be fewer outputs than rows.

    Args:
        num_classes: how many classes there are; needed when labels are class numbers.
        smoothing: the share of a class number's probability spread evenly over all classes.
        min_weight: boxes, points and instances of an image are kept in every output in which it
            weighs at least this much.
    """

    _base = True
    kind = "mix"

    def __init__(
        self, num_classes: int | None = None, smoothing: float = 0.0, min_weight: float = 0.2
    ) -> None:
        super().__init__()
        if num_classes is not None and (not isinstance(num_classes, int) or num_classes < 1):
            raise ValueError(f"`num_classes` must be a positive integer, got {num_classes!r}.")
        if not 0 <= smoothing < 1:
            raise ValueError(f"`smoothing` must be in [0, 1), got {smoothing!r}.")
        if not 0 < min_weight <= 1:
            raise ValueError(f"`min_weight` must be in (0, 1], got {min_weight!r}.")
        self.num_classes = num_classes
        self.smoothing = smoothing
        self.min_weight = min_weight

    def identity(self, rows: int, device: torch.device | str | None = None) -> Plan:
        """The plan that leaves every row alone (labels still become soft)."""
        index = torch.arange(rows, device=device)[:, None]
        return {"index": index, "weight": torch.ones(rows, 1, device=device)}

    def check(self, batch: Batch) -> None:
        if batch.masks is not None and not batch.masks.is_floating_point():
            raise TypeError(
                f"`masks` must be float to be mixed, got {batch.masks.dtype}: a mixture of class "
                "numbers means nothing. Give a float mask a class, (B, M, H, W), or leave them out."
            )

    def change(self, batch: Batch, plan: Plan) -> Batch:
        self.check(batch)
        index, weight = plan["index"], plan["weight"]
        images, masks = batch.images, batch.masks
        return Batch(
            images=None if images is None else mixing.mix(images, index, weight),
            labels=None if batch.labels is None else self.mix_labels(batch.labels, plan),
            masks=None if masks is None else mixing.mix(masks, index, weight),
            boxes=self._gather(batch.boxes, plan),
            points=self._gather(batch.points, plan),
            instances=self._gather(batch.instances, plan),
        )

    def mix_labels(self, labels: Tensor, plan: Plan) -> Tensor:
        """(B, K) soft labels of the outputs."""
        index, weight = plan["index"], plan["weight"]
        if labels.ndim == 2:
            return mixing.mix(self._check_soft(labels), index, weight)
        # The same as mixing `soften(labels)`, whose many zeros would cost more than the images.
        numbers, num_classes = self._check_numbers(labels)
        soft = torch.full(
            (len(index), num_classes),
            self.smoothing / num_classes,
            dtype=torch.float32,
            device=labels.device,
        )
        return soft.scatter_add_(1, numbers[index], (1 - self.smoothing) * weight.float())

    def soften(self, labels: Tensor) -> Tensor:
        """Class numbers as (B, K) probabilities; soft and multi-label rows as floats, unchanged."""
        if labels.ndim == 2:
            return self._check_soft(labels)
        numbers, num_classes = self._check_numbers(labels)
        share = self.smoothing / num_classes
        soft = torch.full(
            (len(labels), num_classes), share, dtype=torch.float32, device=labels.device
        )
        return soft.scatter(1, numbers[:, None], 1 - self.smoothing + share)

    def _check_numbers(self, labels: Tensor) -> tuple[Tensor, int]:
        """Class numbers that are in range, as int64, and how many classes there are."""
        if self.num_classes is None:
            raise ValueError(
                "`num_classes` must be given when labels are class numbers, got None. "
                f"Write {type(self).__name__}(..., num_classes=10)."
            )
        _check_range(labels, self.num_classes)
        return labels.long(), self.num_classes

    def _check_soft(self, labels: Tensor) -> Tensor:
        if self.num_classes is not None and labels.shape[1] != self.num_classes:
            raise ValueError(
                f"`labels` must be (B, {self.num_classes}) for num_classes={self.num_classes}, got "
                f"{tuple(labels.shape)}."
            )
        if self.smoothing:
            raise ValueError(
                f"`smoothing` must be 0 when labels are (B, K), got {self.smoothing}: whether they "
                "are probabilities or independent classes cannot be told. Smooth them beforehand."
            )
        soft = labels if labels.is_floating_point() else labels.float()
        _require(
            (soft >= 0).all() & (soft <= 1).all(),
            "`labels` of shape (B, K) must be probabilities in [0, 1] without NaN.",
        )
        return soft

    def _gather(self, rows: Rows | None, plan: Plan) -> Rows | None:
        """The rows of every image that weighs enough, and of the one that weighs most."""
        if rows is None:
            return None
        index, weight = plan["index"], plan["weight"]
        leads = torch.zeros_like(weight, dtype=torch.bool).scatter(1, weight.argmax(1, True), True)
        output, rank = ((weight >= self.min_weight) | leads).nonzero(as_tuple=True)
        parts = rows.split()
        chosen = [parts[int(image)] for image in index[output, rank]]
        lengths = torch.tensor([len(part) for part in chosen], device=output.device)
        return Rows(
            torch.cat([part.values for part in chosen]),
            torch.repeat_interleave(output, lengths),
            len(index),
            torch.cat([part.source for part in chosen]),
            torch.cat([part.valid for part in chosen]),
        )


def _check_range(labels: Tensor, num_classes: int) -> None:
    inside = ((labels >= 0) & (labels < num_classes)).all()
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        torch._assert_async(inside, f"`labels` must be in 0..{num_classes - 1}.")
    elif not inside:
        wrong = labels[(labels < 0) | (labels >= num_classes)][0].item()
        raise ValueError(
            f"`labels` must be in 0..{num_classes - 1} for num_classes={num_classes}, got {wrong}."
        )


def _require(condition: Tensor, rule: str) -> None:
    """Raises where that costs nothing; on CUDA the check runs with the kernels, unwaited for."""
    if condition.device.type == "cpu" and not torch.compiler.is_compiling():
        if not condition:
            raise ValueError(rule)
    else:
        torch._assert_async(condition, rule)
