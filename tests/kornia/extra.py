"""What the tests of this door share: two more toys, and ready-made calls."""

import torch

from albu_learned.kinds import Field, Mix, Warp
from albu_learned.kornia import LearnedAugmentationSequential, MixTransform
from tests.toys import FreeShift

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 0, 1])
BOXES = torch.tensor([[[1.0, 1, 4, 4], [0, 0, 0, 0]]] * 4)
POINTS = torch.tensor([[[0.0, 0.0], [7.0, 3.0], [15.0, 15.0]]] * 4)


class _Mirrored(Field):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return self.rows

    def points(self, points):
        return points * points.new_tensor([-1, 1]) + points.new_tensor([1, 0])

    points_back = points


class KorniaMirror(Warp):
    """Kornia's horizontal flip as a warp: every target must come out the same."""

    citation = "@misc{korniamirror}"

    def draw(self, rows, generator=None, device=None):
        return {"z": torch.zeros(rows, device=device)}

    def plan(self, batch, noise):
        return {"z": noise["z"]}

    def field(self, plan):
        return _Mirrored(len(plan["z"]))

    def identity(self, rows, device=None):
        raise NotImplementedError


class KorniaPair(Mix):
    """Every image, and with the given weight the next one, so that its boxes are added; with
    `alternate` every second image is left alone, so that the outputs have different counts."""

    citation = "@misc{korniapair}"

    def __init__(self, num_classes=2, weight=0.5, alternate=False):
        super().__init__(num_classes)
        self.weight = weight
        self.alternate = alternate

    def draw(self, rows, generator=None, device=None):
        return {"row": torch.arange(rows, device=device)}

    def plan(self, batch, noise):
        row = noise["row"]
        other = torch.full((len(row),), self.weight, device=row.device)
        if self.alternate:
            other = other * (row % 2 == 0)
        index = torch.stack([row, (row + 1) % len(row)], dim=1)
        return {"index": index, "weight": torch.stack([1 - other, other], dim=1)}


def moved(toy, by=0.25):
    """The toy, learned to move by the same share of the image for every class."""
    with torch.no_grad():
        toy.shift[:, 0] = by
    return toy


def shift(by=0.25, noise=0.0):
    return moved(FreeShift(noise=noise), by)


def pair(p=1.0, **arguments):
    return MixTransform(KorniaPair(**arguments), p=p)


def ours(*operations, keys=("input", "class"), **arguments):
    keys = None if keys is None else list(keys)
    return LearnedAugmentationSequential(*operations, data_keys=keys, **arguments)


def noise_of(params):
    """The noise that a door has kept in Kornia's params."""
    return {k.removeprefix("noise_"): v for k, v in params.items() if k.startswith("noise_")}
