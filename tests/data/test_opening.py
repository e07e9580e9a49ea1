"""What a path is, and the fingerprint of what it holds."""

import os
import shutil

import numpy as np
import pytest

from albu_learned.data import fingerprint, open_data
from albu_learned.data.arrays import ArrayRows
from tests.data import cases


def test_there_is_no_such_path(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`path` must be a data set, got .*none.npz.*exist"
    ):
        open_data(tmp_path / "none.npz")
    with pytest.raises(TypeError, match="`path` must be the path of a data set, got int"):
        open_data(3)


def test_nothing_that_is_known(tmp_path):
    (tmp_path / "data.csv").write_text("a,b")
    for path in (tmp_path, tmp_path / "data.csv"):
        with pytest.raises(ValueError, match=r"(?s)What is known:.*npz.*CLASS.*tsv.*data.yaml"):
            open_data(path)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "boxes"}, ValueError, '`kind` must be "images", "series", "detection" or None'),
        (
            {"kind": "detection"},
            ValueError,
            '`kind` must be None or "images" for .*got "detection"',
        ),
        ({"image_size": 0}, ValueError, "`image_size` must be an integer >= 1, got 0"),
        ({"image_size": 4.5}, TypeError, "`image_size` must be an integer"),
        ({"test_share": 1}, ValueError, r"`test_share` must be in \[0, 1\), got 1"),
    ],
)
def test_arguments(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        open_data(cases.folder(tmp_path / "toy"), **arguments)


def test_sizes_are_for_images_by_class(tmp_path):
    for path in (cases.ucr(tmp_path / "ucr"), cases.yolo(tmp_path / "yolo")):
        with pytest.raises(ValueError, match="`image_size` must be None but for images by class"):
            open_data(path, image_size=32)


def test_a_path_from_here(tmp_path, monkeypatch):
    cases.folder(tmp_path / "toy")
    monkeypatch.chdir(tmp_path / "toy")
    data = open_data(".")
    assert (data.name, data.path) == ("toy", str(tmp_path / "toy"))


MADE = {
    "npz": lambda root: cases.npz(root / "toy.npz", **cases.parts()),
    "split": lambda root: cases.npz(root / "toy.npz", x=cases.images(20), y=cases.labels(20)),
    "npy": lambda root: cases.npy(root / "toy", **cases.parts()),
    "folder": lambda root: cases.folder(root / "toy"),
    "series": lambda root: cases.ucr(root / "toy"),
    "yolo": lambda root: cases.yolo(root / "toy"),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_the_fingerprint_is_of_the_data_not_of_the_place(tmp_path, make):
    (tmp_path / "one").mkdir()
    path = make(tmp_path / "one")
    found = fingerprint(open_data(path))
    assert len(found) == 16
    int(found, 16)
    shutil.move(tmp_path / "one", tmp_path / "two")
    for file in (tmp_path / "two").rglob("*"):
        os.utime(file, (1, 1))
    assert fingerprint(open_data(tmp_path / "two" / path.name)) == found


def test_the_fingerprint_is_the_same_everywhere(tmp_path):
    assert fingerprint(open_data(MADE["npy"](tmp_path))) == "260388391826e716"
    assert fingerprint(open_data(cases.ucr(tmp_path / "series"))) == "eb79b88c2546e4ad"


def test_another_data_set_has_another_fingerprint(tmp_path):
    arrays = cases.parts()
    changes = [
        {},
        {"test_y": np.array([0, 1, 2, 1, 0, 2])},
        {"train_y": arrays["train_y"][::-1].copy()},
        {"classes": np.array(["a", "b", "c"])},
        {"train_groups": np.arange(12), "test_groups": np.arange(6) + 12},
        {"train_x": arrays["train_x"][:-3], "train_y": arrays["train_y"][:-3]},
        cases.parts(size=7),
    ]
    found = []
    for i, change in enumerate(changes):
        found.append(fingerprint(open_data(cases.npy(tmp_path / str(i), **(arrays | change)))))
    path = cases.npz(tmp_path / "whole.npz", x=cases.images(30), y=cases.labels(30))
    found += [fingerprint(open_data(path, test_share=share)) for share in (0.3, 0.5)]
    found += [fingerprint(open_data(path, groups=np.arange(30) // 4 * step)) for step in (1, -1)]
    assert len(set(found)) == len(found)


def test_other_rows_of_the_same_labels_are_others(tmp_path):
    rows = open_data(MADE["split"](tmp_path)).test
    others = ArrayRows(rows.source, rows.form, rows.labels, None, rows.at.flip(0))
    assert others.identity() != rows.identity()


def test_the_fingerprint_of_files_is_of_their_names_and_sizes(tmp_path):
    root = cases.folder(tmp_path / "toy")
    found = [fingerprint(open_data(root)), fingerprint(open_data(root, image_size=9))]
    assert found[0] == found[1]
    (root / "test" / "ant" / "test00.png").rename(root / "test" / "ant" / "test000.png")
    found.append(fingerprint(open_data(root)))
    cases.picture(root / "test" / "ant" / "test01.png", size=(30, 40))
    found.append(fingerprint(open_data(root)))
    root = cases.yolo(tmp_path / "yolo")
    found.append(fingerprint(open_data(root)))
    cases.label(root, "test", 0, f"1 {cases.BOX}00\n")
    found.append(fingerprint(open_data(root)))
    cases.label(root, "train", 0, f"1 {cases.BOX}\n")
    found.append(fingerprint(open_data(root)))
    assert len(set(found)) == len(found) - 1
