"""Table 1 of Schwöbel et al. (2020): do transformations that are learned with the classifier help
with few digits? A CNN, the spatial transformer (STN) and the probabilistic one (P-STN), affine and
CPAB, of about 28,000 and 44,000 parameters; each alone and with the hand-made augmentation of the
paper's section 4.3. Two controls have the fixed smooth prior in place of a learned posterior:
"smooth" is the CNN trained on warps from it; "prior" averages over such warps at test time too, as
a P-STN that cannot leave its prior.

    python examples/reproduce/pstn_mnist.py mnist.npz --sizes 10 30 100 --seeds 5

All arms have the same images, batches, optimiser and number of updates, and transformers start at
the identity. How strong a prior is, held-out training images decide, for every arm by one rule; of
one image a class none can be held out, and it is the paper's 0.05. Arms with the hand-made
augmentation take the prior of those without. Stop it and run it again: it
goes on where it was.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from pstn_trials import Arm, Trials, at_its_prior, plot, table
from torch import nn

import albu_learned as al
from albu_learned.data import open_data

PRIORS = (0.05, 0.1)  # the first where nothing can be held out
FAMILIES = {"affine": al.Affine(), "cpab": al.CPAB((3, 3))}  # of 4 and 34 dimensions
# The paper's accuracy in %, by images in all.
PAPER = {
    "cnn-28k": {10: 51.5, 30: 70.0, 100: 86.9, 1000: 95.8, 3000: 97.5, 10000: 98.0},
    "stn-affine": {10: 51.7, 30: 63.8, 100: 81.1, 1000: 93.5, 3000: 96.3, 10000: 97.6},
    "pstn-affine": {10: 55.7, 30: 76.1, 100: 91.9, 1000: 97.5, 3000: 97.9, 10000: 98.3},
    "stn-cpab": {10: 52.0, 30: 69.5, 100: 87.1, 1000: 95.8, 3000: 97.3, 10000: 97.9},
    "pstn-cpab": {10: 57.3, 30: 78.7, 100: 93.4, 1000: 97.3, 3000: 98.0, 10000: 98.2},
}


def classifier(classes: int, channels: int, narrow: int = 10, wide: int = 20, last: int = 50):
    """For 28 pixels a side: 21,840 parameters with one channel and ten classes."""
    return nn.Sequential(
        *(nn.Conv2d(channels, narrow, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(narrow, wide, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16 * wide, last), nn.ReLU(), nn.Linear(last, classes)),
    )


def localiser(channels: int, narrow: int, wide: int, last: int | None = None) -> nn.Module:
    layers = [nn.Conv2d(channels, narrow, 5), nn.MaxPool2d(2), nn.ReLU()]
    layers += [nn.Conv2d(narrow, wide, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, *([nn.Linear(16 * wide, last), nn.ReLU()] if last else []))


def network(arm: str, prior_std: float, classes: int, channels: int) -> nn.Module:
    """Of 27,300 parameters, or 44,200 for CPAB: what an arm lacks, its other parts have more."""
    kind, _, name = arm.partition("-")
    if kind == "cnn":
        return classifier(classes, channels, *((12, 24, 50) if name == "28k" else (16, 32, 59)))
    if kind == "prior":
        body = network(f"cnn-{'28k' if name == 'affine' else '44k'}", 0, classes, channels)
        looks = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        shape = (channels, 28, 28)
        return at_its_prior(
            al.PSTN(body, FAMILIES[name], prior_std, localiser=looks, example=shape)
        )
    sizes = {"pstn-affine": (8, 16), "stn-affine": (9, 18)}
    sizes |= {"pstn-cpab": (8, 16, 58), "stn-cpab": (8, 16, 65)}
    return al.PSTN(
        classifier(classes, channels),
        FAMILIES[name],
        prior_std,
        localiser=localiser(channels, *sizes[arm]),
        stn=kind == "stn",
        example=(channels, 28, 28),
    )


def arms(family: str, priors: tuple[float, ...], classes: int, channels: int) -> Iterator[Arm]:
    """In the order of the table: the hand-made augmentation is affine for all, as in the paper,
    where its four numbers are independent; here they are in the units of the prior."""

    def make(kind):
        return lambda prior: network(kind, prior, classes, channels)

    def by_hand(prior):
        return al.ThetaWarp(FAMILIES["affine"], std=0.05)

    def smooth(prior):
        return al.ThetaWarp(FAMILIES[family], std=prior)

    bare = f"cnn-{'28k' if family == 'affine' else '44k'}"
    for kind in (bare, f"stn-{family}", f"pstn-{family}"):
        tried = priors if kind.startswith("pstn") else ()
        yield Arm(kind, make(kind), None, tried)
        yield Arm(f"{kind} + hand-made", make(kind), by_hand, tried, kind)
    yield Arm(f"smooth-{family}", make(bare), smooth, priors)
    yield Arm(f"prior-{family}", make(f"prior-{family}"), None, priors)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="28 pixels a side, such as mnist.npz")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 30, 100], help="images in all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600, help="of every training")
    parser.add_argument("--rate", type=float, default=4e-3, help="the highest learning rate")
    parser.add_argument("--families", nargs="+", default=[*FAMILIES], choices=FAMILIES)
    parser.add_argument("--priors", type=float, nargs="+", default=PRIORS, help="to choose from")
    parser.add_argument("--tune-seeds", type=int, default=2, help="whose images choose")
    parser.add_argument("--bare", action="store_true", help="without the hand-made augmentation")
    parser.add_argument("--test", type=int, help="so many test images; all by default")
    parser.add_argument("--out", type=Path, default=Path("reproduced"), help="folder to write")
    given = parser.parse_args()
    data = open_data(given.data)
    classes = len(data.classes)
    for size in given.sizes:
        if size < classes or size % classes:
            parser.error(f"`--sizes` must be so many for each of {classes} classes, got {size}.")
    name = f"{data.name}_pstn_{given.steps}"
    trials = Trials(
        *(data, given.out / name, given.steps, given.rate),
        test=given.test,
        tune_seeds=given.tune_seeds,
    )
    text = []
    for size in given.sizes:
        for family in given.families:
            listed = [*arms(family, tuple(given.priors), classes, data.shape[0])]
            listed = [arm for arm in listed if not (given.bare and "+" in arm.name)]
            found = trials.run(listed, size // classes, given.seeds)
            plain = listed[0].name
            figures = {arm: by_size[size] for arm, by_size in PAPER.items() if size in by_size}
            text += [f"{size} images, {family}", "", *table(found, plain, figures), ""]
            shown = {arm: of for arm, of in found.items() if "+" not in arm}
            title = f"{data.name}, {size} images, {family}"
            plot(shown, title, given.out / name / f"calibration_{size}_{family}.png")
            (given.out / f"{name}.md").write_text("\n".join(text))
    print("\n".join(["", *text]))


if __name__ == "__main__":
    main()
