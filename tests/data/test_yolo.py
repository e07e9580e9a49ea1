"""Detection sets in YOLO's form."""

import shutil

import pytest
import torch

from albu_learned.data import Boxes, label_file, open_data
from tests.data import cases
from tests.data.cases import BOX


@pytest.fixture
def root(tmp_path):
    return cases.yolo(tmp_path / "toy")


@pytest.mark.parametrize("name", ["", "data.yaml"])
def test_a_data_set(root, name):
    data = open_data(root / name)
    assert isinstance(data, Boxes)
    assert (data.name, data.kind, data.classes) == ("toy", "detection", ("cell", "clot"))
    assert (data.tested_on, data.path) == ("test", str(root / "data.yaml"))
    assert data.train == tuple(root / "images" / "train" / f"train{i}.png" for i in range(3))
    assert data.test == tuple(root / "images" / "test" / f"test{i}.png" for i in range(3))
    assert data.groups is None
    assert data.present.dtype == torch.bool
    assert data.present.tolist() == [[True, False], [True, True], [False, False]]
    data.check()


def test_images_with_their_boxes(root):
    """In one size; of outlines the box around them, and what of a box lies in the frame."""
    cases.picture(root / "images" / "train" / "train1.png", (9, 8, 7), size=(4, 6))
    cases.label(root, "train", 1, "1 0.25 0.5 0.75 0.5 0.5 1.0\n0 0.1 0.5 0.4 0.5\n")
    images, boxes = open_data(root).read(torch.tensor([0, 2, 1]), 20)
    assert (images.shape, images.dtype) == ((3, 3, 16, 20), torch.uint8)
    assert images[:, :, 3, 3].tolist() == [[200, 30, 60], [200, 30, 60], [9, 8, 7]]
    found = [torch.tensor(rows).reshape(-1, 4) for rows in ([[0.375, 0.375, 0.625, 0.625]], [])]
    found.append(torch.tensor([[0.25, 0.5, 0.75, 1.0], [0.0, 0.25, 0.3, 0.75]]))
    for one, wanted in zip(boxes, found, strict=True):
        torch.testing.assert_close(one, wanted)


def test_val_is_tested_on_without_test(tmp_path):
    data = open_data(cases.yolo(tmp_path, ("train", "val")), kind="detection")
    assert data.tested_on == "val"
    assert data.test[0].name == "val0.png"
    data = open_data(cases.yolo(tmp_path, ("train", "val"), test=""))
    assert data.tested_on == "val"


def test_lists_of_folders_and_of_images(root):
    (root / "lists").mkdir()
    (root / "lists" / "some.txt").write_text("../images/val/val1.png\n\n./../images/val/val0.png\n")
    cases.yolo(root, train=["images/train", "lists/some.txt"], names=["cell", "clot"], nc=2)
    names = [path.name for path in open_data(root).train]
    assert names == ["train0.png", "train1.png", "train2.png", "val0.png", "val1.png"]


def test_a_path_elsewhere(root, tmp_path):
    away = tmp_path / "away" / "cells.yaml"
    away.parent.mkdir()
    cases.yolo(root, path=str(root))
    shutil.move(root / "data.yaml", away)
    data = open_data(away)
    assert data.name == "cells"
    assert data.train[0] == root / "images" / "train" / "train0.png"
    for given, error in [(str(tmp_path / "none"), FileNotFoundError), ("none", FileNotFoundError)]:
        cases.yolo(root, path=given)
        with pytest.raises(error, match=r"`path` of .* must be a folder, got .*none"):
            open_data(root)


def test_a_path_that_ultralytics_takes_for_another_folder(root, tmp_path, monkeypatch):
    """It looks from where it is run."""
    monkeypatch.chdir(tmp_path)
    cases.yolo(root)
    open_data(root)  # there is no images/train here
    cases.yolo(tmp_path)
    with pytest.raises(ValueError, match=rf"got '\.', which is '{root}' .* and '{tmp_path}' seen"):
        open_data(root)
    for path in (None, str(root)):
        cases.yolo(root, path=path)
        assert open_data(root).train[0].is_relative_to(root)
    monkeypatch.chdir(root)
    cases.yolo(root)
    assert open_data(root).train[0].is_relative_to(root)


def test_the_remedy_for_a_path_trains_in_ultralytics_too(root):
    cases.yolo(root, path="toy")
    with pytest.raises(FileNotFoundError, match=r"Leave `path` out if .*, or make it absolute"):
        open_data(root)


def test_links_to_folders_are_followed_but_not_in_circles(root, tmp_path):
    cases.picture(tmp_path / "far" / "deep" / "seen.png")
    train = root / "images" / "train"
    (train / "link").symlink_to(tmp_path / "far")
    (train / "again").symlink_to(tmp_path / "far" / "deep")
    (train / "circle").symlink_to(train)
    (tmp_path / "far" / "deep" / "back").symlink_to(tmp_path / "far")
    (train / "broken").symlink_to(tmp_path / "none")
    names = [str(path.relative_to(train)) for path in open_data(root).train]
    own = [f"train{i}.png" for i in range(3)]
    assert names == ["again/seen.png", "link/deep/seen.png", *own]


def test_the_mark_of_windows(root):
    """Ultralytics takes it, in every file."""
    (root / "some.txt").write_text("\ufeffimages/train/train1.png\n")
    cases.yolo(root, train="some.txt")
    (root / "data.yaml").write_text("\ufeff" + (root / "data.yaml").read_text())
    cases.label(root, "train", 1, f"\ufeff1 {BOX}\n")
    data = open_data(root)
    data.check()
    assert data.present.tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("0 1.009 0.5 0.5 0.25", [0.759, 0.375, 1.0, 0.625]),
        ("0 0.5 -0.009 0.5 0.25", [0.25, 0.0, 0.75, 0.116]),
        ("0 0.5 0.5 1.009 0.25", [0.0, 0.375, 1.0, 0.625]),
        ("0 0.6 0.5 1.4 0.5 1.0 1.0", [0.6, 0.5, 1.0, 1.0]),
        ("0 1.011 0.5 0.5 0.25", None),
        ("0 0.5 -0.011 0.5 0.25", None),
        ("0 0.5 0.5 0.5 -0.001", None),
        ("0 0.6 0.5 1.5 0.5 1.0 1.0", None),
        ("0 0.6 nan 0.7 0.5 1.0 1.0", None),
        ("0 0.6 inf 0.7 0.5 1.0 1.0", None),
    ],
)
def test_a_little_outside_is_taken_as_ultralytics_takes_it(root, line, box):
    path = cases.label(root, "train", 0, line)
    found, problems = label_file.read(path, 1)
    assert bool(problems) == (box is None)
    assert [one.box for one in found] == ([] if box is None else [pytest.approx(box)])
    pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
    from ultralytics.data.utils import verify_image_label

    image = cases.picture(root / "images" / "train" / "train0.png", size=(16, 16))
    theirs = verify_image_label((str(image), str(path), "", False, 1, 0, 2, False))[1]
    assert (theirs is None) == (box is None)


def test_boxes_and_outlines_in_one_file(root):
    cases.label(root, "train", 1, f"0 {BOX}\n1 0.1 0.1 0.9 0.1 0.5 0.9\n")
    with pytest.raises(ValueError, match=r"train1.txt' mixes boxes and outlines, .*: make all"):
        open_data(root).check()


def test_exports_that_are_one_folder_off(root):
    cases.yolo(root, path=None, train="../images/train", val="../images/val", test=None)
    assert open_data(root).train[0].name == "train0.png"


def test_paths_may_not_lead_outside(root, tmp_path):
    cases.picture(tmp_path / "images" / "train" / "other.png")
    (root / "out.txt").write_text("images/train/train0.png\n../images/train/other.png\n")
    outside = str(tmp_path / "images" / "train")
    for train in ("../images/train", outside, "images/../../images/train", ["out.txt"]):
        cases.yolo(root, train=train)
        with pytest.raises(ValueError, match=r"`train` of .* must stay inside of .*toy', got"):
            open_data(root)
    cases.yolo(root, path="..")
    with pytest.raises(ValueError, match=r"`path` of .* must stay inside of .* got '\.\.'. Set"):
        open_data(root)
    cases.yolo(root, path=str(tmp_path), train="toy/images/train", test="images/train", val=None)
    assert open_data(root).test == (tmp_path / "images" / "train" / "other.png",)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"names": None}, "`names` of .* must list the classes, .* got None"),
        ({"names": []}, "`names` of"),
        ({"names": {1: "cell"}}, "or map the numbers from 0 to them, got {1: 'cell'}"),
        ({"names": ["cell", "cell"]}, "each another name"),
        ({"names": "cell"}, "`names` of"),
        ({"nc": 3}, "`nc` of .* must be 2, as `names`, got 3"),
        ({"train": None}, "`train` of .* must be a folder, a .txt list of images or .* got None"),
        ({"train": [3]}, r"`train` of .* got \[3\]"),
        ({"test": None, "val": None}, "`val` of .* got None"),
        ({"train": "labels/train"}, "`train` of .* must have images, got none in 'labels/train'"),
        ({"train": "images/test"}, "in train or in test, but in both stand 3 of them: .*test0.png"),
        ({"path": 3}, "`path` of .* must be a folder, got 3"),
    ],
)
def test_refusals(root, keys, message):
    cases.yolo(root, **keys)
    with pytest.raises(ValueError, match=message):
        open_data(root)


@pytest.mark.parametrize("given", ["images/none", "data.yaml"])
def test_missing_folders(root, given):
    cases.yolo(root, train=given)
    with pytest.raises(FileNotFoundError, match=f"`train` of .* must be a folder .* got '{given}'"):
        open_data(root)


def test_a_list_with_missing_images(root):
    (root / "some.txt").write_text("images/train/train0.png\nimages/train/none.png\ndata.yaml\n")
    cases.yolo(root, train="some.txt")
    with pytest.raises(FileNotFoundError, match=r"these are none: 2 of them: .*none.png'; .*yaml"):
        open_data(root)


@pytest.mark.parametrize(("text", "message"), [("a: [", "must be YAML, but"), ("- a", "got list")])
def test_a_file_that_is_no_data_yaml(root, text, message):
    (root / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_data(root)


def test_no_labels_at_all(root):
    shutil.rmtree(root / "labels")
    with pytest.raises(ValueError, match=r"none has any.*looked for in .*labels/train/train0.txt"):
        open_data(root)


def test_outlines_count_too(root):
    cases.label(root, "train", 0, "1 0.1 0.1 0.9 0.1 0.5 0.9\n\n")
    data = open_data(root)
    assert data.present[0].tolist() == [False, True]
    data.check()


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"2 {BOX}", r"class 2 is not in 0\.\.1"),
        (f"-1 {BOX}", "class -1 is not"),
        (f"0.5 {BOX}", "class 0.5 is not"),
        (f"nan {BOX}", "class nan is not"),
        ("0 0.5 0.5 0.1", "3 points and more, but 4 numbers"),
        (f"0 {BOX} 0.5", "3 points and more, but 6 numbers"),
        (f"0 {BOX} 0.5 0.5 0.5", "3 points and more, but 8 numbers"),
        ("0 0.5 0.5 0.25 1.25", r"coordinates outside of \[0, 1\]: 0.5 0.5 0.25 1.25"),
        ("0 0.5 0.5 nan 0.2", "coordinates outside"),
        ("0 0.5 -0.5 0.1 0.2", "coordinates outside"),
        (f"cell {BOX}", "not numbers: 'cell"),
    ],
)
def test_malformed_lines_are_named(root, part, line, message):
    path = cases.label(root, part, 1, f"0 {BOX}\n{line}\n")
    data = open_data(root)
    if part == "train":
        assert data.present[1].tolist() == [True, False]
    with pytest.raises(ValueError, match=f"must be readable, but '{path}', line 2: .*{message}"):
        data.check()


def test_unreadable_images_and_labels_are_named(root):
    (root / "images" / "train" / "train0.png").write_text("no image")
    (root / "images" / "test" / "test1.png").write_text("no image")
    (root / "labels" / "test" / "test0.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="but 3 of them: ") as caught:
        open_data(root).check()
    assert all(name in str(caught.value) for name in ("train0.png", "test1.png", "test0.txt"))


def test_groups(root, tmp_path):
    file = tmp_path / "g.csv"

    def write(test):
        lines = [f"train{i}.png,cow{i // 2}" for i in range(3)]
        lines += [f"test{i}.png,{test}{i // 2}" for i in range(3)]
        file.write_text("\n".join(["image,group", *lines]))

    write("ant")
    assert open_data(root, groups=file).groups.tolist() == [2, 2, 3]
    write("cow")
    with pytest.raises(ValueError, match="groups stand in both: 2 of them: 'cow0'; 'cow1'"):
        open_data(root, groups=file)
    file.write_text("image,group\ntrain0.png,1\n")
    with pytest.raises(ValueError, match=r"lacks 5 of them: 'images/train/train1.png'"):
        open_data(root, groups=file)
