"""Table 2 of Schwöbel et al. (2020): a digit of MNIST lies somewhere in the left half of an image,
a character of KMNIST in the right half; the class is the pair. Two crops look for them. A CNN of
the whole image, the transformer (STN) and the probabilistic one (P-STN); and a control, "fixed
crops": those of the two halves, with the prior's random motion and none that is learned.

    python examples/reproduce/pstn_mnist_kmnist.py mnist.npz kmnist.npz --train 10000

The paper does not give the size of its images or its number of pairs. Here images are of 64 pixels,
digits of 28; with --shrink 2 of half as many. Each crop starts at one half and has a network of its
own. Crops that search have to leave their prior, so its weight in the loss is small; the paper's
code leaves the mean free instead. Stop it and run it again: it goes on where it was.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pstn_trials import Arm, Trials, at_its_prior, plot, table
from torch import Tensor, nn

import albu_learned as al
from albu_learned.data import open_data

SIDE = 64
CLASSES = 100
# Each crop sees half of the image's side, around the middle of its half. theta is (angle, log
# scale, x, y), and a motion is made while it is scaled: of x remains x (1 - 1/2) / log 2.
ASIDE = 0.25 * math.log(2) / 0.5
START = torch.tensor([[0.0, math.log(0.5), -ASIDE, 0.0], [0.0, math.log(0.5), ASIDE, 0.0]])
PAPER = {"cnn": 64.0, "stn": 81.2}


def pairs(digits, characters, part: str, count: int, seed: int, shrink: int):
    """(count, side, side) uint8 and their classes."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.zeros(count, 1, SIDE, SIDE), torch.zeros(count, dtype=torch.long)
    for half, source in enumerate((digits, characters)):
        rows = torch.randint(len(source[f"{part}_x"]), (count,), generator=generator)
        left = 32 * half + torch.randint(SIDE // 2 - 28 + 1, (count,), generator=generator)
        top = torch.randint(SIDE - 28 + 1, (count,), generator=generator)
        for image, row, x, y in zip(images, rows, left, top, strict=True):
            image[0, y : y + 28, x : x + 28] = torch.from_numpy(source[f"{part}_x"][row].copy())
        labels = 10 * labels + torch.from_numpy(source[f"{part}_y"])[rows]
    return F.avg_pool2d(images, shrink)[:, 0].round().byte().numpy(), labels.numpy()


def written(given: argparse.Namespace) -> Path:
    path = given.out / f"mnist_kmnist_{given.train}_{given.test}_{SIDE // given.shrink}.npz"
    if not path.is_file():
        sources = [dict(np.load(name)) for name in (given.mnist, given.kmnist)]
        train_x, train_y = pairs(*sources, "train", given.train, 0, given.shrink)
        test_x, test_y = pairs(*sources, "test", given.test, 1, given.shrink)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y)
    return path


def features(channels: int = 1, last: int = 64) -> nn.Module:
    """Three convolutions with pooling, and a layer; dropout between them is left out."""
    blocks: list[nn.Module] = []
    for narrow, wide in ((channels, 16), (16, 32), (32, 32)):
        blocks += [nn.Conv2d(narrow, wide, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
    return nn.Sequential(
        *blocks, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, last), nn.ReLU()
    )


class Pair(nn.Module):
    """A network for each crop, and a layer for both."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = features(), features()
        self.last = nn.Linear(128, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        return self.last(torch.cat([self.left(left), self.right(right)], dim=1))


def transformer(prior: float, side: int, weight: float, stn: bool = False) -> al.PSTN:
    model = al.PSTN(
        Pair(), al.Affine(), prior, 2, 2, features(), stn, start=START, example=(1, side, side)
    )
    model.kl_weight = weight
    return model


def arms(given: argparse.Namespace) -> Iterator[Arm]:
    side, prior = SIDE // given.shrink, (given.prior,)
    yield Arm("cnn", lambda prior: nn.Sequential(features(last=128), nn.Linear(128, CLASSES)))
    yield Arm("fixed crops", lambda prior: at_its_prior(transformer(prior, side, 0)), None, prior)
    yield Arm("stn", lambda prior: transformer(prior, side, 0, stn=True), None, prior)
    for weight in dict.fromkeys((given.kl, 1.0)):
        yield Arm(
            f"pstn, KL {weight:g}", lambda prior, w=weight: transformer(prior, side, w), None, prior
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mnist")
    parser.add_argument("kmnist")
    parser.add_argument("--train", type=int, default=10000, help="images to train on")
    parser.add_argument("--test", type=int, default=2000, help="images to test on")
    parser.add_argument("--shrink", type=int, default=1, choices=[1, 2])
    parser.add_argument("--prior", type=float, default=0.1, help="prior_std")
    parser.add_argument("--kl", type=float, default=0.01, help="kl_weight")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3000, help="of every training")
    parser.add_argument("--rate", type=float, default=2e-3, help="the highest learning rate")
    parser.add_argument("--out", type=Path, default=Path("reproduced"), help="folder to write")
    given = parser.parse_args()
    data = open_data(written(given))
    name = f"{data.name}_pstn_{given.steps}"
    trials = Trials(data, given.out / name, given.steps, given.rate, 64)
    found = trials.run([*arms(given)], 0, given.seeds)
    count = f"{given.train} images to train on, {given.test} to test on, {data.shape[-1]} pixels"
    text = [f"{count}", "", *table(found, "cnn", PAPER | {f"pstn, KL {given.kl:g}": 89.4})]
    plot(found, "MNIST x KMNIST", given.out / name / "calibration.png")
    (given.out / f"{name}.md").write_text("\n".join(text))
    print("\n".join(["", *text]))


if __name__ == "__main__":
    main()
