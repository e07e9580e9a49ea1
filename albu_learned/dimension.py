"""Whether samples stay near the data: the intrinsic dimension of a cloud of points, how far points
are from their nearest ones, and how rich soft labels are.

The zeta-mixup poster claims that zeta-mixup "better preserves the intrinsic dimensionality of
datasets (estimated using 128 nearest neighbors)" than mixup, and that its labels are rich,
"incorporating information from multiple classes". It does not say how many components a
neighbourhood is given; the default is that of scikit-dimension, which the authors' published demo
uses for its data, and the other usual rule is at hand.

Distances and eigenvalues are computed in float64, a chunk at a time: small differences decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from albu_learned import checks

__all__ = ["TwoNN", "classes_present", "label_entropy", "local_pca", "nearest", "two_nn"]

CHUNK = 8 * 2**20  # numbers of float64 at work at a time, 64 MiB
COPIED = 2**20  # of neighbourhoods: larger copies cost more in fresh memory than they save in calls


class TwoNN(NamedTuple):
    """The dimension, and how many points were dropped as duplicates of others."""

    dimension: float
    dropped: int


def local_pca(
    points: Tensor,
    neighbours: int = 128,
    at: Tensor | None = None,
    ratio: float = 0.05,
    variance: float | None = None,
) -> Tensor:
    """The number of principal components of the nearest neighbours of every point.

    Fukunaga and Olsen, "An algorithm for finding intrinsic dimensionality of data", IEEE
    Transactions on Computers C-20 (1971): an eigenvalue of the local covariance counts if it is
    greater than `ratio` times the largest one. With `variance` the fewest components count that
    explain at least that share of the local variance instead.

    Args:
        points: (N, D) floats.
        neighbours: how many nearest points make a neighbourhood; the point itself is none of them.
        at: (Q,) the rows of `points` to look at; None for all.
        ratio: 0.05 is the default of scikit-dimension and of R's intrinsicDimension.
        variance: a share such as 0.95; None for the rule of the ratio.

    Returns:
        (Q,) int64. 0 where all neighbours are the same point.

    Example:
        >>> plane = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
        >>> local_pca(plane @ torch.eye(2, 5), neighbours=20).unique().tolist()
        [2]
    """
    neighbours = checks.integer("neighbours", neighbours, 2)
    _check_points(points, neighbours + 1, f" for {neighbours} neighbours; give more, or take fewer")
    ratio = checks.between("ratio", ratio, "(0,1)")
    if variance is not None:
        variance = checks.between("variance", variance, "(0,1)")
    rows = (
        torch.arange(len(points), device=points.device) if at is None else _check_rows(at, points)
    )
    cloud = points.detach().double()
    found = [torch.zeros(0, dtype=torch.int64, device=points.device)]
    for part, near in _neighbourhoods(cloud, rows, neighbours):
        found.append(_count(_spectrum(cloud, part, near), ratio, variance))
    return torch.cat(found)


def _neighbourhoods(
    cloud: Tensor, rows: Tensor, neighbours: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows and the numbers of their nearest points, as many at a time as fit in memory."""
    for some in torch.split(rows, max(1, CHUNK // len(cloud))):
        near = _search(cloud[some], cloud, neighbours, some)[1]
        size = max(1, COPIED // (neighbours * cloud.shape[1]))
        yield from zip(torch.split(some, size), torch.split(near, size), strict=True)


def _spectrum(cloud: Tensor, rows: Tensor, near: Tensor) -> Tensor:
    """(Q, min(k, D)): the eigenvalues of the local covariances, times k, the largest first."""
    # From the point first: of exact duplicates nothing is left then, not even rounding.
    X = cloud[near] - cloud[rows, None]
    X = X - X.mean(1, keepdim=True)
    wide = X.shape[1] <= X.shape[2]  # the k x k and the D x D product have the same eigenvalues
    product = X @ X.mT if wide else X.mT @ X
    eigenvalues: Tensor = torch.linalg.eigvalsh(product)
    return eigenvalues.clamp_min(0).flip(1)


def _count(spectrum: Tensor, ratio: float, variance: float | None) -> Tensor:
    if variance is None:
        return (spectrum > ratio * spectrum[:, :1]).sum(1)
    explained = spectrum.cumsum(1)
    total = explained[:, -1:]
    # One more than those that do not explain enough yet; none of nothing.
    return ((explained < variance * total).sum(1) + 1) * (total[:, 0] > 0)


def two_nn(points: Tensor, discard: float = 0.1) -> TwoNN:
    """The dimension from the ratio mu of the distances to the second and the first nearest point.

    Facco, d'Errico, Rodriguez and Laio, "Estimating the intrinsic dimension of datasets by a
    minimal neighborhood information", Scientific Reports 7 (2017): F(mu) = 1 - mu^-d wherever the
    density is locally constant, so d is the slope of -log(1 - F) over log mu, a least-squares line
    through the origin, as in the paper, with F = i / N at the i-th smallest ratio.
    Of few points in many dimensions it finds too little (8.6 for 2,000 in a cube of 10), and noise
    counts as soon as it is as large as the smallest distances.

    Args:
        points: (N, D) floats. Of equal ones a single one is kept: their distances are 0.
        discard: the share of the largest ratios to leave out of the fit; at least the last one,
            where F is 1, is always left out.

    Example:
        >>> plane = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
        >>> round(two_nn(plane).dimension)
        2
    """
    _check_points(points, 3, " to have two nearest others each; give more")
    discard = checks.between("discard", discard, "[0,1)")
    cloud = torch.unique(points.detach().double(), dim=0)
    dropped = len(points) - len(cloud)
    if len(cloud) < 3 or dropped > len(points) / 2:
        raise ValueError(
            f"`points` must be mostly distinct, at least 3 of them, got {len(cloud)} distinct of "
            f"{len(points)}. Repeated points say nothing about distances: give each once."
        )
    distance = nearest(cloud, count=2)[0]
    mu = (distance[:, 1] / distance[:, 0]).sort().values
    kept = min(math.floor(len(mu) * (1 - discard)), len(mu) - 1)
    x = mu[:kept].log()
    F = torch.arange(1, kept + 1, dtype=torch.float64, device=x.device) / len(mu)
    if not (x * x).sum() > 0:
        raise ValueError(
            "`points` must have nearest and second nearest points at different distances, got "
            f"equal ones at all of {kept}. A regular grid has no TwoNN dimension; discard less, "
            "or use local_pca."
        )
    slope = -(x * (1 - F).log()).sum() / (x * x).sum()
    return TwoNN(float(slope), dropped)


def nearest(points: Tensor, among: Tensor | None = None, count: int = 1) -> tuple[Tensor, Tensor]:
    """The Euclidean distances to the nearest points, and which they are.

    Args:
        points: (Q, D) floats.
        among: (N, D) floats; None for the points themselves, each without itself.
        count: how many nearest ones.

    Returns:
        (Q, count) float64, the smallest first, and (Q, count) row numbers of `among`.
    """
    count = checks.integer("count", count, 1)
    _check_points(points, 1 if among is not None else count + 1, f" for {count} nearest; give more")
    queries = points.detach().double()
    cloud = queries
    if among is not None:
        _check_points(among, count, f" for {count} nearest; give more", "among")
        if among.shape[1] != points.shape[1]:
            raise ValueError(
                f"`among` must have the {points.shape[1]} columns of `points`, got "
                f"{among.shape[1]}. Flatten both in the same way."
            )
        cloud = among.detach().double()
    size = max(1, CHUNK // max(len(cloud), count * cloud.shape[1]))
    found = []
    for rows in torch.split(torch.arange(len(queries), device=queries.device), size):
        found.append(_search(queries[rows], cloud, count, rows if among is None else None))
    distance, index = zip(*found, strict=True)
    return torch.cat(distance), torch.cat(index)


def _search(
    queries: Tensor, cloud: Tensor, count: int, own: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The nearest of the cloud to a chunk of queries; `own` numbers the queries in the cloud."""
    offset = cloud.mean(0)  # keeps the squares small, and with them the error of their difference
    A, B = queries - offset, cloud - offset
    square = (A * A).sum(1, keepdim=True) + (B * B).sum(1) - 2 * A @ B.T
    if own is not None:
        square[torch.arange(len(own), device=own.device), own] = math.inf
    index = square.topk(count, largest=False).indices
    # The product loses the digits of small distances: those chosen are measured anew, in order.
    distance, order = (queries[:, None] - cloud[index]).norm(dim=2).sort(dim=1, stable=True)
    return distance, index.gather(1, order)


def label_entropy(soft: Tensor) -> Tensor:
    """(B,) Shannon's entropy of every soft label, in nats: 0 for a hard one, log K for all alike.

    Args:
        soft: (B, K) labels whose rows sum to 1.

    Example:
        >>> label_entropy(torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]])).tolist()
        [0.6931471805599453, 0.0]
    """
    terms: Tensor = torch.special.entr(_check_soft(soft))
    return terms.sum(1)


def classes_present(soft: Tensor, least: float = 0.01) -> Tensor:
    """(B,) how many classes weigh at least so much in every soft label: two at most after mixup.

    Args:
        soft: (B, K) labels whose rows sum to 1.
        least: the weight from which on a class counts.

    Example:
        >>> classes_present(torch.tensor([[0.5, 0.495, 0.005], [0.0, 1.0, 0.0]])).tolist()
        [2, 1]
    """
    least = checks.between("least", least, "(0,1)")
    # A weight of 0.01 in float32 is a little less than that in float64.
    return (_check_soft(soft) >= least * (1 - 1e-6)).sum(1)


def _check_soft(soft: Tensor) -> Tensor:
    rule = "`soft` must be (B, K) labels >= 0 whose rows sum to 1"
    if soft.ndim != 2 or not soft.is_floating_point():
        raise ValueError(
            f"{rule}, got {tuple(soft.shape)} {soft.dtype}. Make one-hot floats of class numbers."
        )
    exact = soft.detach().double()
    sums = exact.sum(1)
    wrong = ~((sums - 1).abs() <= 1e-2) | (exact < 0).any(1)  # so is NaN; half precision is not
    if wrong.any():
        raise ValueError(
            f"{rule}, got {exact[wrong][0].tolist()}. Give probabilities, such as a softmax of "
            "logits."
        )
    return exact


def _check_points(points: Tensor, least: int, why: str, name: str = "points") -> None:
    if points.ndim != 2 or not points.is_floating_point():
        raise ValueError(
            f"`{name}` must be (N, D) floats, one row a point, got {tuple(points.shape)} "
            f"{points.dtype}. Flatten images: images.flatten(1).float()."
        )
    if len(points) < least:
        raise ValueError(f"`{name}` must be at least {least}{why}, got {len(points)}.")
    if points.shape[1] == 0:
        raise ValueError(f"`{name}` must have columns, got {tuple(points.shape)}. Give D >= 1.")
    finite = points.isfinite().all(1)
    if not finite.all():
        raise ValueError(
            f"`{name}` must be finite, got NaN or infinity in {int((~finite).sum())} rows. "
            "Drop those rows."
        )


def _check_rows(at: Tensor, points: Tensor) -> Tensor:
    rule = f"`at` must be (Q,) int64 rows of `points` in 0..{len(points) - 1}"
    if at.ndim != 1 or at.dtype != torch.int64:
        raise ValueError(f"{rule}, got {tuple(at.shape)} {at.dtype}. Give torch.arange of some.")
    wrong = (at < 0) | (at >= len(points))
    if wrong.any():
        raise ValueError(f"{rule}, got {int(at[wrong][0])}. Count from the first row.")
    return at.to(points.device)
