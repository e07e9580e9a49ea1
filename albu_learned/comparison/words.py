"""How numbers of a comparison are said, in its table and in its sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from albu_learned.comparison.result import ALL, MEASURES, Outcome
from albu_learned.comparison.statistics import Paired

__all__ = ["amount", "arms_with", "counted", "points", "shown", "size_words", "strength_words"]
__all__ += ["unit"]


def counted(number: int, what: str, many: str = "") -> str:
    """Such as "1 arm", "2 arms"."""
    return f"{number} {what if number == 1 else many or f'{what}s'}"


def unit(outcome: Outcome) -> str:
    return "series" if outcome.kind == "series" else "images"


def size_words(outcome: Outcome, size: int) -> str:
    """Such as "10 images a class"."""
    if size == ALL:
        return f"all {unit(outcome)}"
    return f"{size} {unit(outcome)}" + ("" if outcome.kind == "detection" else " a class")


def points(measure: str) -> str:
    """What a difference counts, such as "points of accuracy"."""
    name = MEASURES[measure].title.split(",")[0]
    return f"points of {name}" if MEASURES[measure].percent else f"of {name} (+ is better)"


def shown(row: Paired, sign: bool = True) -> str:
    """The difference and its error, such as "+2.1 ± 0.4"."""
    return amount(row.measure, row.mean if sign else abs(row.mean), row.error, sign)


def amount(measure: str, mean: float, error: float | None = None, sign: bool = True) -> str:
    scale, digits = (100, 1) if MEASURES[measure].percent else (1, 3)
    if error and scale * error < 0.5 * 10**-digits:
        digits += 1  # lest a clear difference reads as "+0.0 ± 0.0"
    text = f"{scale * mean:{'+' if sign else ''}.{digits}f}"
    return text if error is None else f"{text} ± {scale * error:.{digits}f}"


def arms_with(rows: Iterable[Paired], sign: bool = True) -> str:
    """Such as "mixup (+2.1 ± 0.4), zeta-mixup (+1.0 ± 0.3)"."""
    return ", ".join(f"{row.arm} ({shown(row, sign)})" for row in rows)


def strength_words(strength: Mapping[str, Any]) -> str:
    """Such as "gamma 2.8, p 0.5"."""
    said = (f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in strength.items())
    return ", ".join(said)
