"""A comparison as files: results.csv for other programs, and results.json to go on from.

Nothing in them is timed or dated, so equal results make equal files, to the byte.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from albu_learned.artifact import write_atomically
from albu_learned.comparison.conclusion import conclude
from albu_learned.comparison.result import MEASURES, ArmFacts, Outcome, Result, size_name
from albu_learned.comparison.statistics import measured, paired

__all__ = ["read_json", "write_csv", "write_json"]

FORMAT = 1
_DERIVED = {"paired", "sentences"}  # made from the rest, for whoever reads the file without Python

_T = TypeVar("_T", ArmFacts, Outcome, Result)


def write_csv(outcome: Outcome, path: Path) -> None:
    """A row for every arm, size and seed, in the order of the outcome."""
    found = {name for result in outcome.results for name in result.measures}
    names = [*(name for name in MEASURES if name in found), *sorted(found - set(MEASURES))]
    cells = {(r.arm, r.size, r.seed): r for r in outcome.results}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "size", "seed", *names, "strength"])
    for arm in outcome.ran:
        for size in outcome.sizes:
            for seed in outcome.seeds:
                result = cells[arm.name, size, seed]
                # Shortest digits that read back as the same number; empty if it has none.
                values = [
                    repr(float(result.measures[name])) if name in result.measures else ""
                    for name in names
                ]
                strength = json.dumps(_plain(result.strength), sort_keys=True, ensure_ascii=False)
                writer.writerow([arm.name, size_name(size), seed, *values, strength])
    write_atomically(path, text.getvalue().encode())


def write_json(outcome: Outcome, path: Path) -> None:
    """Everything. Settings and strengths must be values of JSON to come back as they were: tuples
    become lists, and what JSON has no word for becomes text."""
    comparisons = [row for name in measured(outcome) for row in paired(outcome, name)]
    content = {
        "format": FORMAT,
        **asdict(outcome),
        "paired": [{**asdict(row), "clear": row.clear} for row in comparisons],
        "sentences": conclude(outcome).sentences,
    }
    text = json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def read_json(path: Path) -> Outcome:
    """The outcome that was written; raises if the file is not one, whole and of this format."""
    where = f"{str(path)!r}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{where} must be JSON, but {error}.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise ValueError(
            f"{where} must be a comparison of format {FORMAT}, got {found!r}. "
            "It was written by another version of albu_learned, or is something else."
        )
    given = {key: value for key, value in content.items() if key not in {"format", *_DERIVED}}
    try:
        given["arms"] = tuple(_arm(values) for values in given["arms"])
        given["results"] = tuple(_result(values) for values in given["results"])
        for name in ("sizes", "seeds", "notes"):
            given[name] = tuple(given[name])
        return _make(Outcome, given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{where} must be a comparison, whole: {error!r}.") from error


def _arm(values: dict[str, Any]) -> ArmFacts:
    lists = {name: tuple(values[name]) for name in ("controls", "candidates")}
    return _make(ArmFacts, {**values, **lists})


def _result(values: dict[str, Any]) -> Result:
    tried = tuple((strength, _floats(measures)) for strength, measures in values["tried"])
    bins = tuple((count, float(mean), float(share)) for count, mean, share in values["bins"])
    measures = _floats(values["measures"])
    return _make(Result, {**values, "measures": measures, "tried": tried, "bins": bins})


def _floats(measures: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in measures.items()}  # "nan" is a float as well


def _make(kind: type[_T], values: dict[str, Any]) -> _T:
    wanted = {f.name for f in fields(kind)}
    if set(values) != wanted:
        missing, unknown = sorted(wanted - set(values)), sorted(set(values) - wanted)
        raise ValueError(f"{kind.__name__} has missing keys {missing}, unknown keys {unknown}")
    return kind(**values)


def _plain(value: Any) -> Any:
    """The value in words of JSON, which knows neither NaN nor infinity: those become text."""
    if isinstance(value, dict):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):  # a number of numpy or torch
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
