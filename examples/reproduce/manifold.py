"""zeta-mixup's claims about its samples, measured on real images beside mixup's.

The poster claims that its samples better preserve the intrinsic dimensionality of a data set
(estimated using 128 nearest neighbours), and that they have high realism and rich labels.

    python examples/reproduce/manifold.py mnist.npz [more.npz ...] [--samples 10000] [--seed 0]

A file holds train_x, uint8 images, grey or in colour, and train_y, class numbers. Every method gets
the same images in the same order, and each image leads one sample. Columns:

    PCA      local_pca, 128 neighbours: eigenvalues over 0.05 of the largest; mean ± sd over points
    PCA 95%  the same, components that explain 95 % of the local variance
    TwoNN    Facco et al. 2017
    distance to the nearest of the real images mixed, its median over samples; 1 is the median
             distance between nearest real images
    held out the same distance to real images that were not mixed, where the file has enough of them
    entropy  of the soft labels, in nats; classes: how many weigh at least 0.01; means over samples
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import albu_learned as al
from albu_learned import dimension

BATCH = 32  # what the authors' demo mixes
POINTS = 1000  # to measure at; the images were shuffled, so the first ones are a random choice
COLUMNS = ("PCA", "PCA 95%", "TwoNN", "distance", "held out", "entropy", "classes")
Samples = tuple[Tensor, Tensor]
Mixer = Callable[[Tensor, Tensor, torch.Generator], Samples]


def load(path: Path, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """So many images as flat rows in 0..1, their labels, and as many other images, or none."""
    with np.load(path) as file:
        pixels, labels = (torch.from_numpy(file[key]) for key in ("train_x", "train_y"))
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    rows, others = order[:count], order[count : 2 * count]
    others = others[: len(others) // count * count]  # all or none
    images = pixels.flatten(1)
    return images[rows].float() / 255, labels[rows].long(), images[others].float() / 255


def arms(classes: int) -> dict[str, tuple[int, Mixer]]:
    """The size of a batch and what mixes it, by name; the first one leaves it alone."""

    def plain(images: Tensor, labels: Tensor, generator: torch.Generator) -> Samples:
        return images, F.one_hot(labels, classes).float()

    def mixup(images: Tensor, labels: Tensor, generator: torch.Generator) -> Samples:
        # One weight a batch from Beta(1, 1), which is uniform, and permuted partners. The image of
        # a row is made to lead its sample: that leaves the distribution of samples as it is.
        weight = torch.rand((), generator=generator)
        weight = torch.maximum(weight, 1 - weight)
        partner = torch.randperm(len(images), generator=generator)
        soft = F.one_hot(labels, classes).float()
        return torch.lerp(images[partner], images, weight), torch.lerp(soft[partner], soft, weight)

    def zeta(gamma: float) -> Mixer:
        method = al.ZetaMixup(gamma=gamma, num_classes=classes)
        return lambda images, labels, generator: method(images, labels, generator=generator)

    zetas = {f"zeta {g}, batch {n}": (n, zeta(g)) for g in (2.8, 4.0) for n in (BATCH, 512)}
    return {"real images": (BATCH, plain), f"mixup, batch {BATCH}": (BATCH, mixup), **zetas}


def row(x: Tensor, soft: Tensor, real: Tensor, apart: Tensor, held_out: Tensor) -> list[str]:
    """The cells of a line of the table; `apart` is how far each real image is from another."""
    at = torch.arange(min(POINTS, len(x)))
    dims = [dimension.local_pca(x, at=at, variance=share).double() for share in (None, 0.95)]
    unit = apart.median()
    own = apart[at] if x.equal(real) else dimension.nearest(x[at], real)[0]
    out = dimension.nearest(x[at], held_out)[0] if len(held_out) else torch.full((1,), torch.nan)
    return [
        *(f"{dim.mean():.1f} ± {dim.std():.1f}" for dim in dims),
        f"{dimension.two_nn(x).dimension:.2f}",
        f"{own.median() / unit:.2f}",
        f"{out.median() / unit:.2f}",
        f"{dimension.label_entropy(soft).mean():.3f}",
        f"{dimension.classes_present(soft).double().mean():.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+", help=".npz files with train_x and train_y")
    parser.add_argument("--samples", type=int, default=10_000, help="images and samples at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)  # many small eigenproblems: on a busy machine threads cost tenfold
    for path in args.data:
        start = time.perf_counter()
        real, labels, held_out = load(path, args.samples, args.seed)
        apart = dimension.nearest(real)[0]
        lines = [["", *COLUMNS]]
        for name, (size, mix) in tqdm(arms(int(labels.max()) + 1).items(), desc=path.stem):
            generator = torch.Generator().manual_seed(args.seed)
            pairs = zip(real.split(size), labels.split(size), strict=True)
            parts = zip(*(mix(*pair, generator) for pair in pairs), strict=True)
            x, soft = (torch.cat(part) for part in parts)
            lines.append([name, *row(x, soft, real, apart, held_out)])
        spent = time.perf_counter() - start
        print(f"\n{path.name}: {len(real)} images, seed {args.seed}, {spent:.0f} s")
        for name, *cells in lines:
            print(f"{name:20}" + "".join(f"{cell:>13}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
