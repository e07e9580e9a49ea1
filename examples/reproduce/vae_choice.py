"""Under which fit, sampler, temperature, filter and share do images of class-wise VAEs help most?

    python examples/reproduce/vae_choice.py mnist.npz fashion_mnist.npz --sizes 5 10 --seeds 3

Few images of each class are drawn from the training part, a VAE is fitted to them, and a small
network learns from them with a share of samples in its batches; it is asked about other images of
the training part. The test part is never read, so a choice made here can be judged there. All
variants of a subset share its images, the initial weights and the batches. One subset moves by
two points, and of many variants one looks good by chance: judge what looks best again with seeds
that it was not chosen on (`--first`).

A variant is a fit (see FITS), a sampler and a share, and what else is not as usual: "conv-500,
posterior, 0.4, temperature=1.5" or "usual, prior, 0.2, reject=0.05". Stop it and run it again: it
goes on where it was.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import albu_learned as al
from albu_learned.batch import Batch
from albu_learned.comparison import networks, subsets
from albu_learned.comparison.pipeline import Pipeline
from albu_learned.comparison.settings import Settings
from albu_learned.comparison.statistics import standard_error
from albu_learned.comparison.train import Feed, Run, predict, train
from albu_learned.data import open_data
from albu_learned.measures import measures

FITS = {
    "usual": {},  # dense, 500 steps of all images, unless they are large
    "usual-8": {"latent": 8},
    "dense": {"network": "dense", "stop": True},  # by held-out images
    "dense-again": {"network": "dense", "as": "dense", "learning_rate": 5e-4},  # ... of all images
    "conv": {"network": "convolutional", "stop": True},
    "conv-again": {"network": "convolutional", "as": "conv"},
    "conv-500": {"network": "convolutional", "stop": False, "steps": 500},
    "pca": {"network": "pca"},
}
VARIANTS = [
    *(f"{fit}, prior, 0.4" for fit in ("usual", "usual-8", "conv", "pca")),
    "usual-8, mixture, 0.4",
    "conv-500, posterior, 0.4",
]
POOL, ASKED = 300, 3000  # samples of each class; images that the classifier is asked about
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Replace:
    """Puts samples in the place of a share of the rows, as a pipeline does at this p."""

    pool: Tensor  # (classes, POOL, C, H, W)
    share: float

    def __call__(self, batch: Batch) -> Batch:
        images, labels = batch.images, batch.labels
        rows = (torch.rand(len(images)) < self.share).nonzero()[:, 0]
        chosen = torch.randint(POOL, (len(images),))[rows]
        made = self.pool[labels[rows], chosen]
        return Batch(images=images.index_copy(0, rows, made), labels=labels)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", help="what `albu-learned compare` takes, of images")
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 10, 25], help="images a class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="number of the first seed")
    parser.add_argument("--steps", type=int, default=450, help="of every classifier")
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--against", default="plain", help="what the others are compared to")
    parser.add_argument("--out", type=Path, default=Path("reproduced"), help="folder to write")
    given = parser.parse_args()
    if given.against not in ["plain", *given.variants]:
        parser.error(f"`--against` must be plain or one of `--variants`, got {given.against!r}.")
    for variant in given.variants:
        if variant.split(", ")[0] not in FITS:
            parser.error(f"`--variants` must begin with one of {', '.join(FITS)}, got {variant!r}.")
    given.out.mkdir(parents=True, exist_ok=True)
    kept = Kept(given.out / "vae_choice.jsonl")
    names, seeds = [], range(given.first, given.first + given.seeds)
    for seed in seeds:  # in this order, so that all data sets have as many when it is stopped
        for path in given.data:
            data = open_data(path)
            names += [data.name] * (data.name not in names)
            for size in given.sizes:
                asked(data, size, seed, given, kept)
    columns = [(name, size) for name in names for size in given.sizes]
    text = table(kept.found, columns, seeds, given)
    (given.out / "vae_choice.md").write_text(f"{text}\n")
    print(f"\n{text}")


class Kept:
    """What has been measured, a line each: [data, size, seed, steps, variant] and measures."""

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, {}
        text = path.read_text() if path.exists() else ""
        for line in text.splitlines(keepends=True):
            if line.endswith("\n"):  # else it was being written when the work was stopped
                key, measured = json.loads(line)
                self.found[tuple(key)] = measured
        path.write_text(text[: text.rfind("\n") + 1])

    def add(self, key: tuple, measured: dict[str, float]) -> None:
        self.found[key] = measured
        with self.path.open("a") as file:
            file.write(json.dumps([key, measured]) + "\n")


def asked(data, size: int, seed: int, given, kept: Kept) -> None:
    """All variants on one subset."""
    wanted = {
        variant: (data.name, size, seed, given.steps, variant)
        for variant in ["plain", *given.variants]
    }
    wanted = {variant: key for variant, key in wanted.items() if key not in kept.found}
    if not wanted:
        return
    labels = data.train.labels
    few = subsets.subset(labels, size, seed)
    others = torch.ones(len(labels), dtype=torch.bool)
    others[few] = False
    others = others.nonzero()[:, 0]
    drawn = torch.randperm(len(others), generator=subsets.generator("asked", seed))
    feed = Feed(data.train, few, CPU)
    held = Feed(data.train, others[drawn[:ASKED]], CPU)
    fits: dict[str, al.ClassVAE] = {}
    for variant, key in wanted.items():
        pipeline = Pipeline(len(data.classes), changes(variant, fits, feed, seed))
        measured = taught(data, feed, held, pipeline, seed, given.steps)
        kept.add(key, measured)
        score = f"F1 {100 * measured['macro_f1']:.1f}, NLL {measured['nll']:.3f}"
        print(f"{data.name}, {size} a class, seed {seed}: {variant}: {score}", flush=True)


def changes(variant: str, fits: dict[str, al.ClassVAE], feed: Feed, seed: int) -> list[Replace]:
    """What a variant does to a batch; each fit is made once for all that sample from it."""
    if variant == "plain":
        return []
    fit, sampler, share, *others = variant.split(", ")
    how = {name: float(value) for name, value in (text.split("=") for text in others)}
    vae = fitted(fit, fits, feed, seed).with_arguments(sampler=sampler, **how)
    labels = torch.arange(vae.num_classes).repeat_interleave(POOL)
    made = vae.sample(labels, generator=subsets.generator("pool", seed))
    return [Replace(made.view(vae.num_classes, POOL, *made.shape[1:]), float(share))]


def fitted(name: str, fits: dict[str, al.ClassVAE], feed: Feed, seed: int) -> al.ClassVAE:
    if name not in fits:
        how = {"few": "keep", "seed": seed, "expect": False, "progress": False, "device": "cpu"}
        how |= FITS[name]
        if "as" in how:
            first = fitted(how.pop("as"), fits, feed, seed)
            how |= {"steps": int(first.about.figures["steps"]), "stop": False}
        fits[name] = al.ClassVAE.fit(feed[torch.arange(len(feed))], feed.labels, **how)
    return fits[name]


def taught(
    data, feed: Feed, held: Feed, pipeline: Pipeline, seed: int, steps: int
) -> dict[str, float]:
    """What a small network that learned from a subset knows of other images."""
    settings = Settings(steps=steps, seeds=1, device="cpu").for_kind(data.kind)
    sample = feed[torch.arange(len(feed))]
    start = subsets.derived("weights", seed)
    network = networks.build("small", False, data.shape, len(data.classes), sample, start)
    drawn = subsets.batches(len(feed), settings.batch, steps, seed)
    run = Run(network, feed, drawn, pipeline, subsets.derived("changes", seed))
    train([run], settings, networks.learning_rate("small", False))
    return measures(predict(network, held, settings), held.labels)


def table(found: dict, columns: list[tuple[str, int]], seeds: range, given) -> str:
    """What `--against` comes to and what the others add, with the standard error over seeds; over
    all from the means of each seed and data set over sizes, for these share images."""
    heads = " | ".join([*(f"{name}, {size}" for name, size in columns), "over all"])
    blocks = []
    for measure, times, digits in (("macro_f1", 100, 1), ("nll", 1, 3)):
        rows = [f"| {measure} | {heads} |", "|---" * (len(columns) + 2) + "|"]
        of = {
            variant: torch.tensor(
                [
                    [times * found[(*column, s, given.steps, variant)][measure] for s in seeds]
                    for column in columns
                ]
            )
            for variant in ["plain", *given.variants]
        }
        base = of.pop(given.against)
        for variant, values in {given.against: base, **of}.items():
            more = values if variant == given.against else values - base
            means = more.view(-1, len(given.sizes), len(seeds)).mean(dim=1).flatten()
            texts = [shown(cell.tolist(), more is not values, digits) for cell in [*more, means]]
            rows.append(f"| {variant} | {' | '.join(texts)} |")
        blocks.append("\n".join(rows))
    return "\n\n".join(blocks)


def shown(values: list[float], gain: bool, digits: int) -> str:
    mean = sum(values) / len(values)
    error = standard_error(values) or 0
    return f"{mean:+.{digits}f} ± {error:.{digits}f}" if gain else f"{mean:.{digits}f}"


if __name__ == "__main__":
    main()
