"""What the harness costs beside the bare training loop, and how many cells a minute it does with
one and two jobs.

    python examples/benchmarks/compare.py [--steps 300] [--repeats 5] [--side 28]

Bare: the same network, batches of the same images, optimiser and schedule, written out as anyone
would. The two take turns, so that a busy machine slows both; each figure is the median of the
ratios. Cells a minute: a small comparison from start to end, with a report, 1 and 2 jobs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import albu_learned as al
from albu_learned.comparison import cells, set_up, subsets
from albu_learned.comparison.study import Cell, Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=28, help="of the images, in pixels")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder, "data.npz"), given.side)
        overhead(data, given.steps, given.repeats)
        for jobs in (1, 2):
            cells_a_minute(data, given.steps, jobs, Path(folder, str(jobs)))


def write_data(path: Path, side: int) -> Path:
    """Noise around one picture a class."""
    rng = np.random.default_rng(0)
    means = rng.integers(0, 256, (10, side, side))
    labels = np.repeat(np.arange(10), 40)
    images = (0.6 * means[labels] + 0.4 * rng.integers(0, 256, (400, side, side))).astype(np.uint8)
    arrays = {"train_x": images, "train_y": labels, "test_x": images[::2], "test_y": labels[::2]}
    np.savez(path, **arrays)
    return path


def overhead(data: Path, steps: int, repeats: int) -> None:
    study = set_up(data, ["plain"], sizes=[20], seeds=1, steps=steps, device="cpu")
    cell = next(study.cells())
    ratios, spent = [], []
    for turn in range(repeats + 1):
        start = time.perf_counter()
        bare(study, cell)
        middle = time.perf_counter()
        cells.train_cell(study, cell)
        end = time.perf_counter()
        if turn:  # the first warms both up
            ratios.append((end - middle) / (middle - start))
            spent.append(1000 * (middle - start) / steps)
    print(f"bare loop: {statistics.median(spent):.2f} ms a step; harness: ", end="")
    print(f"{100 * (statistics.median(ratios) - 1):+.1f} % (budget 5 %), from ", end="")
    print(", ".join(f"{100 * (ratio - 1):+.1f}" for ratio in sorted(ratios)))


def bare(study: Study, cell: Cell) -> None:
    """Plain training, as anyone would write it, down to reading the images."""
    settings, source = study.settings, study.data.train
    rows = subsets.subset(source.labels, cell.size, cell.seed)
    images, labels = source.read(rows).float() / 255, source.labels[rows]
    network = study.network(images, cell.seed)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    rate, steps = study.learning_rate, settings.steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1)
    for batch in subsets.batches(len(rows), settings.batch, steps, cell.seed, cell.size, "all"):
        optimizer.zero_grad()
        F.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()
        schedule.step()


def cells_a_minute(data: Path, steps: int, jobs: int, out: Path) -> None:
    start = time.perf_counter()
    done = al.compare(
        data, ["plain", "mixup"], sizes=[20], seeds=4, steps=steps, jobs=jobs, out=out, say=skip
    )
    minutes = (time.perf_counter() - start) / 60
    count = len(done.outcome.results)
    print(f"{jobs} job{'s' * (jobs > 1)}: {count / minutes:.1f} cells a minute, report included")


def skip(line: str) -> None:
    """Says nothing."""


if __name__ == "__main__":
    main()
