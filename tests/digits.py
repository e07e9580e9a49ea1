"""Scikit-learn's handwritten digits, for tests that need real images."""

import numpy as np
import pytest
import torch


def digits(each=6, classes=3, first=0):
    """(N, 1, 8, 8) uint8 and labels: so many of each of the first classes, in turn."""
    given = pytest.importorskip("sklearn.datasets").load_digits()
    labels = torch.from_numpy(given.target).long()
    rows = [(labels == k).nonzero()[first : first + each, 0] for k in range(classes)]
    rows = torch.stack(rows, 1).flatten()
    images = torch.from_numpy(np.round(given.images * 255 / 16)).to(torch.uint8)
    return images[rows][:, None], labels[rows]
