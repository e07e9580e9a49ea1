"""What a conclusion adds to what it recommends: where arms harm, what other measures say, strengths
to try, arms that did not run. Each is a list of sentences, empty if there is nothing to say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from numbers import Real

from albu_learned.comparison.result import PLAIN, ArmFacts, Outcome
from albu_learned.comparison.statistics import LEVEL, Paired, holm, measured, paired
from albu_learned.comparison.words import arms_with, points, shown, size_words

__all__ = ["by_size", "edges", "not_tried", "probabilities", "worse"]

_PROBABILITIES = {
    ("nll", True): "Better probabilities (lower NLL)",
    ("ece", True): "Better calibrated (lower ECE, in points)",
    ("nll", False): "Worse probabilities (higher NLL)",
    ("ece", False): "Worse calibrated (higher ECE, in points)",
}


def worse(to_plain: Iterable[Paired]) -> list[str]:
    arms = arms_with(row for row in to_plain if row.clear and row.mean < 0)
    return [f"Clearly worse than plain: {arms}."] if arms else []


def by_size(outcome: Outcome, rows: Sequence[Paired]) -> list[str]:
    """Arms that clearly help at one size and clearly harm at another."""
    said = []
    for facts in outcome.ran:
        mine = [row for row in rows if row.arm == facts.name and row.other == PLAIN]
        clear = [row for row in mine if row.size is not None and row.clear]
        if clear and min(row.mean for row in clear) < 0 < max(row.mean for row in clear):
            ends = (max(clear, key=lambda row: row.mean), min(clear, key=lambda row: row.mean))
            high, low = (f"with {size_words(outcome, r.size or 0)} ({shown(r)})" for r in ends)
            said.append(f"{facts.name} helps {high} and harms {low}.")
    return said


def probabilities(outcome: Outcome, to_plain: dict[str, Paired]) -> list[str]:
    """What NLL and ECE clearly say, where the measure of the comparison does not say the same. The
    arms and both measures are one family of their own."""
    rows = [
        row
        for name in measured(outcome)
        if name in ("nll", "ece") and name != outcome.measure
        for row in paired(outcome, name)
        if row.size is None and row.other == PLAIN
    ]
    found: dict[tuple[str, bool], list[Paired]] = {}
    for row, p in zip(rows, holm([row.t_p for row in rows]), strict=True):
        main = to_plain.get(row.arm)
        same = main is not None and main.clear and (main.mean > 0) == (row.mean > 0)
        if p is not None and p <= LEVEL and not same:
            found.setdefault((row.measure, row.mean > 0), []).append(row)
    unlike = f"though not clearly so in {points(outcome.measure).split(' of ')[-1]}"
    return [
        f"{_PROBABILITIES[key]}, {unlike}: {arms_with(group, sign=False)}."
        for key, group in found.items()
    ]


def edges(outcome: Outcome) -> list[str]:
    """Strengths for which more than half of the cells chose the same end of what was offered."""
    found = [text for facts in outcome.ran for text in _edges_of(outcome, facts)]
    beyond = "The best strength may lie beyond what was offered, so widen it"
    return [f"{beyond}: {'; '.join(found)}."] if found else []


def _edges_of(outcome: Outcome, facts: ArmFacts) -> Iterable[str]:
    mine = [r for r in outcome.results if r.arm == facts.name and r.tried]
    for key in dict.fromkeys(key for candidate in facts.candidates for key in candidate):
        offered = {c[key] for c in facts.candidates if key in c and _number(c[key])}
        ends: list[tuple[Callable[..., float], str]] = [(min, "lowest"), (max, "highest")]
        for end, word in ends if len(offered) > 1 else []:
            count = sum(r.strength.get(key) == end(offered) for r in mine)
            if count > len(mine) / 2 and not _bound(key, end(offered)):
                yield (
                    f"{key} of {facts.name} was {end(offered):g}, the {word}, "
                    f"in {count} of {len(mine)} cells"
                )


def _bound(key: str, value: float) -> bool:
    """Whether there is nothing beyond: p and shares are between none and all."""
    return key.rpartition(".")[2] in ("p", "share") and value in (0, 1)


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def not_tried(outcome: Outcome, compared: Collection[str]) -> list[str]:
    """Arms that were skipped, and those whose training left no number to compare."""
    skipped = [f"{arm.name} ({arm.skipped.rstrip('.')})" for arm in outcome.arms if arm.skipped]
    failed = [arm.name for arm in outcome.ran if arm.name not in (PLAIN, *compared)]
    said = [f"Not tried: {'; '.join(skipped)}."] if skipped else []
    if failed:
        said.append(f"Not compared, for a value of theirs is not a number: {', '.join(failed)}.")
    return said
