"""How good a classifier is, by torchmetrics, and how far its confidence can be believed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["BINS", "calibration_bins", "measures"]

BINS = 15


def measures(log_probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, macro F1, negative log-likelihood and expected calibration error."""
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_calibration_error,
        multiclass_f1_score,
    )

    classes = log_probabilities.shape[1]
    probabilities = log_probabilities.double().exp()
    found = {
        "accuracy": multiclass_accuracy(probabilities, labels, classes, average="micro"),
        "macro_f1": multiclass_f1_score(probabilities, labels, classes, average="macro"),
        "nll": F.nll_loss(log_probabilities.double(), labels),
        "ece": multiclass_calibration_error(probabilities, labels, classes, n_bins=BINS),
    }
    return {name: float(value) for name, value in found.items()}


def calibration_bins(
    log_probabilities: Tensor, labels: Tensor
) -> tuple[tuple[int, float, float], ...]:
    """For each of 15 ranges of confidence: how many, their mean confidence and accuracy."""
    confidence, chosen = log_probabilities.double().exp().max(dim=1)
    number = (confidence * BINS).floor().long().clamp(max=BINS - 1)
    correct = (chosen == labels).double()
    zeros = torch.zeros(BINS, dtype=torch.float64)
    counts = zeros.index_add(0, number, torch.ones_like(correct))
    sums = [zeros.index_add(0, number, v) / counts.clamp(min=1) for v in (confidence, correct)]
    return tuple(
        (int(count), float(mean), float(right))
        for count, mean, right in zip(counts, *sums, strict=True)
    )
