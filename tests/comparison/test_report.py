"""The report: complete in itself, true to the numbers, and safe whatever arms and classes are
called. Chromium opens it, where there is one."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
from albu_learned import preview
from albu_learned.comparison.conclusion import conclude
from albu_learned.comparison.plots import draw_plots
from albu_learned.comparison.report import write_report
from albu_learned.comparison.samples import sample_picture
from tests.comparison.browser import BROWSER, MISSING, complaints
from tests.comparison.outcomes import from_values, study

EVIL = ["<b>bold</b>", '"><img src=x onerror=alert(1)>', "<script>alert(1)</script>", "a&amp;b"]
LONG = "another_name_without_any_space_that_is_long_and_longer_and_longest"
VOID = {"meta", "link", "img"}
MORE = {
    "notes": ("gamma of zeta was at the edge & <i>more</i> may help.",),
    "settings": {"steps": 600, "sizes": (5, 20), "device": None, "model": "small"},
    "versions": {"torch": "2.9.0", "python": "3.11.2"},
    "command": "albu-learned compare 'my data' --arms \"mixup\" <x>",
}
GAMMAS = ({"gamma": 2.8}, {"gamma": 4.0})


class Page(HTMLParser):
    """Elements, rows of tables and text; fails where a tag is not closed in its turn."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.tables, self.texts = [], [], [], {}
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), "an attribute stands twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)
            if self.open[-1] in ("th", "td"):
                self.tables[-1][-1][-1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self):
        return "\n".join(" ".join(texts) for tag, texts in self.texts.items() if tag != "style")


def usual(**changes):
    arms = {
        "controls": [("zeta", ("mixup",))],
        "chosen": [("zeta", GAMMAS)],
        "skipped": [("warp", "needs the extra `kornia`")],
    }
    return study({"mixup": 0.01, "zeta": 0.03}, **{**arms, **MORE, **changes})


def with_bins(outcome):
    bins = ((10, 0.5, 0.4), (30, 0.9, 0.8))
    return replace(outcome, results=tuple(replace(r, bins=bins) for r in outcome.results))


def small_picture(folder, name="a.png"):
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return preview.save(sample_picture(images, images.flip(0)), folder / name)


def written(outcome, folder, pictures=None):
    page = write_report(outcome, folder, pictures or {})
    assert page == folder / "report.html"
    return Page(page)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A report with everything, of arms with names of every kind."""
    folder = tmp_path_factory.mktemp("full")
    names = [*EVIL, LONG, *(f"arm {i}" for i in range(6))]
    outcome = study(
        {arm: 0.01 * i for i, arm in enumerate(names)},
        controls=[(LONG, (EVIL[0], EVIL[1]))],
        chosen=[(EVIL[2], GAMMAS)],
        skipped=[("<u>warp</u>", "needs <kornia>")],
        data="<em>toys</em>",
        **MORE,
    )
    pictures = draw_plots(with_bins(usual(sizes=(5,))), folder)  # fewer arms are drawn faster
    pictures |= {arm.name: small_picture(folder) for arm in outcome.ran}
    return outcome, write_report(outcome, folder / "new", pictures)


def test_everything_stands_in_its_order(tmp_path):
    outcome = usual()
    page = written(outcome, tmp_path, {"plots/measure": small_picture(tmp_path)})
    assert page.texts["h1"] == ["Does augmentation help on toys?"]
    assert page.texts["h2"] == [
        *("Results", "Plots", "Arms", "Paired statistics", "Notes"),
        *("Settings and versions", "Repeat it"),
    ]
    assert page.texts["h3"] == ["plain", "mixup", "zeta", "warp"]
    assert page.texts["code"] == [outcome.command]
    assert page.texts["li"][0] == outcome.notes[0]
    assert page.texts["li"][1] == "warp did not run: needs the extra `kornia`"
    assert set(conclude(outcome).sentences) <= set(page.texts["p"])
    first = next(i for i, (tag, a) in enumerate(page.tags) if a.get("class") == "conclusion")
    assert first < [tag for tag, _ in page.tags].index("table")
    settings, versions = page.tables[-2:]
    assert settings[1:] == [
        ["seeds trained", "0, 1, 2, 3, 4"],
        *(["steps", "600"], ["sizes", "[5, 20]"], ["device", "-"], ["model", "small"]),
    ]
    assert versions[1:] == [["torch", "2.9.0"], ["python", "3.11.2"]]


def test_the_tables_by_hand(tmp_path):
    values = {"plain": [[0.5, 0.6, 0.7]], "zeta": [[0.51, 0.62, 0.73]], "b": [[0.5, 0.6, 0.7]]}
    outcome = from_values(values, sizes=(5,), controls=[("zeta", ("b",))])
    chosen = ({"gamma": 2.8}, {"gamma": 4.0}, {"gamma": 4.0})
    results = [
        replace(r, strength=chosen[r.seed]) if r.arm == "zeta" else r for r in outcome.results
    ]
    arms = [replace(a, candidates=GAMMAS) if a.name == "zeta" else a for a in outcome.arms]
    outcome = replace(outcome, results=tuple(results), arms=tuple(arms))
    means, strengths, statistics, _ = written(outcome, tmp_path).tables
    assert means == [
        ["arm", "accuracy, %", "gain on plain", "strength chosen"],
        ["plain", "60.0 ± 10.0", "-", ""],
        ["zeta", "62.0 ± 11.0", "+2.0 ± 0.6", "gamma\xa04\xa0(2/3); gamma\xa02.8\xa0(1/3)"],
        ["b", "60.0 ± 10.0", "+0.0 ± 0.0", ""],
    ]
    assert strengths[1:] == [["gamma 2.8", "1"], ["gamma 4", "2"]]
    # Of 1, 2 and 3 t is sqrt(12), p of two degrees of freedom .0742; of Wilcoxon's 2 / 2**3.
    assert statistics[1] == [
        *("zeta", "plain", "+2.0 ± 0.6", "0.074", "0.250", "+1.00"),
        *("0.148", "0.500"),
    ]
    assert [row[:2] for row in statistics[1:]] == [["zeta", "plain"], ["zeta", "b"], ["b", "plain"]]


def test_sizes_stand_in_order_and_all_comes_last(tmp_path):
    page = written(usual(sizes=(0, 20, 5)), tmp_path)
    sizes = ["5 images a class", "20 images a class", "All images"]
    captions = [c for c in page.texts["caption"] if not c.startswith("How often")]
    assert captions == [*sizes, "Averaged over sizes", "Averaged over sizes", *sizes]
    assert "trained on 5, 20 images a class, all images" in page.text


def test_over_sizes_every_seed_is_averaged_first(tmp_path):
    values = {"plain": [[0.5, 0.6], [0.7, 0.6]], "zeta": [[0.5, 0.7], [0.8, 0.7]]}
    outcome = from_values(values, sizes=(5, 20))
    results = [
        replace(r, strength={"gamma": 4.0}) if r.arm == "zeta" else r for r in outcome.results
    ]
    page = written(replace(outcome, results=tuple(results)), tmp_path)
    assert page.tables[2] == [  # of seeds, plain has .6 and .6, zeta .65 and .7
        ["arm", "accuracy, %", "gain on plain", "strength chosen"],
        ["plain", "60.0 ± 0.0", "-", ""],
        ["zeta", "67.5 ± 3.5", "+7.5 ± 2.5", "gamma\xa04\xa0(4/4)"],
    ]
    assert "for all arms and sizes, or, averaged, for all arms." in page.text


def test_p_is_said_to_be_two_sided(tmp_path):
    page = written(usual(), tmp_path)
    assert "p is two-sided: how often chance alone would bring a gain or a loss" in page.text


def test_a_clear_gain_is_marked(tmp_path):
    outcome = study({"a": 0.1, "b": 0.0}, sizes=(5,), noise=0.01)
    first, *_ = written(outcome, tmp_path).tables
    assert [row[5].endswith(" *") for row in first[1:]] == [False, True, False]


def test_nothing_from_data_becomes_html(full):
    outcome, path = full
    page = Page(path)
    allowed = {"html", "head", "meta", "link", "title", "style", "body", "header", "h1", "h2", "h3"}
    allowed |= {"p", "div", "section", "table", "caption", "thead", "tbody", "tr", "th", "td"}
    allowed |= {"figure", "img", "figcaption", "span", "strong", "ul", "li", "pre", "code"}
    assert {tag for tag, _ in page.tags} <= allowed
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    for arm in outcome.arms:
        assert arm.name in page.texts["h3"]
        assert arm.name in page.text
    assert page.texts["h1"] == ["Does augmentation help on <em>toys</em>?"]
    assert page.texts["title"] == page.texts["h1"]
    alts = [attrs["alt"] for attrs in page.all("img")]
    assert f"What {EVIL[1]} does to samples." in alts
    assert "needs <kornia>" in page.text
    assert outcome.notes[0] in page.texts["li"]


def test_nothing_is_loaded_from_elsewhere(full):
    page = Page(full[1])
    links = [v for _, a in page.tags for k, v in a.items() if k in ("src", "href", "srcset")]
    assert len(links) == 16  # three plots, twelve arms, the icon
    assert all(link.startswith("data:") for link in links)
    style = " ".join(page.texts["style"])
    assert "url(" not in style
    assert "@import" not in style
    assert page.all("meta")[1]["content"].startswith("default-src 'none'; img-src data:;")


def test_pictures_are_whole_described_and_measured(full):
    folder = full[1].parents[1]
    images = Page(full[1]).all("img")
    for image, name in zip(images, ("measure", "differences", "calibration"), strict=False):
        content = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert content == (folder / "plots" / f"{name}.png").read_bytes()
    assert all(len(image["alt"]) > 10 for image in images)
    assert all(int(image["width"]) > 100 and int(image["height"]) > 100 for image in images)


def test_a_jpeg_is_made_a_png(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (80, 40), (200, 30, 30)).save(tmp_path / "mosaic.jpg")
    (shown,) = written(usual(), tmp_path, {"zeta": tmp_path / "mosaic.jpg"}).all("img")
    assert (shown["width"], shown["height"]) == ("80", "40")
    assert base64.b64decode(shown["src"].split(",")[1]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "outcome",
    [
        usual(seeds=1),
        usual(seeds=1, sizes=(0,)),
        usual(kind="series"),
        study({}),
        study({}, skipped=[("warp", "no kornia")], data=""),
        from_values(
            {"plain": [[0.3, 0.4]], "m": [[0.4, 0.4]]}, (50,), (), "map50_95", kind="detection"
        ),
        from_values({"plain": [[1, float("inf")]], "m": [[float("nan"), 2]]}, (5,), (), "nll"),
    ],
    ids=["one seed", "one cell", "series", "plain", "skipped", "detection", "not finite"],
)
def test_whatever_there_is_to_report(tmp_path, outcome):
    page = written(outcome, tmp_path)
    assert page.texts["p"][1] == conclude(outcome).sentences[0]
    assert "Plots" not in page.texts["h2"]  # none were given
    assert not re.search(r"\b(nan|inf|None)\b", page.text)
    for table in page.tables:
        assert len(table) > 1
        assert {len(row) for row in table} == {len(table[0])}


def test_pictures_of_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"named by arms.*\['zeeta'\]"):
        write_report(usual(), tmp_path, {"zeeta": tmp_path / "a.png"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(BROWSER is None, reason=MISSING)
def test_a_browser_shows_it_without_a_complaint(full, tmp_path):
    assert complaints(full[1], tmp_path) == (15, [])


@pytest.mark.skipif(BROWSER is None, reason=MISSING)
def test_the_browser_check_can_fail(full, tmp_path):
    text = full[1].read_text(encoding="utf-8")
    cut = re.sub(r'(src="data:image/png;base64,)[^"]{60}', r"\1AAAA", text, count=1)
    added = [
        '<img alt="outside" src="http://127.0.0.1:9/outside.png">',
        "<script>console.error('said aloud')</script>",
        "<script>nowhere()</script>",
        '<div style="width: 900px">wide</div>',
    ]
    (tmp_path / "a.html").write_text(cut.replace("</body>", "".join([*added, "</body>"])), "utf-8")
    images, found = complaints(tmp_path / "a.html", tmp_path)
    assert images == 16
    alts = [text.removeprefix("not decoded: ") for text in found if text.startswith("not decoded")]
    assert len(alts) == 2
    assert alts[0].startswith("Accuracy of every arm")
    assert alts[1] == "outside"
    told = "\n".join(found)
    assert "forbidden: http://127.0.0.1:9/outside.png" in told
    assert "error: Uncaught ReferenceError: nowhere" in told
    assert 'console: "said aloud"' in told
    assert "scrolls sideways" in told


@pytest.mark.skipif(BROWSER is None, reason=MISSING)
def test_the_check_for_requests_can_fail_without_the_policy(tmp_path):
    page = write_report(usual(), tmp_path, {})
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    link = '<link rel="stylesheet" href="http://127.0.0.1:9/a.css">'
    (tmp_path / "a.html").write_text(text.replace("</head>", link + "</head>"), "utf-8")
    _, found = complaints(tmp_path / "a.html", tmp_path)
    assert "requested: http://127.0.0.1:9/a.css" in found
