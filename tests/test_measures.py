"""Measures, against scikit-learn and by hand."""

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="the extra `cli` is not installed")
pytest.importorskip("torchmetrics", reason="the extra `cli` is not installed")
from sklearn import metrics as sklearn

from albu_learned.measures import BINS, calibration_bins, measures


def predicted(count=200, classes=4, seed=0, missing=()):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    for number in missing:
        labels[labels == number] = 0
    logits = 2 * torch.randn(count, classes, generator=generator)
    logits[torch.arange(count), labels] += 1.5
    return logits.log_softmax(dim=1), labels


def ece(probabilities, labels):
    """Naeini's, bin by bin, with the upper end of a bin in it."""
    sure, chosen = probabilities.max(1), probabilities.argmax(1)
    total = 0.0
    for low in np.arange(BINS) / BINS:
        inside = (sure > low) & (sure <= low + 1 / BINS)
        if inside.any():
            gap = (chosen == labels)[inside].mean() - sure[inside].mean()
            total += inside.mean() * abs(gap)
    return total


@pytest.mark.parametrize("given", [{}, {"classes": 2}, {"count": 7}, {"missing": (2,)}], ids=str)
def test_measures_are_those_of_sklearn(given):
    logs, labels = predicted(**given)
    found = measures(logs, labels)
    probabilities, chosen = logs.double().softmax(1).numpy(), logs.argmax(1).numpy()
    assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, chosen), abs=1e-6)
    wanted = sklearn.f1_score(labels, chosen, average="macro")
    assert found["macro_f1"] == pytest.approx(wanted, abs=1e-6)
    every = range(logs.shape[1])
    assert found["nll"] == pytest.approx(sklearn.log_loss(labels, probabilities, labels=every))
    assert found["ece"] == pytest.approx(ece(probabilities, labels.numpy()), abs=1e-6)
    assert list(found) == ["accuracy", "macro_f1", "nll", "ece"]
    assert all(type(value) is float for value in found.values())


def test_a_sure_mistake_costs_a_finite_price():
    logs = torch.tensor([[0.0, -200.0], [-200.0, 0.0]])
    assert measures(logs, torch.tensor([1, 1]))["nll"] == pytest.approx(100)


def test_the_bins_add_up():
    logs, labels = predicted()
    bins = calibration_bins(logs, labels)
    assert len(bins) == BINS
    assert sum(count for count, _, _ in bins) == len(labels)
    right = sum(count * share for count, _, share in bins) / len(labels)
    assert right == pytest.approx(measures(logs, labels)["accuracy"], abs=1e-6)
    gaps = sum(count * abs(sure - share) for count, sure, share in bins) / len(labels)
    assert gaps == pytest.approx(measures(logs, labels)["ece"], abs=1e-6)
    for number, (count, sure, _) in enumerate(bins):
        assert not count or number / BINS < sure <= (number + 1) / BINS


def test_the_bins_by_hand():
    logs = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.9, 0.1], [1.0, 0.0]]).log()
    bins = calibration_bins(logs, torch.tensor([0, 1, 1, 0]))
    full = {number: bin for number, bin in enumerate(bins) if bin[0]}
    assert list(full) == [7, 13, 14]
    assert full[7] == (1, pytest.approx(0.5), 1.0)
    assert full[13] == (2, pytest.approx(0.9), 0.5)
    assert full[14] == (1, 1.0, 1.0)
