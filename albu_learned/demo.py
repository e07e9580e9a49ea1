"""The demo: a small comparison on scikit-learn's handwritten digits, which come with that package:
nothing is downloaded."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned import preview
from albu_learned.artifact import write_atomically
from albu_learned.batch import Batch, Rows
from albu_learned.comparison import Comparison, compare, networks
from albu_learned.methods.class_vae import ClassVAE
from albu_learned.methods.theta_warp import ThetaWarp
from albu_learned.methods.zeta_mixup import ZetaMixup
from albu_learned.pstn import PSTN

__all__ = ["POOL", "clear_digits", "demo", "draw_gallery", "write_digits"]

POOL = 1000  # training images come from the first so many; the others are for testing
BATCH, SHOWN, FITTED = 32, 8, 100  # of the gallery
MADE = (2, 6)  # digits that are generated there
TAUGHT, STEPS = 500, 300  # digits that the PSTN there learns from, and for how long


def demo(
    out: Path,
    seeds: int = 5,
    per_class: int = 10,
    steps: int = 110,
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
    """Digits, and what each method makes of them: of a mix the soft labels too, of a warp how a
    grid and boxes follow, of a generator the real images nearest to its samples."""
    heights = [3.9, 3.4, 3.3, 3.9]
    figure = preview.new_figure(11.1, sum(heights))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
    for part, draw in zip(parts[:, 0], _DRAWN, strict=True):
        draw(part)
    return preview.save(figure, path, colours=128)


def clear_digits(count: int, size: int = 32) -> Tensor:
    """(count, 1, size, size): the first digits, dark ink on white paper, with a margin."""
    from sklearn import datasets

    ink = torch.from_numpy(datasets.load_digits().images[:count]).float()[:, None] / 16
    inner = size * 3 // 4
    large = F.interpolate(ink, (inner, inner), mode="bicubic").clamp(0, 1)
    before = (size - inner) // 2
    after = size - inner - before
    return 1 - F.pad(large, (before, after, before, after))


def _draw_mix(figure: Any) -> None:
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
    preview.draw_mixed(
        figure,
        images[shown],
        labels[shown],
        mixed[shown],
        soft[shown],
        title="ZetaMixup: every image mixes the whole batch and stays close to one of it",
    )


def _draw_warp(figure: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.from_numpy(_targets()[:FITTED]).long()
    small = clear_digits(FITTED, 16)  # a motion has no size in pixels
    warp = ThetaWarp.fit(small, labels, family=(2, 2), partners=2, progress=False)
    images = clear_digits(SHOWN)
    boxes = Rows.of([_around(image[0]) for image in images])
    batch = Batch(images=images, labels=labels[:SHOWN], boxes=boxes)
    title = "ThetaWarp: motions learned from digits of a class; boxes follow"
    preview.draw_warped(figure, warp, batch, 1, list("0123456789"), title, generator)


def _draw_posterior(figure: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.from_numpy(_targets()[:TAUGHT]).long()
    small = clear_digits(TAUGHT, 16)
    with torch.random.fork_rng(devices=[]):  # first weights come from the global generator
        torch.manual_seed(0)
        model = PSTN(networks.small((1, 16, 16), 10), prior_std=0.1, example=small)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(STEPS):
        rows = torch.randint(TAUGHT, (BATCH,), generator=generator)
        optimizer.zero_grad()
        model.loss(small[rows], labels[rows], generator).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    batch = Batch(images=clear_digits(SHOWN))
    title = "PSTN: motions that a classifier learned for each image, as a warp"
    preview.draw_warped(figure, model.as_warp(small), batch, 1, None, title, generator)


def _draw_generator(figure: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.from_numpy(_targets()).long()
    rows = torch.cat([(targets == digit).nonzero()[: FITTED // 2, 0] for digit in MADE])
    images = clear_digits(int(rows.max()) + 1, 16)[rows, :, 1:-1, 1:-1]
    labels = torch.arange(len(MADE)).repeat_interleave(FITTED // 2)
    how: Any = {"network": "dense", "validation": 0, "expect": False, "progress": False}
    vae = ClassVAE.fit(images, labels, steps=600, **how)
    title = "ClassVAE: new images of a class, from fifty of it"
    names = [str(digit) for digit in MADE]
    batch = Batch(images=images, labels=labels)
    preview.draw_generated(figure, vae, batch, names, title, generator)


_DRAWN: tuple[Callable[[Any], None], ...] = (
    _draw_mix,
    _draw_warp,
    _draw_posterior,
    _draw_generator,
)


def _targets() -> npt.NDArray[np.int64]:
    from sklearn import datasets

    targets: npt.NDArray[np.int64] = datasets.load_digits().target
    return targets


def _around(image: Tensor) -> Tensor:
    """(1, 4): the box around the ink."""
    rows, columns = (image < 0.7).nonzero().unbind(dim=1)
    corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return torch.stack(corners)[None] / len(image)
