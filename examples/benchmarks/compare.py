"""What the harness costs beside the bare training loop, and how many cells a minute it does with
one and two jobs.

    python examples/benchmarks/compare.py [--steps 300] [--repeats 8] [--side 28]

Bare: the same network, batches of the same images, optimiser and schedule, written out as anyone
would. The two take turns on one thread, and every step is timed by itself: of all steps counts the
quickest tenth, and of what is around them the quickest turn, because others on the machine can only
slow things down. The spread is the same figure from every other turn alone. Cells a minute: a small
comparison from start to end, with a report, 1 and 2 jobs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook

import albu_learned as al
from albu_learned.comparison import cells, set_up, subsets
from albu_learned.comparison.study import Cell, Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=8)
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
    part = np.arange(400) % 2 == 0
    arrays = {"train_x": images[part], "train_y": labels[part]}
    np.savez(path, **arrays, test_x=images[~part], test_y=labels[~part])
    return path


def overhead(data: Path, steps: int, repeats: int) -> None:
    study = set_up(data, ["plain"], sizes=[20], seeds=1, steps=steps, device="cpu")
    cell = next(study.cells())
    ways = {"bare": bare, "harness": cells.train_cell}
    turns: dict[str, list[list[float]]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name in sorted(ways, reverse=turn % 2 == 1):  # neither always comes first
            times = timed(ways[name], study, cell)
            if turn:  # the first warms both up
                turns[name].append(times)
    print(f"bare loop: {1000 * seconds(turns['bare']) / steps:.2f} ms a step; harness: ", end="")
    print(f"{more(turns):+.1f} % (budget 5 %); of every other turn: ", end="")
    halves = [{name: of[half::2] for name, of in turns.items()} for half in (0, 1)]
    print(" and ".join(f"{more(half):+.1f} %" for half in halves))


def timed(train: Callable[[Study, Cell], object], study: Study, cell: Cell) -> list[float]:
    """The time of this process at the start, after every step, and at the end."""
    times = [time.process_time()]
    hook = register_optimizer_step_post_hook(lambda *_: times.append(time.process_time()))
    train(study, cell)
    hook.remove()
    return [*times, time.process_time()]


def seconds(turns: list[list[float]]) -> float:
    """What a training takes where nothing disturbs it."""
    around = min(of[1] - of[0] + of[-1] - of[-2] for of in turns)
    steps = sorted(b - a for of in turns for a, b in pairwise(of[1:-1]))
    quickest = steps[: max(1, len(steps) // 10)]
    return around + statistics.fmean(quickest) * len(turns[0][2:-1])


def more(turns: dict[str, list[list[float]]]) -> float:
    """By how many percent the harness takes longer."""
    return 100 * (seconds(turns["harness"]) / seconds(turns["bare"]) - 1)


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
