"""The plots of a comparison show its numbers, whatever there is to show; and what arms do."""

import io
import math
import statistics
import warnings
from dataclasses import replace

import pytest
import torch

pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
from matplotlib.colors import to_hex, to_rgb
from matplotlib.image import imread

from albu_learned import preview
from albu_learned.comparison import drawing, result
from albu_learned.comparison.calibration import calibration, pooled
from albu_learned.comparison.plots import _places, by_size, differences, draw_plots
from albu_learned.comparison.samples import as_png, sample_picture
from tests.comparison.outcomes import from_values, study

BINS = ((0, 0.0, 0.0), (10, 0.5, 0.4), (30, 0.9, 0.8))
LONG = "a name that is really rather long, with many words, and longer than that still"
UNBROKEN = "another_name_without_any_space_that_is_long_and_longer_and_longest"
HARD = {"$5 to $10 <b>": 0.01, LONG: 0.02, UNBROKEN: 0.0, "_hidden?": 0.0}


def with_bins(outcome, bins=BINS):
    return replace(outcome, results=tuple(replace(r, bins=bins) for r in outcome.results))


def usual(**changes):
    gains = {"mixup": 0.01, "zeta": 0.03}
    return with_bins(study(gains, controls=[("zeta", ("mixup", "gone"))], **changes))


def rendered(figure):
    """Its pixels. Nothing may warn: of a missing glyph, a layout that does not fit, a NaN."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(content, format="png", dpi=60)
    content.seek(0)
    return imread(content)


def texts(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def means(axes):
    """What the markers of a row plot show, from above."""
    return [float(c.lines[0].get_xdata()[0]) for c in axes.containers]


def half_widths(axes):
    ends = [c.lines[2][0].get_segments()[0][:, 0] for c in axes.containers if c.lines[2]]
    return [float(right - left) / 2 for left, right in ends]


def reaches_out(figure):
    """How far, in inches, anything that is drawn lies beyond the edge of its figure."""
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)


def test_lines_are_means_over_seeds_with_their_deviation():
    outcome = usual()
    figure = by_size(outcome)
    (axes,) = figure.axes
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["plain", "mixup", "zeta"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["5", "20"]
    assert axes.get_ylabel() == "accuracy, % (higher is better)"
    assert axes.get_xlabel() == "training images a class"
    for arm, drawn in zip(outcome.ran, axes.containers, strict=True):
        for i, size in enumerate((5, 20)):
            values = [100 * v for v in outcome.values(arm.name, size)]
            assert drawn.lines[0].get_ydata()[i] == pytest.approx(statistics.mean(values))
            low, high = drawn.lines[2][0].get_segments()[i][:, 1]
            assert (high - low) / 2 == pytest.approx(statistics.stdev(values))


def test_sizes_stand_by_their_logarithm_apart_enough_to_read():
    assert _places([5, 10, 20]) == pytest.approx([0, math.log(2), math.log(4)])
    ten, eleven = _places([1, 10, 11])[1:]
    assert eleven - ten == pytest.approx(0.35 * math.log(11) / 2)
    assert _places([5, 20, 0])[2] == pytest.approx(2 * math.log(4))
    assert result.ordered([0, 20, 5]) == [5, 20, 0]  # 0 stands for all
    axes = by_size(usual(sizes=(0, 5))).axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["5", "all"]


def test_a_single_size_has_a_dot_for_every_seed():
    outcome = usual(sizes=(20,))
    (axes,) = by_size(outcome).axes
    assert texts(axes) == ["plain", "mixup", "zeta"]
    for arm, dots in zip(outcome.ran, axes.collections[::2], strict=True):
        drawn = sorted(x for x, _ in dots.get_offsets().tolist())
        assert drawn == pytest.approx(sorted(100 * v for v in outcome.values(arm.name, 20)))
    spread = [statistics.stdev(drawing.values(outcome, a.name, 20)) for a in outcome.ran]
    assert half_widths(axes) == pytest.approx(spread)


def test_gains_are_paired_and_have_students_interval():
    values = {
        "plain": [[0.5, 0.6, 0.7], [0.6, 0.7, 0.8]],
        "zeta": [[0.51, 0.62, 0.73], [0.6, 0.7, 0.8]],
        "mixup": [[0.5, 0.6, 0.7], [0.6, 0.7, 0.8]],
    }
    outcome = from_values(values, controls=[("zeta", ("mixup",))])
    figure = differences(outcome)
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_visible()}
    assert list(panels) == ["5 images a class", "20 images a class", "averaged over sizes"]
    first = panels["5 images a class"]
    assert texts(first) == ["zeta", "… against mixup", "mixup"]
    assert means(first) == pytest.approx([2, 2, 0])
    # Of 1, 2 and 3 the error is 1 / sqrt(3), and t of two degrees of freedom 4.3027.
    assert half_widths(first) == pytest.approx([4.3027 / math.sqrt(3)] * 2, rel=1e-4)
    assert means(panels["averaged over sizes"]) == pytest.approx([1, 1, 0])
    assert first.containers[1].lines[0].get_markerfacecolor() == "white"  # a control


def test_less_of_nll_is_a_gain():
    values = {"plain": [[1.0, 1.1]], "zeta": [[0.9, 1.0]]}
    figure = differences(from_values(values, sizes=(5,), measure="nll"))
    assert means(figure.axes[0]) == pytest.approx([0.1])
    assert figure.get_supxlabel() == "gain in NLL (less of it): right of 0 is better"
    (axes,) = by_size(from_values(values, sizes=(5,), measure="nll")).axes
    assert axes.get_xlabel() == "NLL (lower is better)"


def test_arms_keep_their_looks_and_plain_is_grey():
    names = [f"arm {i}" for i in range(76)]
    outcome = study(dict.fromkeys(names, 0.0), sizes=(5,), seeds=1)
    looks = [drawing.look(outcome, arm) for arm in ("plain", *names)]
    assert len(set(looks)) == 77
    assert looks[0] == (drawing.INK, "o")
    assert len({colour for colour, _ in looks[:12]}) == 12
    fewer = study({"a": 0.0, "c": 0.0}, skipped=[("b", "no GPU")])
    assert [drawing.look(fewer, arm) for arm in "abc"] == [looks[1], looks[3], looks[2]]
    for line in by_size(usual()).axes[0].containers[0].lines[:1]:
        assert to_hex(line.get_color()) == drawing.INK


def test_bins_are_pooled_over_seeds_by_confidence():
    outcome = usual(seeds=2, sizes=(5, 20))
    sizes = {5: ((10, 0.5, 0.0),), 20: ((10, 0.5, 0.4), (30, 0.9, 0.8))}
    more = {5: (), 20: ((30, 0.52, 0.6), (0, 0.0, 0.0))}  # another number of bins
    results = [replace(r, bins=(sizes, more)[r.seed][r.size]) for r in outcome.results]
    outcome = replace(outcome, results=tuple(results))
    assert pooled(outcome, "zeta", 20) == [
        (40, pytest.approx(0.515), pytest.approx(0.55)),
        (30, pytest.approx(0.9), pytest.approx(0.8)),
    ]
    assert pooled(outcome, "zeta", 5) == [(10, pytest.approx(0.5), 0.0)]
    figure = calibration(outcome)
    assert "20 images a class" in figure.get_suptitle()  # the largest size
    curve, _, strip, _ = figure.axes
    assert curve.get_title() == "mixup"
    assert list(curve.lines[1].get_ydata()) == pytest.approx([0.55, 0.8])
    assert sum(strip.patches[0].get_data().values) == pytest.approx(1)
    assert max(strip.patches[0].get_data().values) == pytest.approx(4 / 7)


def test_the_legend_of_calibration_has_the_ece_of_the_tables():
    outcome = usual()
    labels = [t.get_text() for t in calibration(outcome).axes[0].get_legend().get_texts()]
    mixup = 100 * statistics.mean(outcome.values("mixup", 20, "ece"))
    assert labels == ["plain, ECE 10.0 %", f"ECE {mixup:.1f} %"]
    values = {"plain": [[0.5]], "zeta": [[0.5]]}
    without = with_bins(from_values(values, sizes=(5,)))  # measured by accuracy alone
    labels = [t.get_text() for t in calibration(without).axes[0].get_legend().get_texts()]
    assert labels[1] == "ECE 10.0 %"


def test_without_bins_there_is_no_calibration(tmp_path):
    values = {"plain": [[0.3, 0.4]], "mosaic": [[0.35, 0.45]]}
    outcome = from_values(values, sizes=(100,), measure="map50_95", kind="detection")
    assert calibration(outcome) is None
    assert list(draw_plots(outcome, tmp_path)) == ["plots/measure", "plots/differences"]
    assert differences(outcome).axes[0].get_title() == "100 images"


def test_plots_are_written_below_the_folder(tmp_path):
    plots = draw_plots(usual(), tmp_path)
    assert list(plots) == ["plots/measure", "plots/differences", "plots/calibration"]
    for name, path in plots.items():
        assert path == tmp_path / f"{name}.png"
        assert imread(path).std() > 0.05  # not an empty page
    alone = draw_plots(study({}, sizes=(5,)), tmp_path / "alone")
    assert list(alone) == ["plots/measure"]  # nothing to compare with


MANY = {f"arm number {i}": 0.01 * i for i in range(7)} | HARD
CASES = {
    "usual": usual(),
    "one seed": usual(seeds=1),
    "one size and seed": usual(sizes=(0,), seeds=1),
    "seven sizes": usual(sizes=(1, 2, 3, 5, 8, 1000, 0)),
    "skipped": usual(skipped=[("warp", "no kornia")]),
    "series": usual(kind="series"),
    "plain alone": with_bins(study({})),
    "many": study(MANY, controls=[(LONG, (UNBROKEN, "$5 to $10 <b>"))], data=LONG),
    "many, one size": with_bins(study(MANY, sizes=(5,), data="$a$ {b} \\c")),
    "not finite at a size": from_values({"plain": [[1.0], [1.0]], "a": [[math.nan], [2.0]]}),
    "not finite": from_values({"plain": [[1.0, math.inf]], "a": [[math.nan, 2.0]]}, sizes=(5,)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_plot_is_drawn_and_no_text_is_cut(name):
    outcome = CASES[name]
    figures = [by_size(outcome), calibration(outcome)]
    figures += [differences(outcome)] if len(outcome.ran) > 1 else []
    for figure in filter(None, figures):
        assert rendered(figure).std() > 0.05
        assert reaches_out(figure) < 0.02


def test_the_check_for_cut_text_can_fail():
    figure = by_size(usual())
    figure.axes[0].set_ylabel("accuracy " * 20)
    rendered(figure)
    assert reaches_out(figure) > 0.5


def test_names_are_wrapped_and_cut():
    lines = drawing.wrapped(LONG, 20).splitlines()
    assert len(lines) == 3
    assert lines[-1].endswith("…")
    assert max(map(len, lines)) <= 20
    assert drawing.wrapped(UNBROKEN, 30).splitlines()[0] == "another_name_without_any_"
    assert drawing.wrapped("$1", 20) == r"\$1"


def batch(count=3, shape=(3, 6, 8)):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, *shape, generator=generator)
    return images, images.flip(0), torch.tensor([[0.7, 0.3, 0.0]] * count)


def test_a_sample_picture_has_originals_above_and_labels_below():
    images, changed, soft = batch()
    figure = sample_picture(images, changed, soft, ["cat", "$5", "<b>"], "zeta $1$")
    original, _, _, below, _, _, bars, _, _ = figure.axes
    assert torch.equal(torch.tensor(original.images[0].get_array()), images[0].permute(1, 2, 0))
    assert torch.equal(torch.tensor(below.images[0].get_array()), changed[0].permute(1, 2, 0))
    assert (original.get_ylabel(), below.get_ylabel()) == ("original", "changed")
    assert original.get_title() == "cat"
    assert [t.get_text() for t in bars.get_yticklabels()] == ["cat", r"\$5"]
    assert [t.get_text() for t in bars.texts] == ["70 %", "30 %"]
    rendered(figure)


def test_labels_that_stayed_hard_need_no_bars():
    images, changed, _ = batch()
    hard = torch.tensor([[0.0, 1.0]] * 3)
    figure = sample_picture(images, changed, hard)
    assert len(figure.axes) == 6
    assert figure.axes[0].get_title() == "1"
    assert sample_picture(images, changed).axes[0].get_title() == ""
    given = sample_picture(images, changed, labels=torch.tensor([2, 0, 1]))
    assert given.axes[0].get_title() == "2"


def test_no_more_than_eight_samples_are_shown():
    images, changed, soft = batch(20)
    assert len(sample_picture(images, changed, soft).axes) == 3 * 8


def test_series_are_lines_the_original_light_the_changed_dark():
    images, changed, soft = batch(2, (6, 30))
    figure = sample_picture(images, changed, soft, title="noise")
    assert len(figure.axes) == 2 * (4 + 1)  # four of six channels, and labels
    first, second = figure.axes[0].lines
    assert list(first.get_ydata()) == images[0, 0].tolist()
    assert list(second.get_ydata()) == changed[0, 0].tolist()
    light, dark = (sum(to_rgb(line.get_color())) for line in (first, second))
    assert light > 2 * dark
    rows = [axes.get_ylabel() for axes in figure.axes[::2]]
    assert rows == ["channel 1", "channel 2", "channel 3", "channel 4 of 6", "label"]
    rendered(figure)
    rendered(sample_picture(*batch(1, (1, 30))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.rand(2, 2, 4, 4)}, "`images` must be"),
        ({"images": torch.rand(0, 3, 4, 4)}, "`images` must be"),
        ({"changed": torch.rand(2, 3, 4, 4)}, "`changed` must have a row"),
        ({"soft": torch.rand(3)}, "`soft` must have 2"),
        ({"labels": torch.tensor([1])}, "`labels` must have 1"),
        ({"class_names": ["cat"]}, "must name each of the 3 classes, got 1"),
    ],
)
def test_a_sample_picture_refuses(changes, message):
    images, changed, soft = batch()
    with pytest.raises(ValueError, match=message):
        sample_picture(**{"images": images, "changed": changed, "soft": soft, **changes})


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_a_mosaic_becomes_a_png_of_bounded_size(tmp_path, ending):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (200, 100), (200, 30, 30)).save(tmp_path / f"mosaic.{ending}")
    pixels = imread(io.BytesIO(as_png(tmp_path / f"mosaic.{ending}", longest=50)))
    assert pixels.shape == (25, 50, 3)
    assert pixels[0, 0] == pytest.approx([0.78, 0.12, 0.12], abs=0.02)


def test_dollars_in_class_names_are_no_mathematics(tmp_path):
    images, changed, soft = batch()
    names = [r"$\frac$", "$x$", "c"]
    labels = torch.tensor([0, 1, 2])
    figure = preview.mixed_samples(images, labels, changed, soft, names, "$\\bad$")
    preview.save(figure, tmp_path / "a.png")
