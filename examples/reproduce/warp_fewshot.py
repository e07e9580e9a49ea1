"""Few labelled images: does it help to fit the warp to them? Against plain training, the hand-made
recipe, and the same smooth warp without a fit; its affine part, its flow, and both fitted.

    python examples/reproduce/warp_fewshot.py mnist.npz fashion_mnist.npz ArrowHead.npz --sizes 10

Each data set is what `albu-learned compare` takes. Every strength is chosen on validation images by
one rule for all arms; warps are fitted to the training images of each cell alone; the test images
are read once, at the end. Beside each arm stands its label retention: of the images that a
classifier of many others gets right, the share that it still gets right when they are warped. Stop
it and run it again: it goes on where it was.
"""

import argparse
from pathlib import Path

import torch

import albu_learned as al
from albu_learned.batch import as_floats
from albu_learned.comparison import networks, subsets
from albu_learned.comparison.pipeline import Pipeline
from albu_learned.comparison.settings import Settings
from albu_learned.comparison.train import Feed, Run, predict, train
from albu_learned.data import open_data

ARMS = ["plain", "recipe", "smooth warp", "theta-warp"]
PARTS = {"fitted affine": ("Affine", {"degrees": 6}), "fitted CPAB": ("CPAB", {"cells": [4, 4]})}
SERIES = {"fitted affine": ("Affine", {"degrees": 2}), "fitted CPAB": ("CPAB", {"cells": 10})}
SPEC = """\
methods:
  - method: ThetaWarp
    family: {%s: %s}
    p: 1.0
    fit: {}
"""
JUDGED, JUDGES = 500, 3000  # images that are warped, and those that the judge has learned from


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10], help="images a class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--models", nargs="+", default=["small", "nearest"])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--out", type=Path, default=Path("reproduced"), help="folder to write")
    given = parser.parse_args()
    rows = []
    for path in given.data:
        data = open_data(path)
        parts = SERIES if data.kind == "series" else PARTS
        specs = write_specs(given.out / "specs" / data.kind, parts)
        kept = retention(data, given.out)
        for model in given.models:
            found = al.compare(
                path,
                [*ARMS, *specs],
                sizes=given.sizes,
                seeds=given.seeds,
                steps=given.steps,
                jobs=given.jobs,
                model=model,
                out=given.out / f"{data.name}_{model}",
            )
            rows += lines(found.outcome, model, kept)
    print("\n| data | images a class | model | arm | accuracy, % | NLL | labels kept, % |")
    print("|---|---|---|---|---|---|---|", *rows, sep="\n")


def write_specs(folder: Path, parts: dict) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (family, arguments) in parts.items():
        paths.append(folder / f"{name}.yaml")
        paths[-1].write_text(SPEC % (family, arguments))
    return [str(path) for path in paths]


def retention(data, folder: Path) -> dict[str, float]:
    """The share of right answers that a judge keeps, for each arm at its default strength; warps
    are fitted to other images than it has learned from."""
    settings = Settings(steps=1000, seeds=1).for_kind(data.kind)
    cpu, classes = torch.device("cpu"), len(data.classes)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    shown, asked = order[:-JUDGED][:JUDGES], order[-JUDGED:]
    if len(order) < 4 * JUDGED:  # a small set: half judges, half is judged
        shown, asked = order.chunk(2)
    feed, held = Feed(data.train, shown, cpu), Feed(data.train, asked, cpu)
    everything = feed[torch.arange(min(1000, len(feed)))]
    judge = networks.build("small", False, data.shape, classes, everything, 0)
    drawn = subsets.batches(len(feed), settings.batch, settings.steps, 0)
    train([Run(judge, feed, drawn, Pipeline(classes), 0)], settings, 4e-3)
    right = predict(judge, held, settings).argmax(dim=1) == held.labels
    images, labels = as_floats(held[torch.arange(len(held))])[right], held.labels[right]
    rows = subsets.subset(held.labels, 10, 0)
    few, of = held[rows], held.labels[rows]
    series = data.kind == "series"
    warps = {"smooth warp": al.ThetaWarp(al.AffineCPAB(10) if series else None, std=0.1)}
    for name, (family, arguments) in (SERIES if series else PARTS).items():
        made = getattr(al, family)(**arguments)
        warps[name] = al.ThetaWarp.fit(few, of, family=made, progress=False)
    warps["theta-warp"] = al.ThetaWarp.fit(few, of, progress=False)
    kept = {}
    for name, warp in warps.items():
        moved = warp(images, labels, generator=torch.Generator().manual_seed(0))[0]
        with torch.no_grad():
            kept[name] = 100 * float((judge.eval()(moved).argmax(dim=1) == labels).float().mean())
        print(
            f"{data.name}, {name}: std {warp.std:.3f}, labels kept {kept[name]:.0f} %", flush=True
        )
    return kept


def lines(outcome, model: str, kept: dict[str, float]) -> list[str]:
    """Rows of the table: means over seeds, with the error of the paired difference to plain."""
    rows = []
    for size in outcome.sizes:
        for arm in [facts.name for facts in outcome.arms]:
            cells = []
            for measure, times, digits in (("accuracy", 100, 1), ("nll", 1, 3)):
                values = outcome.values(arm, size, measure)
                plain = outcome.values("plain", size, measure)
                gains = torch.tensor(values).sub(torch.tensor(plain)) * times
                error = gains.std() / len(gains) ** 0.5 if len(gains) > 1 else torch.tensor(0.0)
                gain = f" ({gains.mean():+.{digits}f} ± {error:.{digits}f})"
                mean = times * sum(values) / len(values)
                cells.append(f"{mean:.{digits}f}{'' if arm == 'plain' else gain}")
            labels = f"{kept[arm]:.0f}" if arm in kept else ""
            rows.append(
                f"| {outcome.data} | {size} | {model} | {arm} | {' | '.join(cells)} | {labels} |"
            )
    return rows


if __name__ == "__main__":
    main()
