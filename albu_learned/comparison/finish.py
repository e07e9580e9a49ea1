"""From finished cells to the table, the files, the pictures and the report."""

from __future__ import annotations

import platform
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from albu_learned import __version__
from albu_learned.comparison.conclusion import conclude
from albu_learned.comparison.files import write_csv, write_json
from albu_learned.comparison.fonts import lettered, readable
from albu_learned.comparison.pictures import draw_samples
from albu_learned.comparison.plots import draw_plots
from albu_learned.comparison.report import write_report
from albu_learned.comparison.result import Outcome, Result, size_name
from albu_learned.comparison.settings import Settings
from albu_learned.comparison.study import Cell, Study
from albu_learned.comparison.table import table
from albu_learned.data import Boxes

__all__ = ["Comparison", "finish"]

USED = ("torch", "numpy", "torchmetrics", "scipy", "timm", "ultralytics", "ray")
Say = Callable[[str], object]


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison.

    Args:
        outcome: every arm, result and setting.
        sentence: what to conclude, in plain words.
        table: for a terminal.
        report: the HTML file; results.csv, results.json and the plots lie beside it.
    """

    outcome: Outcome
    sentence: str
    table: str
    report: Path


def finish(
    study: Study,
    found: Sequence[tuple[Cell, dict[str, Any]]],
    folder: Path,
    asked: Mapping[str, Any],
    say: Say,
) -> Comparison:
    """Writes everything that a comparison leaves behind, and says the table and the sentence."""
    outcome = _outcome(study, [_result(*one) for one in found], folder, asked)
    text, conclusion = table(outcome), conclude(outcome)
    say(f"\n{text}\n\n{conclusion.sentence}\n")
    write_csv(outcome, folder / "results.csv")
    write_json(outcome, folder / "results.json")
    classes, arms = study.data.classes, [arm.name for arm in outcome.arms]
    with lettered([outcome.data, *classes, *arms]) as missing:
        if missing:
            say(
                f"No font here has the letters {''.join(sorted(missing))[:20]}: in pictures, "
                "classes named with them are their numbers. Install a font that has them."
            )
        pictures = {
            **draw_plots(outcome, folder / "plots"),
            **draw_samples(study, outcome, folder / "samples", readable(classes, missing)),
        }
    report = write_report(outcome, folder, pictures)
    say(f"Wrote {report}, beside it results.csv, results.json, plots and samples.")
    return Comparison(outcome, conclusion.sentence, text, report)


def _outcome(
    study: Study, results: Sequence[Result], folder: Path, asked: Mapping[str, Any]
) -> Outcome:
    settings = study.settings
    return Outcome(
        data=study.data.name,
        kind=study.data.kind,
        measure=settings.measure or "",
        arms=tuple(arm.facts() for arm in study.arms),
        sizes=settings.sizes,
        seeds=settings.seed_numbers,
        results=tuple(results),
        notes=tuple(_notes(study, results)),
        settings=study.described(),
        versions=_versions(),
        command=_command(study, folder, asked),
    )


def _result(cell: Cell, kept: Mapping[str, Any]) -> Result:
    trained, tested = kept["trained"], kept["tested"]
    # Keys come sorted from the file; the arm has them in the order in which they are read.
    strength = {key: trained["strength"][key] for key in (cell.arm.candidates or ({},))[0]}
    return Result(
        cell.arm.name,
        cell.size,
        cell.seed,
        tested["measures"],
        strength,
        tuple((tried, measures) for tried, measures in trained["tried"]),
        tuple((int(n), mean, right) for n, mean, right in tested.get("bins", ())),
    )


def _notes(study: Study, results: Sequence[Result]) -> list[str]:
    data = study.data
    notes = [
        *study.remarks,
        "What is claimed holds for this test part and this pool of training images, of which every "
        "seed takes a subset of its own (with all images, only weights and batches differ).",
        "Settle the number of seeds beforehand: whoever adds seeds until a difference is clear "
        "will find one where there is none.",
    ]
    choosing = {arm.name for arm in study.arms if len(arm.candidates) > 1}
    blind = Counter(r.size for r in results if r.arm in choosing and not r.tried)
    for size in blind:
        notes.append(
            f"At size {size_name(size)} there were too few images (or groups) to hold some out: "
            "there, arms were taken at their default strength."
        )
    if isinstance(data, Boxes) and data.tested_on != "test":
        notes.append(f"These data have no split `test`, so `{data.tested_on}` was used for it.")
    alone = [
        arm.name
        for arm in study.arms
        if not arm.skipped
        and arm.parts[-1:]
        and arm.parts[-1].name != "label smoothing"
        and not any("dilution" in name for name in (arm.parts[-1].name, *arm.controls))
    ]
    if alone:
        notes.append(
            "The dilution control puts plain real images in the place of those that an arm's last "
            f"part changes. For {', '.join(alone)} that leaves plain training, which is there."
        )
    return notes


def _versions() -> dict[str, str]:
    found = {"albu_learned": __version__, "python": platform.python_version()}
    for name in USED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _command(study: Study, folder: Path, asked: Mapping[str, Any]) -> str:
    """The line for a terminal that does the same again."""
    source, settings = study.source, study.settings
    words = ["albu-learned", "compare", source.path if source.opened is None else "DATA"]
    words += [str(path) for path in asked["specs"]]
    options: dict[str, Any] = {
        "kind": source.kind,
        "groups": source.groups,
        "test-share": source.test_share,
        "sizes": ",".join(map(size_name, settings.sizes)),
        "arms": None if asked["arms"] is None else ", ".join(asked["arms"]),
        "out": str(folder),
    }
    usual = vars(Settings(device=settings.device))
    for name, value in vars(settings).items():
        if name == "sizes" or (value == usual[name] and name not in ("seeds", "steps", "model")):
            continue
        options[name.replace("_", "-")] = value
    options["device"] = settings.device
    if options["test-share"] == 0.3:
        del options["test-share"]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif value not in (None, False):
            words += [f"--{name}", str(value)]
    for arm, others in (asked["against"] or {}).items():
        for other in others:
            words += ["--against", f"{arm}={other}"]
    return shlex.join(words)
