"""The report of a comparison: report.html, which is complete in itself and opens from disk."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from albu_learned.artifact import write_atomically
from albu_learned.comparison.conclusion import conclude
from albu_learned.comparison.drawing import look
from albu_learned.comparison.page import escape, figure, items, page, section, table
from albu_learned.comparison.result import ALL, MEASURES, PLAIN, ArmFacts, Outcome, Result, ordered
from albu_learned.comparison.statistics import LEVEL, Paired, measured, paired
from albu_learned.comparison.words import shown, size_words, strength_words

__all__ = ["write_report"]

NONE = "-"
NO_BREAK = "\N{NO-BREAK SPACE}"
_PLOTS = {
    "plots/measure": (
        "{measure} of every arm, by training size. The numbers are in the tables above.",
        "How good each arm is. Arms that share a size stand a little beside one another.",
    ),
    "plots/differences": (
        "How much better each arm is than plain and than its controls, for every seed, with its "
        "mean. The numbers are in the tables of the paired statistics.",
        "What each arm gains, seed by seed: right of the line it is better. A 95 % interval that "
        "does not touch the line is a hint, not yet a finding: among many intervals some stay "
        "clear of it by chance. The corrected p below account for that.",
    ),
    "plots/calibration": (
        "Accuracy by confidence of each arm beside plain, with the share of predictions below.",
        "Whether a model knows how sure it may be: on the dashed line it is right as often as it "
        "says. Below the line it is too sure of itself. ECE is the mean distance from the line.",
    ),
}
_STATISTICS = (
    "Every seed trains all arms on the same images from the same initial weights, so arms are "
    "compared seed by seed. The gain is the mean of these differences (positive: the arm is "
    "better), ± its standard error. p is two-sided: how often chance alone would bring a gain or a "
    "loss at least as large, by Student's t, and by Wilcoxon's signed ranks, which does not need "
    "the differences to be normal. The effect is 1 if every seed was better and -1 if every one "
    "was worse. Asking of many arms finds something by chance more often; Holm's correction makes "
    "up for that. Below "
    f"{LEVEL:g}, the corrected p of t decides what the conclusion claims. Where none stands, "
    "nothing is claimed from that row."
)


def write_report(outcome: Outcome, folder: str | Path, pictures: Mapping[str, Path]) -> Path:
    """Writes `folder`/report.html.

    Args:
        pictures: what `draw_plots` gave; and for each arm, under its name, what it does to samples.
    """
    unknown = pictures.keys() - _PLOTS.keys() - {arm.name for arm in outcome.arms}
    if unknown:
        raise ValueError(
            f"`pictures` must be named by arms, or be those of draw_plots, got {sorted(unknown)}."
        )
    rows = paired(outcome)
    title = f"Does augmentation help{f' on {outcome.data}' if outcome.data else ''}?"
    body = [
        f"<header>\n<h1>{escape(title)}</h1>\n{_facts(outcome)}\n</header>",
        _conclusion(outcome),
        section("Results", *_results(outcome, rows)),
        section("Plots", *_plots(outcome, pictures)),
        section("Arms", *(_arm(outcome, arm, pictures.get(arm.name)) for arm in outcome.arms)),
        section("Paired statistics", *_statistics(outcome, rows)),
        section("Notes", items(_notes(outcome))),
        section("Settings and versions", *_settings(outcome)),
        section("Repeat it", f"<pre><code>{escape(outcome.command)}</code></pre>")
        if outcome.command
        else "",
    ]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "report.html", page(title, filter(None, body)).encode())
    return folder / "report.html"


def _facts(outcome: Outcome) -> str:
    seeds, arms = len(outcome.seeds), len(outcome.ran)
    sizes = ordered(outcome.sizes)
    some = [size for size in sizes if size != ALL]
    said = [
        *map(str, some[:-1]),
        *(size_words(outcome, s) for s in [*some[-1:], ALL] if s in sizes),
    ]
    trained = f"trained on {', '.join(said)}"
    text = f"{arms} arm{'s' * (arms != 1)}, {seeds} seed{'s' * (seeds != 1)}, {trained}"
    return f'<p class="soft">{escape(text)}. Compared by {_title(outcome.measure)}.</p>'


def _title(measure: str) -> str:
    return MEASURES[measure].title.removesuffix(", %")


def _conclusion(outcome: Outcome) -> str:
    first, *rest = conclude(outcome).sentences
    lines = ['<div class="conclusion" role="note">', f'<p class="first">{escape(first)}</p>']
    return "\n".join([*lines, *(f"<p>{escape(sentence)}</p>" for sentence in rest), "</div>"])


def _results(outcome: Outcome, rows: Sequence[Paired]) -> Iterable[str]:
    names = measured(outcome)
    to_plain = {(row.arm, row.size): row for row in rows if row.other == PLAIN}
    heads = ["arm", *(MEASURES[name].title for name in names), "gain on plain", "strength chosen"]
    tables: list[int | None] = [*ordered(outcome.sizes)]
    tables += [None] * (len(outcome.sizes) > 1)  # averaged over sizes
    for size in tables:
        sizes = outcome.sizes if size is None else (size,)
        lines = []
        for arm in outcome.ran:
            values = [_mean(outcome, arm.name, sizes, name) for name in names]
            row = to_plain.get((arm.name, size))
            chosen = _chosen([r for each in sizes for r in _of(outcome, arm.name, each)])
            lines.append([arm.name, *values, _gain(row) if row else NONE, chosen])
        caption = "averaged over sizes" if size is None else size_words(outcome, size)
        yield table(heads, lines, _capital(caption), words={len(heads) - 1})
    several = " and sizes, or, averaged, for all arms" if len(outcome.sizes) > 1 else ""
    over = "Means over seeds, ± standard deviation." if len(outcome.seeds) > 1 else "One seed."
    less = "" if MEASURES[outcome.measure].higher else ", turned round, for less is better"
    yield (
        f'<p class="soft">{over} The gain is the paired difference '
        f"of {escape(_title(outcome.measure))}{less}, ± standard error; * marks one that is clear "
        f"at {100 * LEVEL:g} % after correction for all arms{several}.</p>"
    )


def _of(outcome: Outcome, arm: str, size: int) -> list[Result]:
    return [r for r in outcome.results if (r.arm, r.size) == (arm, size)]


def _mean(outcome: Outcome, arm: str, sizes: Sequence[int], measure: str) -> str:
    """Over sizes a seed has one value: its sizes are no trials of their own."""
    by_size = [outcome.values(arm, size, measure) for size in sizes]
    values = [statistics.fmean(seed) for seed in zip(*by_size, strict=True)]
    if not all(map(math.isfinite, values)):
        return NONE
    scale, digits = (100, 1) if MEASURES[measure].percent else (1, 3)
    spread = f" ± {scale * statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{scale * statistics.fmean(values):.{digits}f}{spread}"


def _gain(row: Paired) -> str:
    clear = row.holm_t is not None and row.holm_t <= LEVEL
    return shown(row) + " *" * clear


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _chosen(results: Sequence[Result]) -> str:
    """Every strength that was chosen, the most frequent first, such as "gamma 2.8 (3/5)"."""
    counts = Counter(strength_words(r.strength) for r in results if r.strength)
    texts = [f"{text} ({count}/{len(results)})" for text, count in counts.most_common()]
    return "; ".join(text.replace(" ", NO_BREAK) for text in texts)


def _plots(outcome: Outcome, pictures: Mapping[str, Path]) -> Iterable[str]:
    for name, (alt, caption) in _PLOTS.items():
        if name in pictures:
            measure = _capital(_title(outcome.measure))
            yield figure(pictures[name], alt.format(measure=measure), caption)


def _arm(outcome: Outcome, arm: ArmFacts, picture: Path | None) -> str:
    colour = look(outcome, arm.name)[0]
    swatch = f'<span class="swatch" style="background: {colour}"></span>'
    lines = [f"<h3>{swatch}{escape(arm.name)}</h3>", f"<p>{escape(arm.about)}</p>"]
    if arm.skipped:
        lines.append(f"<p><strong>Did not run:</strong> {escape(arm.skipped)}</p>")
    if arm.controls:
        controls = escape(", ".join(arm.controls))
        lines.append(f"<p>For its gain to be its own, it has to beat {controls} as well.</p>")
    lines.append(_candidates(outcome, arm))
    if picture is not None:
        lines.append(figure(picture, f"What {arm.name} does to samples."))
    return "\n".join(filter(None, lines))


def _candidates(outcome: Outcome, arm: ArmFacts) -> str:
    """How often validation chose each strength, at each size."""
    if not arm.candidates:
        return ""
    sizes = ordered(outcome.sizes)
    texts = [_said(candidate) for candidate in arm.candidates]
    if arm.skipped:
        return f"<p>Strengths to choose from: {escape('; '.join(texts))}.</p>"
    counts = {
        size: Counter(
            strength_words(r.strength) or "as it is" for r in _of(outcome, arm.name, size)
        )
        for size in sizes
    }
    rows = [[text, *(counts[size][text] for size in sizes)] for text in dict.fromkeys(texts)]
    caption = f"How often validation chose each strength, of {len(outcome.seeds)}"
    return table(["strength", *(size_words(outcome, size) for size in sizes)], rows, caption)


def _said(strength: Mapping[str, Any]) -> str:
    return strength_words(strength) or "as it is"


def _statistics(outcome: Outcome, rows: Sequence[Paired]) -> Iterable[str]:
    if not rows:
        return
    yield f"<p>{escape(_STATISTICS)}</p>"
    unit = "points" if MEASURES[outcome.measure].percent else _title(outcome.measure)
    heads = ["arm", "against", f"gain, {unit}", "p, t", "p, Wilcoxon", "effect"]
    heads += ["p, t, Holm", "p, Wilcoxon, Holm"]
    # What decides comes first. Of a single size, its average is all there is to say.
    sizes = [None, *(ordered(outcome.sizes) if len(outcome.sizes) > 1 else [])]
    for size in sizes:
        lines = [
            [
                row.arm,
                row.other,
                shown(row),
                *map(_p, (row.t_p, row.wilcoxon_p)),
                f"{row.effect:+.2f}",
                *map(_p, (row.holm_t, row.holm_wilcoxon)),
            ]
            for row in rows
            if row.size == size
        ]
        only = size_words(outcome, outcome.sizes[0])
        name = "averaged over sizes" if len(outcome.sizes) > 1 else only
        caption = _capital(name if size is None else size_words(outcome, size))
        yield table(heads, lines, caption, words={1})


def _p(value: float | None) -> str:
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _notes(outcome: Outcome) -> Iterable[str]:
    yield from outcome.notes
    for arm in outcome.arms:
        if arm.skipped and not any(arm.skipped in note for note in outcome.notes):
            yield f"{arm.name} did not run: {arm.skipped}"


def _settings(outcome: Outcome) -> Iterable[str]:
    seeds = ", ".join(map(str, outcome.seeds))
    rows = [["seeds trained", seeds], *([k, _plain(v)] for k, v in outcome.settings.items())]
    yield table(["setting", "value"], rows, words={1})
    if outcome.versions:
        yield table(["version of", "is"], list(outcome.versions.items()), words={1})


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    return NONE if value is None else json.dumps(value, default=str, ensure_ascii=False)
