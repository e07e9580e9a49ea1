"""Rows that stand in the training part and in the test part."""

import shutil

import numpy as np
import pytest

from albu_learned.data import check_rows, open_data
from tests.data import cases


def test_files(tmp_path):
    root = cases.folder(tmp_path / "toy")
    for number, path in enumerate(sorted((root / "test").rglob("*.png"))):
        cases.picture(path, (10 * number, 0, 200))
    assert check_rows(open_data(root)) == ""
    shutil.copy(root / "train" / "bee" / "train12.png", root / "test" / "ant" / "other.png")
    remark = check_rows(open_data(root))
    assert remark.startswith("1 of the 7 test images stand in the training part too, such as '")
    assert "test/ant/other.png', which is " in remark
    assert "train/bee/train12.png'. What is learned of them by heart counts as right" in remark


@pytest.mark.parametrize("make", [cases.npz, cases.npy])
def test_arrays(tmp_path, make):
    arrays = cases.parts()
    path = make(tmp_path / ("toy.npz" if make is cases.npz else "toy"), **arrays)
    assert check_rows(open_data(path)) == ""
    arrays["test_x"][[2, 4]] = arrays["train_x"][[7, 7]]
    path = make(tmp_path / ("two.npz" if make is cases.npz else "two"), **arrays)
    remark = check_rows(open_data(path))
    assert remark.startswith("2 of the 6 test images stand in the training part too, such as row 2")
    assert "test_x" in remark
    assert ", which is row 7 of " in remark


def test_arrays_that_are_split_here(tmp_path):
    rows = np.concatenate([cases.series(12, seed=1)] * 2)
    path = cases.npz(tmp_path / "toy.npz", x=rows, y=np.tile(cases.labels(12), 2))
    data = open_data(path)
    twins = {int(row) % 12 for row in data.train.at} & {int(row) % 12 for row in data.test.at}
    remark = check_rows(data)
    both = sum(int(row) % 12 in twins for row in data.test.at)
    assert remark.startswith(f"{both} of the {len(data.test)} test series stand in the training")
    first = next(int(row) for row in data.test.at if int(row) % 12 in twins)
    assert f"such as row {first} of `x`" in remark
    assert f"which is row {(first + 12) % 24} of `x`" in remark


def test_series_and_boxes(tmp_path):
    root = cases.ucr(tmp_path / "ucr")  # whose test is the beginning of train
    assert check_rows(open_data(root)).startswith("4 of the 4 test series stand in the training")
    data = open_data(cases.yolo(tmp_path / "boxes", parts=("train", "val")))
    remark = check_rows(data)  # all pictures are the same
    assert remark.startswith("3 of the 3 test images stand in the training part too")
    assert f"{data.test[0]}', which is '{data.train[0]}'." in remark
