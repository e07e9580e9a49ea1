"""What to do on these data, in plain sentences that claim no more than the numbers allow.

The decision rests on Student's t over paired seeds, two-sided, with Holm's correction at 5 % over
the arms. Wilcoxon's test is reported but decides nothing: of 5 seeds its p is .0625 at the least,
however large and steady a gain.

What is recommended, by the mean over sizes:

1. Of the arms that beat plain and all of their controls, whose gain is their own, the best.
2. If there is none, of the arms that beat plain, the best of the simplest: those of whose
   controls none beat plain as well. The text says which control may explain the gain.
3. If nothing beat plain: plain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from albu_learned.comparison import remarks
from albu_learned.comparison.result import ALL, MEASURES, PLAIN, Outcome, ordered
from albu_learned.comparison.statistics import (
    LEVEL,
    Paired,
    least_p,
    paired,
    seeds_for_wilcoxon,
    standard_error,
    t_p,
)
from albu_learned.comparison.words import amount, points, shown, size_words, unit

__all__ = ["Conclusion", "conclude"]

LEAST_SEEDS = 3


@dataclass(frozen=True)
class Conclusion:
    """The sentences, and what they rest on.

    Args:
        best: the arm to use; None for plain, or if nothing can be concluded.
        better: than plain, beyond chance.
        own: those of them that beat all of their controls as well.
        worse: than plain, beyond chance.
    """

    sentences: tuple[str, ...]
    best: str | None = None
    better: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        return " ".join(self.sentences)


def conclude(outcome: Outcome) -> Conclusion:
    """What to use, how much it gains, how sure that is, and what explains it; see above."""
    rows = paired(outcome)
    means = {(row.arm, row.other): row for row in rows if row.size is None}
    to_plain = {arm: row for (arm, other), row in means.items() if other == PLAIN}
    not_tried = remarks.not_tried(outcome, to_plain)
    seeds = len(outcome.seeds)
    if seeds < LEAST_SEEDS:
        few = f"No conclusion from {seeds} seed{'s' * (seeds != 1)}: take at least {LEAST_SEEDS}."
        return Conclusion((few, *not_tried))
    better = tuple(arm for arm, row in to_plain.items() if row.clear and row.mean > 0)
    worse = tuple(arm for arm, row in to_plain.items() if row.clear and row.mean < 0)
    controls = {facts.name: facts.controls for facts in outcome.ran}

    def beaten(arm: str, control: str) -> bool:
        return (arm, control) in means and means[arm, control].clear

    own = tuple(arm for arm in better if all(beaten(arm, c) for c in controls[arm]))
    simplest = [arm for arm in better if not set(controls[arm]) & set(better)]
    best = max(own or simplest or better, key=lambda arm: to_plain[arm].mean, default=None)
    sentences = _nothing(outcome, to_plain) if best is None else _use(outcome, rows, best)
    for arm in sorted(better, key=lambda arm: arm != best):  # the best first
        compared = {control: means.get((arm, control)) for control in controls[arm]}
        gain = "" if arm == best else f"{arm} beat plain too ({shown(to_plain[arm])})"
        sentences += _own(gain, compared) if arm in own else _explained(gain, compared, better)
    sentences += _promising(to_plain, best, better)
    sentences += remarks.worse(to_plain.values())
    sentences += remarks.by_size(outcome, rows)
    sentences += remarks.probabilities(outcome, to_plain)
    sentences += remarks.edges(outcome)
    sentences += not_tried
    sentences += _how_sure(seeds, to_plain, best)
    return Conclusion(tuple(sentences), best, better, own, worse)


def _use(outcome: Outcome, rows: Sequence[Paired], best: str) -> list[str]:
    """What to use, and how much it gains: over sizes, and where the most and the least."""
    mine = [row for row in rows if row.arm == best and row.other == PLAIN]
    *sizes, average = sorted(mine, key=lambda row: (row.size is None, -row.mean))
    at = [f"with {size_words(outcome, row.size or ALL)}" for row in sizes]
    where = at[0] if len(sizes) == 1 else "averaged over sizes"
    if len(sizes) > 1:
        where += f"; most {at[0]} ({shown(sizes[0])}), least {at[-1]} ({shown(sizes[-1])})"
    gain = f"{shown(average)} {points(outcome.measure)} over plain training"
    return [f"Use {best}{_on_data(outcome)}: {gain}, {where}."]


def _promising(to_plain: dict[str, Paired], best: str | None, better: Sequence[str]) -> list[str]:
    """Arms that gained more than the one to use, though not clearly: large gains that vary hide
    behind small ones that do not."""
    if best is None:
        return []
    more = [
        row
        for arm, row in to_plain.items()
        if arm not in better and row.mean > to_plain[best].mean and (row.t_p or 1) < LEVEL
    ]
    if not more:
        return []
    named = ", ".join(f"{row.arm} ({shown(row)})" for row in sorted(more, key=lambda r: -r.mean))
    return [
        f"More may be had, though with {more[0].pairs} seeds and so many arms that may be chance: "
        f"{named}. Take more seeds, settled beforehand, or fewer arms."
    ]


def _nothing(outcome: Outcome, to_plain: dict[str, Paired]) -> list[str]:
    """That nothing beat plain, which arm came nearest, and whether more seeds might tell."""
    if not to_plain:
        return ["No conclusion: nothing ran that could be compared with plain training."]
    averaged = ", averaged over sizes" * (len(outcome.sizes) > 1)
    nearest = max(to_plain.values(), key=lambda row: row.mean)
    gain = f"{shown(nearest)} {points(outcome.measure)}"
    if nearest.mean > 0 and nearest.t_p is not None and nearest.t_p < LEVEL:
        return [
            f"Undecided{_on_data(outcome)}{averaged}: {nearest.arm} looks promising ({gain}), but "
            f"with {nearest.pairs} seeds and so many arms that may be chance. Take more seeds, "
            "settled beforehand, or fewer arms.",
        ]
    said = [
        f"Nothing beat plain training beyond chance{_on_data(outcome)}{averaged}: "
        f"there is no reason here to use another{_more_data(outcome)}."
    ]
    if nearest.mean > 0:
        said.append(f"The nearest was {nearest.arm}: {gain}, within its error.")
    return said


def _more_data(outcome: Outcome) -> str:
    """What the largest size gained over the smallest, if that is clear itself."""
    first, *_, last = ordered([*outcome.sizes] * 2)
    pairs = zip(outcome.values(PLAIN, last), outcome.values(PLAIN, first), strict=True)
    sign = 1 if MEASURES[outcome.measure].higher else -1
    gains = [sign * (a - b) for a, b in pairs]
    p = t_p(gains)
    if p is None or p > LEVEL or fmean(gains) <= 0:
        return ""
    gain = amount(outcome.measure, fmean(gains), standard_error(gains))
    return (
        f"; more {unit(outcome)} do help ({gain} {points(outcome.measure)} from "
        f"{size_words(outcome, first)} to {size_words(outcome, last)})"
    )


def _own(gain: str, controls: dict[str, Paired | None]) -> list[str]:
    """That an arm that beat plain beat its controls as well, if it has any."""
    over = ", ".join(f"{name} ({shown(row)})" for name, row in controls.items() if row)
    if not gain:
        return [f"It also beat what is simpler and might explain the gain: {over}."] if over else []
    return [f"{gain}{', and what is simpler as well: ' if over else ''}{over}."]


def _explained(gain: str, controls: dict[str, Paired | None], better: Sequence[str]) -> list[str]:
    """Which control may explain the gain of an arm that beat plain."""
    ran = [row for row in controls.values() if row]
    # The one that it is least sure to beat.
    row = max(ran, key=lambda row: (row.mean <= 0, 1 if row.t_p is None else row.t_p), default=None)
    but = f"{gain}, but" if gain else "But"
    if row is None or row.clear:  # all that ran are beaten, so one did not run
        missing = ", ".join(name for name, found in controls.items() if not found)
        return [f"{but} whether that is its own gain is open: {missing}, simpler, did not run."]
    if row.mean < 0 and row.t_p is not None and row.t_p <= LEVEL:
        did = "did better"
    elif row.mean <= (row.error or 0):
        did = "did as well"
    else:
        did = "is too close to it to tell them apart"
    if row.other not in better:
        did += ", though not clearly better than plain itself"
    return [f"{but} {row.other}, which is simpler, {did}: {shown(row)} between them."]


def _on_data(outcome: Outcome) -> str:
    return f" on {outcome.data}" if outcome.data else ""


def _how_sure(seeds: int, to_plain: dict[str, Paired], best: str | None) -> list[str]:
    """The one parenthesis with names of tests."""
    arms = len(to_plain)
    if not arms:
        return []
    said = f"Student's t at 5 % over {seeds} paired seeds, corrected for {arms} arm"
    said += "s" * (arms > 1)
    if best is not None:
        row = to_plain[best]
        said += f": p {_p(row.holm_t)} for {best}; by Wilcoxon's test {_p(row.holm_wilcoxon)}"
    if arms * least_p(seeds) > LEVEL:
        said += (
            f". With so few seeds Wilcoxon's test cannot fall below 0.05; it takes "
            f"{seeds_for_wilcoxon(arms)}"
        )
    return [f"({said}.)"]


def _p(value: float | None) -> str:
    return "unknown" if value is None else "below 0.001" if value < 0.001 else f"{value:.3f}"
