"""A small ClassVAE of three digits for the tests of this folder."""

import torch

import albu_learned as al

QUICK = {"network": "dense", "steps": 50, "expect": False, "validation": 0, "progress": False}


def digits():
    """60 digits of three classes, 8 x 8 pixels."""
    import pytest

    datasets = pytest.importorskip("sklearn.datasets", reason="the extra `cli` is not installed")
    given = datasets.load_digits()
    images, labels = torch.from_numpy(given.images).float()[:, None] / 16, given.target
    rows = [torch.from_numpy(labels == number).nonzero()[:20, 0] for number in range(3)]
    return images[torch.cat(rows)], torch.arange(3).repeat_interleave(20)


def vae():
    images, labels = digits()
    return al.ClassVAE.fit(images, labels, classes=["nil", "one", "two"], **QUICK)
