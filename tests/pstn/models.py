"""Small data, families and classifiers that these tests share."""

import torch
from torch import nn

import albu_learned as al

FAMILIES = {
    "affine": al.Affine(),
    "cpab": al.CPAB((2, 2)),
    "both": al.AffineCPAB((2, 2)),
    "affine-series": al.Affine(2),
    "cpab-series": al.CPAB(5),
}
CLASSES = 3


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def rows(family, count=4, channels=1, side=8, seed=0):
    shape = (count, channels, *[side] * family.ndim)
    return torch.rand(shape, generator=seeded(seed))


def labels(count=4):
    return torch.arange(count) % CLASSES


def classifier(family, channels=1, side=8, seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * side**family.ndim, CLASSES))


def model(family=FAMILIES["affine"], seed=2, **arguments):
    """With an example, so that its localiser has its weights."""
    channels = arguments.pop("channels", 1)
    crops = arguments.get("crops", 1)
    arguments.setdefault("example", (channels, *[8] * family.ndim))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return al.PSTN(classifier(family, crops * channels), family, **arguments)


def still(made):
    """Leaves nothing of the noise."""
    with torch.no_grad():
        made.heads.deviation.weight.zero_()
        made.heads.deviation.bias.fill_(-1000)
    return made


def perturbed(made, size=0.5, seed=3):
    """Heads that give every row another posterior."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in made.heads.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return made
