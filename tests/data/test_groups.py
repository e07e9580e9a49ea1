"""Groups of image files, from a CSV file."""

import pytest

from albu_learned.data import open_data
from tests.data import cases


def table(path, rows, head="image,group"):
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path):
    return cases.folder(tmp_path / "toy")


def by_path(root, group):
    """A line for each image, with the group that a function makes of its path."""
    images = sorted(root.rglob("*.png"))
    return [f"{p.relative_to(root).as_posix()},{group(p.relative_to(root))}" for p in images]


def test_groups_by_path_or_by_name(root, tmp_path):
    group = lambda path: f"{path.parts[0]}{path.stem[-1]}"  # noqa: E731
    data = open_data(root, groups=table(tmp_path / "g.csv", by_path(root, group)))
    test, train = data.test.groups.tolist(), data.train.groups.tolist()
    assert train == [3, 4, 5] * 2  # numbered in the order of names, over both parts
    assert test == [0, 1, 2] * 2
    by_name = [line.split("/")[-1] for line in by_path(root, group)]
    again = open_data(root, groups=str(table(tmp_path / "g.csv", by_name)))
    assert again.train.groups.tolist() == train


def test_other_columns_other_images_and_windows(root, tmp_path):
    lines = [line.replace("/", "\\") + ",x" for line in by_path(root, lambda p: p.parts[0])]
    for name in ("one", "two"):
        cases.picture(root / "val" / "ant" / f"{name}.png")  # a part that is ignored
    file = tmp_path / "g.csv"
    others = ["val/ant/one.png,z,x", "two.png,z,x"]
    file.write_text("\ufeffimage,group,age\n" + "\n".join([*lines, *others]), "utf-8")
    assert open_data(root, groups=file).train.groups.tolist() == [1] * 6


def test_names_of_no_image_are_refused(root, tmp_path):
    lines = by_path(root, lambda path: path.parts[0])
    others = ["gone.png,z", "train/bee/train00.png,z", "val/one.png,z"]
    message = r"must name images of .*toy'.* none: 3 of them: 'gone.png'; 'train/bee/train00.png'; "
    with pytest.raises(ValueError, match=message + "'val/one.png'. Correct these rows, or take"):
        open_data(root, groups=table(tmp_path / "g.csv", [*lines, *others]))
    typo = [line.replace("train/ant/train00", "train/ant/trian00") for line in lines]
    message = r"lacks 'train/ant/train00.png'. It names what is no image: 'train/ant/trian00.png'."
    with pytest.raises(ValueError, match=message):
        open_data(root, groups=table(tmp_path / "g.csv", typo))


@pytest.mark.parametrize("alone", [{"ant", "bee"}, {"bee"}])
def test_groups_that_leave_nothing_to_test_on_are_named(tmp_path, alone):
    root = cases.folder(tmp_path / "toy", ("",), each=4)
    group = lambda path: f"{path.parts[0]}{'' if path.parts[0] in alone else path.stem}"  # noqa: E731
    message = r"`groups` of .*toy' must be two or more of every class, .* one group in .*'bee'"
    with pytest.raises(ValueError, match=message + r"\. Give smaller groups, or data with a train"):
        open_data(root, groups=table(tmp_path / "g.csv", by_path(root, group)))


def test_our_own_split_keeps_groups_whole(tmp_path):
    root = cases.folder(tmp_path / "toy", ("",), each=12)
    group = lambda path: int(path.stem[1:]) // 2  # noqa: E731  of both classes
    file = table(tmp_path / "g.csv", by_path(root, group))
    data = open_data(root, groups=file)
    assert not set(data.train.groups.tolist()) & set(data.test.groups.tolist())
    for part in (data.train, data.test):
        want = [group(path) for path in part.paths]
        assert part.groups.tolist() == want
        assert set(part.labels.tolist()) == {0, 1}


def test_a_group_on_both_sides(root, tmp_path):
    file = table(tmp_path / "g.csv", by_path(root, lambda path: f"p{path.stem[-1]}"))
    with pytest.raises(ValueError, match=r"stand in both: 3 of them: 'p0'; 'p1'; 'p2'. What is"):
        open_data(root, groups=file)


@pytest.mark.parametrize(
    ("lines", "head", "message"),
    [
        (lambda all: all[:-7], "image,group", r"must list every image, but lacks 7 of them, the "),
        (lambda all: all, "image,patient", r"columns `image` and `group`, got \['image', 'pat"),
        (lambda all: [*all, "train/ant/train00.png,other"], "image,group", "line 14, .* one group"),
        (
            lambda all: [*all, "x.png,"],
            "image,group",
            "line 14, must name an image and its one gro",
        ),
        (lambda all: [*all, "x.png"], "image,group", "got 'x.png' and ''"),
    ],
)
def test_refusals(root, tmp_path, lines, head, message):
    whole = by_path(root, lambda path: path.parts[0])
    with pytest.raises(ValueError, match=message):
        open_data(root, groups=table(tmp_path / "g.csv", lines(whole), head))


def test_a_name_that_two_images_have(root, tmp_path):
    cases.picture(root / "train" / "bee" / "train00.png")
    lines = [line.split("/")[-1] for line in by_path(root, lambda path: path.parts[0])]
    with pytest.raises(ValueError, match=r"must give the path .* 2 of them: 'train/ant/train00"):
        open_data(root, groups=table(tmp_path / "g.csv", lines))


def test_what_groups_must_be(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`groups` must be a CSV file, got .*none.csv"):
        open_data(root, groups=tmp_path / "none.csv")
    with pytest.raises(TypeError, match=r"`groups` must be the path of a CSV file .* got list"):
        open_data(root, groups=[1, 2])
    with pytest.raises(ValueError, match="`groups` must be None for series"):
        open_data(cases.ucr(tmp_path / "ucr"), groups=[1, 2])
