"""Series in the text form of the UCR archive."""

import numpy as np
import pytest
import torch

from albu_learned.data import open_data, series
from tests.data import cases


@pytest.mark.parametrize("name", ["", "Toy_TRAIN.tsv", "Toy_TEST.tsv"])
def test_a_pair_of_files(tmp_path, name):
    data = open_data(cases.ucr(tmp_path / "ucr") / name)
    assert (data.name, data.kind, data.shape) == ("Toy", "series", (1, 4))
    assert data.classes == ("-1", "10")
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert len(data.test) == 4
    read = data.train.read(torch.tensor([2, 0, 2]))
    assert read.dtype == torch.float32
    assert read[:, 0].tolist() == [[2, 2.5, 3, 3.5], [0, 0.5, 1, 1.5], [2, 2.5, 3, 3.5]]
    data.train.check()
    data.test.check()


def test_classes_are_sorted_as_numbers_where_all_are(tmp_path):
    for labels, want in [((10, 9, -1), ("-1", "9", "10")), (("b", "10", "9"), ("10", "9", "b"))]:
        for part in ("TRAIN", "TEST"):
            cases.tsv(tmp_path / f"Toy_{part}.tsv", [[label, 1, 2] for label in labels])
        assert open_data(tmp_path).classes == want


def test_values_are_read_when_they_are_asked_for(tmp_path, monkeypatch):
    data = open_data(cases.ucr(tmp_path / "ucr"))
    read, whole = [], np.loadtxt
    monkeypatch.setattr(
        series.np, "loadtxt", lambda path, **k: read.append(path.name) or whole(path, **k)
    )
    data.train.read(torch.tensor([0]))
    data.train.read(torch.tensor([1]))
    assert read == ["Toy_TRAIN.tsv"]


GAPS = [[1, 0.5, 0.5], [2, 0.5, "NaN"]], [[1, 0.5, 0.5], [2, 0.5]], [[1, 0.5, ""]], [[1, "?", 2]]


@pytest.mark.parametrize("rows", GAPS)
@pytest.mark.parametrize("part", ["TRAIN", "TEST"])
def test_gaps(tmp_path, rows, part):
    for name in ("TRAIN", "TEST"):
        cases.tsv(tmp_path / f"Toy_{name}.tsv", [[1, 0.5, 1], [2, 1, 3]])
    cases.tsv(tmp_path / f"Toy_{part}.tsv", rows)
    message = rf"Toy_{part}.tsv', line {len(rows)}: series must be complete and of equal length"
    with pytest.raises(ValueError, match=message):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([[1, 2, 3], [2, 2, 3]], [[1, 2], [2, 2]], "series of equal length, got 2 and 1"),
        (
            [[1, 2], [2, 2]],
            [[1, 2], [2, 2], [3, 3]],
            "TEST.tsv' must have classes of train, got '3'",
        ),
        ([[1, 2], [2, 2]], [[1, 2]], "in train and in test, but test has none of '2'"),
        ([[1, 2]], [[1, 2]], "at least two classes, got 1"),
        ([], [[1, 2]], "TRAIN.tsv' must have series, each a label and values, got none"),
        ([["1 2"], ["2 3"]], [["1 2"]], "must have series, each a label and values"),
    ],
)
def test_refusals(tmp_path, train, test, message):
    cases.tsv(tmp_path / "Toy_TRAIN.tsv", train)
    cases.tsv(tmp_path / "Toy_TEST.tsv", test)
    with pytest.raises(ValueError, match=message):
        open_data(tmp_path)


def test_values_that_are_no_numbers(tmp_path):
    cases.ucr(tmp_path)
    cases.tsv(tmp_path / "Toy_TEST.tsv", [[-1, 1, 2, 3, "x"], [10, 1, 2, 3, 4]])
    data = open_data(tmp_path)
    with pytest.raises(ValueError, match=r"Toy_TEST.tsv' cannot be read \(could not convert"):
        data.test.check()
    cases.tsv(tmp_path / "Toy_TEST.tsv", [[-1, 1, 2, 3, "inf"], [10, 1, 2, 3, 4]])
    with pytest.raises(ValueError, match="must hold finite numbers"):
        open_data(tmp_path).test.check()


def test_a_file_is_missing_or_there_are_several(tmp_path):
    cases.ucr(tmp_path)
    cases.ucr(tmp_path, "Other")
    with pytest.raises(ValueError, match=r"`path` must name one .* which are \['Other', 'Toy'\]"):
        open_data(tmp_path)
    (tmp_path / "Toy_TEST.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"two files, but .*Toy_TEST.tsv' is missing"):
        open_data(tmp_path / "Toy_TRAIN.tsv")
