"""Every method, with data it works on: what the generic laws in test_laws.py are tried with.

A new method adds one line to CASES. A law that does not hold for a kind, or for one method, is
exempted here with its reason.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

import albu_learned as al
from tests import toys


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], al.Method]
    exempt: dict[str, str] = field(default_factory=dict)

    def why_not(self, law: str) -> str | None:
        return self.exempt.get(law) or KINDS[self.make().kind].get(law)


KINDS = {
    "mix": {
        "element by element": "a mix combines the rows of a batch",
        "labels unchanged": "a mix makes labels soft",
        "boxes follow masks": "a mix moves nothing",
        "invert": "a mix loses its originals",
    },
    "warp": {"labels soft": "a warp never changes a class"},
    "generate": {
        "labels soft": "a generator never changes a label",
        "identity": "new pixels have no plan that keeps the old ones",
        "boxes follow masks": "a generator moves nothing",
        "invert": "the old pixels are gone",
    },
}


def shifted(toy, by):
    """The toy with its learned shift set."""
    with torch.no_grad():
        toy.shift.copy_(torch.tensor(by))
    return toy


def posterior_model(family=None, prior_std=0.1, **how):
    """A PSTN whose posterior depends on the image, as after a training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = torch.nn.Flatten()  # nobody asks it
        model = al.PSTN(classifier, family, prior_std, example=(3, 16, 16), **how)
        with torch.no_grad():
            for parameter in model.heads.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    return model


def some_images():
    return torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(9))


def posterior_warp(form="looks", scale=1.0, **how):
    """The posterior of such a PSTN as a warp: it "looks" at images, or it is the "marginal"."""
    model, images = posterior_model(al.AffineCPAB((2, 2)), prior_std=0.04, **how), some_images()
    marginal = images if form == "marginal" else None
    return model.as_warp(images, marginal=marginal, scale=scale)


VAE = {
    "gradient to images": "its pixels come from the labels alone",
    "gradient to all that is learned": "encoders are for the fit alone",
}
MOVES = [[0.25, 0.0], [-0.125, 0.5]]
PSLD = {
    "gradient to images": "its pixels are drawn, step by step, without a gradient",
    "gradient to all that is learned": "its network is frozen",
    "dtypes agree": "rounded pixels are another measurement, which a draw may answer by more",
    "cuda": "rounding differs, which a draw may answer by more",
    "one graph": "sampling asks for gradients of its own, and reads seeds",
}


def inpaint():
    """From a network of diffusers of a few thousand parameters."""
    from tests.methods.psld import tiny

    return al.PSLDInpaint(tiny.model(), steps=2, batch=4, settings={"guidance": 1, "polish": 1})


POOL = {
    "gradient to images": "its pixels are read",
    "dtypes agree": "of half as many bits pixels are others, which are not found",
    "one graph": "it reads files",
}


def pool():
    """Of variants of the images below."""
    from tests import pools

    return al.PSLDPool(pools.of_cases()[0])


CASES = [
    Case("ZetaMixup", lambda: al.ZetaMixup(num_classes=2)),
    Case("ZetaMixup top_k", lambda: al.ZetaMixup(gamma=4.0, top_k=3, num_classes=2)),
    Case("ThetaWarp", lambda: al.ThetaWarp(std=0.1)),
    Case("ThetaWarp of CPAB", lambda: al.ThetaWarp(al.CPAB((3, 2)), std=0.1, distributions=2)),
    Case(
        "ClassVAE",
        lambda: al.ClassVAE((3, 16, 16), 2),
        VAE,
    ),
    Case(
        "ClassVAE of codes",
        lambda: al.ClassVAE((3, 16, 16), 2, "dense", codes=2, sampler="mixture", members=[[1, 0]]),
        VAE,
    ),
    Case("PosteriorWarp", lambda: posterior_model().as_warp()),
    Case("PosteriorWarp, marginal", lambda: posterior_model().as_warp(marginal=some_images())),
    Case("ClassShift", lambda: shifted(toys.ClassShift(), MOVES)),
    Case("FreeShift", lambda: shifted(toys.FreeShift(noise=0.1), MOVES)),
    Case("ImageShift", lambda: shifted(toys.ImageShift(noise=0.1), MOVES)),
    Case("BoxPaint", lambda: toys.BoxPaint()),
    Case(
        "ClassPicture",
        lambda: toys.ClassPicture(size=16),
        {"gradient to images": "its pixels come from the labels alone"},
    ),
]

if importlib.util.find_spec("diffusers") is not None:  # else there is nothing to try it with
    CASES.append(Case("PSLDInpaint", inpaint, PSLD))
if importlib.util.find_spec("PIL") is not None:
    CASES.append(Case("PSLDPool", pool, POOL))


def make_batch(rows=4, dtype=torch.float32, size=16, seed=0):
    """Images with one bright rectangle each; the mask and the first box are that rectangle."""
    g = torch.Generator().manual_seed(seed)
    images = torch.rand(rows, 3, size, size, generator=g) * 0.3
    masks = torch.zeros(rows, size, size, dtype=torch.long)
    boxes, points = [], []
    for i in range(rows):
        x, y = torch.randint(1, size - 4, (2,), generator=g).tolist()
        images[i, :, y : y + 4, x : x + 3] += 0.6
        masks[i, y : y + 4, x : x + 3] = 7
        box = torch.tensor([[x, y, x + 3, y + 4]]) / size
        boxes.append(
            torch.cat([box, torch.rand(i % 2, 4, generator=g).sort(dim=1)[0][:, [0, 1, 2, 3]]])
        )
        points.append(torch.rand(i, 2, generator=g))
    if dtype == torch.uint8:
        images = (images * 255).round()
    labels = torch.randint(2, (rows,), generator=g)
    return al.Batch(images=images.to(dtype), labels=labels, masks=masks, boxes=boxes, points=points)


def fit_for(method, batch):
    """The batch with what this method's kind takes: a mix refuses integer masks."""
    if method.kind != "mix":
        return batch
    return al.Batch(
        images=batch.images,
        labels=batch.labels,
        masks=(batch.masks > 0).float(),
        boxes=batch.boxes,
        points=batch.points,
    )
