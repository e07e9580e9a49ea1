"""The demo: a small comparison on scikit-learn's handwritten digits, which come with that package:
nothing is downloaded."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from albu_learned import preview
from albu_learned.artifact import write_atomically
from albu_learned.comparison import Comparison, compare
from albu_learned.methods.zeta_mixup import ZetaMixup

__all__ = ["POOL", "demo", "draw_gallery", "write_digits"]

POOL = 1000  # training images come from the first so many; the others are for testing
BATCH, SHOWN = 32, 8  # of the gallery


def demo(
    out: Path,
    seeds: int = 8,
    per_class: int = 10,
    steps: int = 150,
    jobs: int = 2,
    say: Callable[[str], object] = print,
) -> Comparison:
    """Compares the usual arms on a few digits of each class, and draws a gallery."""
    found = compare(
        write_digits(out / "digits.npz"),
        sizes=[per_class],
        seeds=seeds,
        steps=steps,
        jobs=jobs,
        out=out,
        say=say,
    )
    say(f"Wrote {draw_gallery(out / 'gallery.png')}")
    return found


def write_digits(path: Path) -> Path:
    """1,797 digits of 8 x 8 pixels, split by their order; ink is white."""
    from sklearn import datasets

    given = datasets.load_digits()
    images = np.round(given.images * 255 / 16).astype(np.uint8)
    labels = given.target.astype(np.int64)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        train_x=images[:POOL],
        train_y=labels[:POOL],
        test_x=images[POOL:],
        test_y=labels[POOL:],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())
    return path


def draw_gallery(path: Path) -> Path:
    """Digits above what each method makes of them, with their soft labels."""
    from sklearn import datasets

    generator = torch.Generator().manual_seed(3)
    given = datasets.load_digits()
    # Dark ink on white paper. Weights sum to 1, so mixing before or after inverting is the same.
    images = 1 - torch.from_numpy(given.images).float()[:, None] / 16
    labels = torch.from_numpy(given.target).long()
    rows = torch.randperm(len(labels), generator=generator)[:BATCH]
    images, labels = images[rows], labels[rows]
    mixed, soft = ZetaMixup(gamma=2.8, num_classes=10)(images, labels, generator=generator)
    shown = [int((labels == digit).nonzero()[0]) for digit in range(SHOWN)]
    figure = preview.mixed_samples(
        images[shown],
        labels[shown],
        mixed[shown],
        soft[shown],
        title="ZetaMixup: every image mixes the whole batch and stays close to one of it",
    )
    return preview.save(figure, path)
