"""Letters that the usual font of matplotlib lacks, with no fonts but those that come with it."""

import warnings
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
import matplotlib
from matplotlib import font_manager

from albu_learned import preview
from albu_learned.comparison import fonts
from tests.comparison import toy_data
from tests.comparison.test_compare import carried_out

NO, CAT = "\N{HIRAGANA LETTER NO}", "\N{CJK UNIFIED IDEOGRAPH-732B}"  # STIX has the first


@pytest.fixture(autouse=True)
def bundled(monkeypatch):
    manager = font_manager.fontManager
    own = [
        font
        for font in manager.ttflist
        if Path(matplotlib.get_data_path()) in Path(font.fname).parents
    ]
    monkeypatch.setattr(manager, "ttflist", own)


def drawn(text, path):
    figure = preview.new_figure(2, 1)
    figure.suptitle(text)
    return preview.save(figure, path).read_bytes()


def test_the_usual_font_stays_where_it_has_all(tmp_path):
    plain = drawn("Aä…", tmp_path / "a.png")
    with fonts.lettered(["Aä…\n"]) as missing:
        assert missing == set()
        assert matplotlib.rcParams["font.family"] == ["sans-serif"]
        assert drawn("Aä…", tmp_path / "b.png") == plain


def test_another_font_has_the_letter(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fonts.lettered([f"A{NO}"]) as missing:
            assert missing == set()
            assert matplotlib.rcParams["font.family"] == ["sans-serif", "STIXGeneral"]
            font = font_manager.FontProperties()
            here = drawn(NO, tmp_path / "a.png")
            assert font.get_family() == ["sans-serif", "STIXGeneral"]
    assert matplotlib.rcParams["font.family"] == ["sans-serif"]
    with pytest.warns(UserWarning, match="Glyph 12398"):
        assert drawn(NO, tmp_path / "b.png") != here


def test_names_that_no_font_has_are_numbers():
    with fonts.lettered(["dog", CAT, f"{CAT}{NO}"]) as missing:
        assert missing == {CAT}
    assert fonts.readable(["dog", CAT, NO, f"x{CAT}"], missing) == ["dog", "1", NO, "3"]


def test_a_comparison_says_it_once_and_nothing_warns(tmp_path):
    (train, labels), (test, others) = toy_data.stripes(12, 1), toy_data.stripes(6, 2)
    given = toy_data.data(train, test, (labels, others), classes=("ant", CAT, NO))
    said = []
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph")
        carried_out(
            *(tmp_path, tmp_path / "out", ["mixup"]),
            **{"data": given, "sizes": 4, "seeds": 1, "steps": 1, "say": said.append},
        )
    (line,) = [line for line in said if CAT in line]
    assert line.startswith(f"No font here has the letters {CAT}: in pictures, classes named with")
