"""The table of a comparison, for the terminal."""

from __future__ import annotations

import json
import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, stdev

from albu_learned.comparison.result import MEASURES, PLAIN, Outcome, Result
from albu_learned.comparison.statistics import LEVEL, Paired, measured, paired
from albu_learned.comparison.words import shown, size_words, strength_words

__all__ = ["table"]

WIDTH = 110
_LONGEST = 26  # of names: a longer one has a line of its own
_GAP = "  "
_NOTE = (
    "± of an arm is the standard deviation over seeds; of a difference to plain, which is paired, "
    f"the standard error. * clear at {100 * LEVEL:.0f} % (Student's t, corrected by Holm's method "
    "for all arms{sizes})."
)


def table(outcome: Outcome) -> str:
    """A block for every size, and one averaged over sizes if there are several."""
    blocks: list[int | None] = [*outcome.sizes]
    if len(outcome.sizes) > 1:
        blocks.append(None)
    differences = {(p.arm, p.size): p for p in paired(outcome) if p.other == PLAIN}
    lines = []
    for size in blocks:
        rows = [_heads(outcome)]
        for facts in outcome.ran:
            difference = differences.get((facts.name, size))
            rows.append([facts.name, *_cells(outcome, facts.name, size, difference)])
        words = size_words(outcome, size) if size is not None else "averaged over sizes"
        lines += [words[0].upper() + words[1:], *_aligned(rows), ""]
    for facts in outcome.arms:
        if facts.skipped:
            lines += _wrapped(f"not tried: {facts.name}: {facts.skipped}")
    several = " and sizes, or, averaged, for all arms" if len(outcome.sizes) > 1 else ""
    return "\n".join([*lines, *_wrapped(_NOTE.format(sizes=several))])


def _heads(outcome: Outcome) -> list[str]:
    titles = [MEASURES[name].title for name in measured(outcome)]
    return ["", *titles, "to plain", "strength"]


def _cells(outcome: Outcome, arm: str, size: int | None, difference: Paired | None) -> list[str]:
    sizes = outcome.sizes if size is None else (size,)
    found = [r for r in outcome.results if r.arm == arm and r.size in sizes]
    names = measured(outcome)
    cells = []
    for name in names:
        by_size = [outcome.values(arm, each, name) for each in sizes]
        seeds = [fmean(values) for values in zip(*by_size, strict=True)]
        cells.append(_value(name, seeds, spread=name == names[0]))
    if difference is None:
        return [*cells, "", _strength(found)]
    mark = " *" if difference.clear else "  "
    return [*cells, shown(difference) + mark, _strength(found)]


def _value(measure: str, values: Sequence[float], spread: bool) -> str:
    if not all(map(math.isfinite, values)):
        return "-"
    scale, digits = (100, 1) if MEASURES[measure].percent else (1, 3)
    text = f"{scale * fmean(values):.{digits}f}"
    return f"{text} ± {scale * stdev(values):.{digits}f}" if spread and len(values) > 1 else text


def _strength(results: Sequence[Result]) -> str:
    """The strength chosen most often, such as "gamma 4 (3/5)"."""
    chosen = Counter(json.dumps(r.strength, sort_keys=True, default=str) for r in results)
    text, count = chosen.most_common(1)[0]
    strength = json.loads(text)
    if not strength:
        return ""
    return f"{strength_words(strength)} ({count}/{len(results)})"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right; strengths last, cut where the line ends."""
    columns = list(zip(*rows, strict=True))
    names = [len(name) for name in columns[0] if len(name) <= _LONGEST]
    width = max(*names, 10)
    numbers = [max(map(len, column)) for column in columns[1:-1]]
    lines = []
    for name, *cells, strength in rows:
        if len(name) > width:
            lines += textwrap.wrap(name, WIDTH)
            name = ""
        padded = [cell.rjust(most) for cell, most in zip(cells, numbers, strict=True)]
        line = _GAP.join([name.ljust(width), *padded, strength]).rstrip()
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 1] + "…")
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")
