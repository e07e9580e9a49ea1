"""The demo: a small comparison that ends well, and what it writes; and the pictures."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="the extra `cli` is not installed")
pytest.importorskip("matplotlib", reason="the extra `cli` is not installed")
pytest.importorskip("torchmetrics", reason="the extra `cli` is not installed")
from albu_learned import demo as d
from albu_learned import preview
from albu_learned.comparison.arms import DEFAULT
from albu_learned.data import open_data

EXAMPLES = Path(__file__).parents[1] / "examples"


def png(path):
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG")
    return imread(path)


def test_the_demo_says_every_arm_and_writes_its_report(tmp_path):
    lines = []
    found = d.demo(tmp_path / "new", 1, 2, 3, jobs=1, say=lines.append)
    text = "\n".join(lines)
    assert [arm.name for arm in found.outcome.arms] == list(DEFAULT)
    for arm in DEFAULT:
        assert sum(line.startswith(arm + " ") for line in text.splitlines()) == 1
    assert "No conclusion from 1 seed" in text
    assert {"digits.npz", "gallery.png", "report.html", "results.csv"} <= {
        path.name for path in (tmp_path / "new").iterdir()
    }
    made, kept = tmp_path / "new" / "gallery.png", EXAMPLES / "gallery.png"  # that of the README
    assert kept.stat().st_size < 150_000
    # Fonts differ a little between versions of matplotlib, so pixels need not agree everywhere.
    assert png(made).shape == png(kept).shape
    assert abs(png(made) - png(kept)).mean() < 0.02


def test_the_digits_are_those_of_scikit_learn(tmp_path):
    from sklearn.datasets import load_digits

    data = open_data(d.write_digits(tmp_path / "new" / "digits.npz"))
    given = load_digits()
    assert (len(data.train), len(data.test)) == (d.POOL, 1797 - d.POOL)
    for part, start in ((data.train, 0), (data.test, d.POOL)):
        rows = part.read(torch.arange(len(part)))[:, 0].numpy()
        wanted = given.images[start : start + len(part)]
        assert np.abs(rows / 255 - wanted / 16).max() < 1 / 255
        assert part.labels.tolist() == given.target[start : start + len(part)].tolist()
    first, second = (d.write_digits(tmp_path / f"{i}.npz") for i in range(2))
    assert open_data(first).train.identity() == open_data(second).train.identity()


def test_training_and_test_digits_are_apart(tmp_path):
    data = open_data(d.write_digits(tmp_path / "digits.npz"))
    train, test = (
        {tuple(row.flatten().tolist()) for row in part.read(torch.arange(len(part)))}
        for part in (data.train, data.test)
    )
    assert not train & test


def picture(**changes):
    given = {
        "images": torch.rand(2, 3, 4, 5),
        "labels": torch.tensor([0, 1]),
        "mixed": torch.rand(2, 3, 4, 5),
        "soft": torch.tensor([[0.7, 0.3], [0.0, 1.0]]),
        "class_names": ["cat", "aeroplane"],
    }
    return preview.mixed_samples(**{**given, **changes})


def test_a_picture_labels_its_bars():
    figure = picture()
    original, _, bars = figure.axes[0], figure.axes[2], figure.axes[4]
    assert original.get_title() == "cat"
    assert [text.get_text() for text in bars.get_yticklabels()] == ["cat", "aeroplane"]
    assert [text.get_text() for text in bars.texts] == ["70 %", "30 %"]
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([0.7, 0.3])
    from matplotlib.colors import to_hex

    colours = [to_hex(bar.get_facecolor()) for bar in bars.patches]
    marked, others = preview.mixed._LEAD, preview.mixed._OTHER
    assert colours == [marked, others]  # the class of the original is marked


def test_a_picture_of_many_classes_keeps_every_share():
    soft = torch.tensor([[0.05, 0.02, 0.8, 0.03, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]])
    bars = picture(soft=soft, class_names=None).axes[4]
    assert [text.get_text() for text in bars.get_yticklabels()] == ["2", "4", "0", "others"]
    assert sum(bar.get_width() for bar in bars.patches) == pytest.approx(1)


def test_uint8_and_float_give_the_same_picture(tmp_path):
    whole = torch.arange(120, dtype=torch.uint8).view(2, 3, 4, 5)
    paths = [
        preview.save(picture(images=images, mixed=images), tmp_path / f"{i}.png")
        for i, images in enumerate((whole, whole.float() / 255))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.rand(2, 4, 5)}, "`images` must be"),
        ({"mixed": torch.rand(2, 2, 4, 5)}, "`mixed` must be"),
        ({"soft": torch.tensor([0, 1])}, "`soft` must be"),
        ({"labels": torch.tensor([0])}, r"one row each .*\[2, 1, 2, 2\]"),
        ({"class_names": ["cat"]}, "`class_names` must name each of the 2"),
    ],
)
def test_a_picture_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        picture(**changes)


def test_saving_is_all_or_nothing(tmp_path, monkeypatch):
    path = preview.save(picture(), tmp_path / "folder" / "a.png")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"must end in \.png"):
        preview.save(picture(), tmp_path / "a.jpg")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        preview.save(picture(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_pictures_without_matplotlib_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install \"albu_learned\[cli\]\""):
        picture()


def run_example(name, *arguments):
    """Runs an example as a script, but in this process: importing torch anew takes seconds."""
    path = EXAMPLES / name
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        runpy.run_path(str(path), run_name="__main__")


def test_the_pytorch_example_trains(capsys):
    run_example("zeta_mixup_pytorch.py")
    assert float(capsys.readouterr().out.removeprefix("test accuracy ")) > 0.7


def test_the_gallery_is_the_picture_of_the_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(d, "draw_gallery", lambda path: path)
    run_example("gallery.py", "--out", tmp_path)
    assert capsys.readouterr().out == f"Wrote {tmp_path / 'gallery.png'}\n"
