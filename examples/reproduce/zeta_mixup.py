"""zeta-mixup against plain training, label smoothing and mixup, on data of your own.

    python examples/reproduce/zeta_mixup.py fashion_mnist.npz:50 cifar10.npz:200 lesions/:all

Each data set is what `albu-learned compare` takes, with the training images a class behind the
colon. gamma, alpha and p are chosen on validation images by one rule for all arms; the test images
are read once, at the end; there is a short and a long schedule. Stop it and run it again: it goes
on where it was.
"""

import argparse
from pathlib import Path

import albu_learned as al

ARMS = ["plain", "label smoothing", "mixup", "zeta-mixup"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", help="PATH:SIZE")
    parser.add_argument("--steps", type=int, nargs="+", default=[600, 2400], help="schedules")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--model", default="small", help="or a model of timm")
    parser.add_argument("--image-size", type=int, help="the side of the images")
    parser.add_argument("--out", type=Path, default=Path("reproduced"), help="folder to write")
    given = parser.parse_args()
    rows = []
    for steps in given.steps:
        for text in given.data:
            path, size = split(text)
            name = Path(path).absolute().stem
            done = al.compare(
                path,
                ARMS,
                sizes=[size],
                seeds=given.seeds,
                steps=steps,
                jobs=given.jobs,
                model=given.model,
                image_size=given.image_size,
                out=given.out / f"{name}_{steps}",
            )
            rows += [line(done.outcome, arm, steps) for arm in ARMS]
    print("\n| data | images a class | steps | arm | accuracy, % | macro F1, % | NLL |")
    print("|---|---|---|---|---|---|---|", *rows, sep="\n")


def split(text: str) -> tuple[str, int | str]:
    path, _, size = text.rpartition(":")
    if not path:
        raise SystemExit(f"`data` must be PATH:SIZE, such as digits.npz:50, got {text!r}.")
    return path, int(size) if size.isdigit() else size


def line(outcome, arm: str, steps: int) -> str:
    """A row of the table: means over seeds, with the error of the paired difference to plain."""
    size = outcome.sizes[0]
    cells = []
    for measure, times in (("accuracy", 100), ("macro_f1", 100), ("nll", 1)):
        values = outcome.values(arm, size, measure)
        plain = outcome.values("plain", size, measure)
        gains = [times * (a - b) for a, b in zip(values, plain, strict=True)]
        mean = sum(gains) / len(gains)
        error = (sum((g - mean) ** 2 for g in gains) / max(1, len(gains) - 1) / len(gains)) ** 0.5
        digits = 1 if times == 100 else 3
        average = times * sum(values) / len(values)
        gain = "" if arm == "plain" else f" ({mean:+.{digits}f} ± {error:.{digits}f})"
        cells.append(f"{average:.{digits}f}{gain}")
    return f"| {outcome.data} | {size or 'all'} | {steps} | {arm} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
