"""How large the difference between two arms is, and how sure: paired by seed, corrected for many.

A positive difference is always the better one: where less of a measure is better (NLL, ECE),
differences are turned round.

The sizes of one seed are nested subsets of the same images, so they are not independent trials:
over sizes a seed is averaged to one value, and never counted more than once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean

from albu_learned.comparison.result import MEASURES, PLAIN, Outcome

__all__ = ["LEVEL", "Paired", "holm", "least_p", "measured", "paired", "seeds_for_wilcoxon"]

LEVEL = 0.05  # the share of studies of arms without any effect in which something may be claimed
_DIGITS = 12  # differences that agree so far are the same: 0.3 - 0.2 and 0.2 - 0.1
_SAME = 1e-9  # the error, relative to the mean, below which differences do not vary at all

_P = Callable[["Paired"], "float | None"]


@dataclass(frozen=True)
class Paired:
    """An arm against another, over seeds. A positive mean: `arm` is the better of the two.

    Args:
        size: None if averaged over sizes, one value a seed.
        pairs: seeds.
        error: the standard error of the mean; None of a single pair, as is `t_p`.
        effect: the matched-pairs rank-biserial correlation: 1 if every seed was better, -1 if
            every one was worse.
        holm_t: `t_p`, corrected for having asked of many arms (see `paired`); None where no
            correction is made. The same with `holm_wilcoxon`.
    """

    arm: str
    other: str
    size: int | None
    measure: str
    pairs: int
    mean: float
    error: float | None
    t_p: float | None
    wilcoxon_p: float
    effect: float
    holm_t: float | None = None
    holm_wilcoxon: float | None = None

    @property
    def clear(self) -> bool:
        """Whether it is beyond chance, in its family."""
        return self.holm_t is not None and self.holm_t <= LEVEL


def paired(outcome: Outcome, measure: str = "") -> list[Paired]:
    """Every arm that ran against plain and against each of its controls that ran; at each size,
    and averaged over sizes.

    Holm's correction is made in three families:

    - averaged, against plain: over arms;
    - averaged, against controls: over the arms that have any. An arm has to beat plain and all of
      its controls, so its p is the largest of theirs (and 1 if one of them was the better), and
      stands with each of its controls;
    - at single sizes, against plain: over arms and sizes.

    A comparison with a value that is not finite is left out.
    """
    measure = measure or outcome.measure
    cells = {(r.arm, r.size, r.seed): r.measures[measure] for r in outcome.results}
    ran = [arm.name for arm in outcome.ran]
    sign = 1 if MEASURES[measure].higher else -1
    rows = []
    for facts in outcome.ran:
        others = [PLAIN, *facts.controls] if facts.name != PLAIN else []
        for other in (name for name in dict.fromkeys(others) if name in ran):
            by_size = [
                [sign * (cells[facts.name, z, s] - cells[other, z, s]) for s in outcome.seeds]
                for z in outcome.sizes
            ]
            by_size.append([fmean(seed) for seed in zip(*by_size, strict=True)])
            for size, differences in zip([*outcome.sizes, None], by_size, strict=True):
                if all(map(math.isfinite, differences)):
                    rows.append(_row(facts.name, other, size, measure, differences))
    by_t = _corrected(rows, lambda row: row.t_p)
    by_wilcoxon = _corrected(rows, lambda row: row.wilcoxon_p)
    return [
        replace(row, holm_t=t, holm_wilcoxon=wilcoxon)
        for row, t, wilcoxon in zip(rows, by_t, by_wilcoxon, strict=True)
    ]


def measured(outcome: Outcome) -> list[str]:
    """The measures that every result has; that by which arms are compared comes first."""
    names = [outcome.measure, *(name for name in MEASURES if name != outcome.measure)]
    return [name for name in names if all(name in r.measures for r in outcome.results)]


def _row(arm: str, other: str, size: int | None, measure: str, values: Sequence[float]) -> Paired:
    error = standard_error(values)
    p, effect = wilcoxon_p(values), rank_biserial(values)
    mean = fmean(values)
    return Paired(arm, other, size, measure, len(values), mean, error, t_p(values), p, effect)


def standard_error(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = fmean(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt(squares / (len(values) - 1) / len(values))


def t_p(values: Sequence[float]) -> float | None:
    """The two-sided p of Student's t.

    Where all differences are the same, as happens with few seeds and test images, they give t
    nothing to measure noise by; then Wilcoxon's p, which only counts, stands in.
    """
    from scipy.special import stdtr

    error = standard_error(values)
    if error is None:
        return None
    mean = fmean(values)
    if error <= _SAME * abs(mean):
        return wilcoxon_p(values)
    return 2 * float(stdtr(len(values) - 1, -abs(mean) / error))


def wilcoxon_p(values: Sequence[float]) -> float:
    """The two-sided p of Wilcoxon's signed-rank test: exact, with ties too. Differences of zero
    say nothing and are dropped; if all are, p is 1."""
    ranks, above = _signed_ranks(values)
    counts = _ways(ranks)
    tail = min(above, sum(ranks) - above)  # the distribution is symmetric
    return min(1.0, sum(counts[: tail + 1]) * 2.0 ** (1 - len(ranks)))


def rank_biserial(values: Sequence[float]) -> float:
    """The ranks of positive differences less those of negative ones, as a share of all."""
    ranks, above = _signed_ranks(values)
    return (2 * above - sum(ranks)) / sum(ranks) if ranks else 0.0


def _signed_ranks(values: Sequence[float]) -> tuple[tuple[int, ...], int]:
    """Twice the ranks of absolute differences (so that those of ties are whole), and the sum of
    those that belong to positive ones."""
    found = sorted((d for d in (round(v, _DIGITS) for v in values) if d), key=abs)
    sizes = [abs(d) for d in found]
    # Ties share the mean of their ranks: of places i to j, counted from 1, that is (i + j) / 2.
    ranks = tuple(2 * sizes.index(s) + 1 + sizes.count(s) for s in sizes)
    return ranks, sum(rank for rank, d in zip(ranks, found, strict=True) if d > 0)


@lru_cache(maxsize=1024)
def _ways(ranks: tuple[int, ...]) -> list[int]:
    """In how many of all the ways to give signs to ranks the positive ones sum to 0, 1, 2, ..."""
    counts = [1]
    for rank in ranks:
        without, with_it = counts + [0] * rank, [0] * rank + counts
        counts = [a + b for a, b in zip(without, with_it, strict=True)]
    return counts


def least_p(pairs: int) -> float:
    """The least p that Wilcoxon's test can give: all of so many pairs lie on one side."""
    return min(1.0, 2.0 ** (1 - pairs))


def seeds_for_wilcoxon(arms: int) -> int:
    """The fewest seeds with which Wilcoxon's p can fall below 5 % after correction for arms."""
    return next(n for n in range(1, 100) if arms * least_p(n) <= LEVEL)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's correction of the p of one family, in which there may be some that are unknown."""
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    most = 0.0
    for rank, (p, i) in enumerate(known):
        most = max(most, min(1.0, p * (len(known) - rank)))
        corrected[i] = most
    return corrected


def _corrected(rows: Sequence[Paired], p: _P) -> list[float | None]:
    """The corrected p of every row. A family is a list of rows, with the p they stand for."""
    families: list[list[tuple[list[int], float | None]]] = [[], [], []]
    arms: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.size is None:
            arms.setdefault(row.arm, []).append(i)
        if row.other == PLAIN:
            families[row.size is None].append(([i], p(row)))
    for group in arms.values():
        controls = [i for i in group if rows[i].other != PLAIN]
        if controls:
            families[2].append((controls, _of_all([rows[i] for i in group], p)))
    corrected: list[float | None] = [None] * len(rows)
    for family in families:
        for (members, _), value in zip(family, holm([p for _, p in family]), strict=True):
            for i in members:
                corrected[i] = value
    return corrected


def _of_all(rows: Sequence[Paired], p: _P) -> float | None:
    """The p of being better than all of them, which is the least sure of its parts."""
    if any(row.mean <= 0 for row in rows):
        return 1.0
    ps = [p(row) for row in rows]
    return None if None in ps else max(value for value in ps if value is not None)
