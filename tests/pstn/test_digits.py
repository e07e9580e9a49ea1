"""A short real training: few handwritten digits, each somewhere in a larger frame."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import albu_learned as al
from tests.pstn.models import seeded

datasets = pytest.importorskip("sklearn.datasets")
STEPS, BATCH = 250, 32


def digits(train=100, test=400):
    given = datasets.load_digits()
    generator = seeded(0)
    order = torch.randperm(len(given.images), generator=generator)[: train + test]
    images = torch.zeros(train + test, 1, 16, 16)
    places = torch.randint(2, 7, (train + test, 2), generator=generator)
    for image, number, (row, column) in zip(images, order, places.tolist(), strict=True):
        image[0, row : row + 8, column : column + 8] = torch.tensor(given.images[number] / 16)
    labels = torch.tensor(given.target)[order]
    return images[:train], labels[:train], images[train:], labels[train:]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def trained(model, loss, images, labels):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    generator = seeded(1)
    for _ in range(STEPS):
        rows = torch.randint(len(images), (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss(model, images[rows], labels[rows]).backward()
        optimizer.step()
    return model.eval()


def test_it_is_better_calibrated_than_the_bare_classifier():
    images, labels, unseen, truth = digits()
    bare = trained(network(), lambda model, x, y: F.cross_entropy(model(x), y), images, labels)
    pstn = trained(
        al.PSTN(network(), prior_std=0.1), lambda model, x, y: model.loss(x, y), images, labels
    )
    with torch.no_grad():
        plain = F.cross_entropy(bare(unseen), truth).item()
        found = F.nll_loss(pstn.predict(unseen, generator=seeded(2)).log(), truth).item()
        host = F.cross_entropy(pstn(unseen), truth).item()
    assert found < 0.7 * plain
    assert host == pytest.approx(found, rel=0.1), "what a host's own evaluation would say"
    moved = pstn.theta(unseen, generator=seeded(3))
    assert moved.abs().max() > 0.02, "it has not turned itself off"
