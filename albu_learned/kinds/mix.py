"""Mixes: outputs that are weighted sums of the rows of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned import checks, mixing
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
        known = num_classes is not None
        self.num_classes = checks.integer("num_classes", num_classes, 1) if known else None
        self.smoothing = checks.between("smoothing", smoothing, "[0, 1)")
        self.min_weight = checks.between("min_weight", min_weight, "(0, 1]")

    def identity(self, rows: int, device: torch.device | str | None = None) -> Plan:
        """The plan that leaves every row alone (labels still become soft)."""
        index = torch.arange(rows, device=device)[:, None]
        return {"index": index, "weight": torch.ones(rows, 1, device=device)}

    def check(self, batch: Batch) -> None:
        checks.needs(self, batch)
        self._check_masks(batch)

    def _check_masks(self, batch: Batch) -> None:
        if batch.masks is not None and not batch.masks.is_floating_point():
            raise TypeError(
                f"`masks` must be float to be mixed, got {batch.masks.dtype}: a mixture of class "
                "numbers means nothing. Give a float mask a class, (B, M, H, W), or leave them out."
            )

    def change(self, batch: Batch, plan: Plan) -> Batch:
        self._check_masks(batch)  # here too: masks may come alone
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
        return self.mix_labels(labels, self.identity(len(labels), labels.device))

    def _check_numbers(self, labels: Tensor) -> tuple[Tensor, int]:
        """Class numbers that are in range, as int64, and how many classes there are."""
        if self.num_classes is None:
            raise ValueError(
                "`num_classes` must be given when labels are class numbers, got None. "
                f"Write {type(self).__name__}(..., num_classes=10)."
            )
        numbers = labels.long()  # first: a comparison in uint8 or int8 would wrap around
        checks.class_numbers(numbers, self.num_classes, f"num_classes={self.num_classes}")
        return numbers, self.num_classes

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
        checks.require(
            (soft >= 0).all() & (soft <= 1).all(),
            "`labels` of shape (B, K) must be probabilities in [0, 1] without NaN.",
        )
        return soft

    def _gather(self, rows: Rows | None, plan: Plan) -> Rows | None:
        """The rows of the image that weighs most, then the valid ones of all that weigh enough."""
        if rows is None:
            return None
        index = plan["index"]
        W = torch.zeros(len(index), rows.count, device=index.device)
        W = W.scatter_add(1, index, plan["weight"].float())
        each = W.gather(1, index)
        first = torch.arange(index.shape[1], 0, -1, device=index.device)  # of equals, the first
        lead = torch.where(each == each.amax(dim=1, keepdim=True), first, 0).argmax(1, keepdim=True)
        W = W.scatter(1, index.gather(1, lead), 2)  # it stays, however little it weighs
        weight, image = W.sort(dim=1, descending=True, stable=True)
        output, rank = (weight >= self.min_weight).nonzero(as_tuple=True)
        own = rows.split()
        valid = [part.take(part.valid.nonzero()[:, 0]) for part in own]
        places = zip(rank.tolist(), image[output, rank].tolist(), strict=True)
        chosen = [(valid if place else own)[which] for place, which in places]
        lengths = torch.tensor([len(part) for part in chosen], device=output.device)
        return Rows(
            torch.cat([part.values for part in chosen]),
            torch.repeat_interleave(output, lengths),
            len(index),
            torch.cat([part.source for part in chosen]),
            torch.cat([part.valid for part in chosen]),
        )
