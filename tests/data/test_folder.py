"""Folders of images, one a class."""

import builtins
import shutil

import numpy as np
import pytest
import torch

from albu_learned.data import decode, open_data
from tests.data import cases

Image = pytest.importorskip("PIL.Image")


def first_pixels(rows):
    """(n, 3), of images of one colour."""
    assert (rows == rows[..., :1, :1]).all()
    return rows[..., 0, 0].tolist()


@pytest.mark.parametrize("part", ["test", "val", "valid"])
def test_a_folder_with_parts(tmp_path, part):
    data = open_data(cases.folder(tmp_path / "toy", ("train", part)))
    assert (data.name, data.kind, data.classes) == ("toy", "images", ("ant", "bee"))
    assert data.shape == (3, 8, 8), "none is enlarged"
    assert not data.split
    assert data.path == str(tmp_path / "toy")
    assert data.train.labels.tolist() == data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    read = data.train.read(torch.tensor([5, 0, 5, 1]))
    assert (read.shape, read.dtype) == ((4, 3, 8, 8), torch.uint8)
    assert first_pixels(read) == [[20, 1, 7], [0, 0, 7], [20, 1, 7], [10, 0, 7]]
    assert data.test.read(torch.tensor([], dtype=torch.int64)).shape == (0, 3, 8, 8)
    assert open_data(tmp_path / "toy", image_size=5, kind="images").shape == (3, 5, 5)
    data.train.check()
    data.test.check()


@pytest.mark.parametrize(
    ("sizes", "side"),
    [([(20, 12), (9, 30)], 12), ([(20, 12), (300, 200), (5, 5)], 64), ([(64, 80)], 64)],
)
def test_the_usual_size_is_that_of_the_largest_and_64_at_most(tmp_path, sizes, side):
    for k, name in enumerate(("ant", "bee")):
        for i, size in enumerate(sizes):
            cases.picture(tmp_path / "train" / name / f"{i}.png", size=size)
        cases.picture(tmp_path / "test" / name / "0.png", size=(100, 100))
        (tmp_path / "train" / name / f"a{k}.png").write_bytes(b"no image")
    data = open_data(tmp_path)
    assert data.shape == (3, side, side)
    with pytest.raises(ValueError, match=r"must be readable, but .*a0.png"):
        data.train.check()
    for name in ("ant", "bee"):
        for path in (tmp_path / "train" / name).iterdir():
            path.write_bytes(b"no image")
    assert open_data(tmp_path).shape == (3, 64, 64)


def test_without_a_share_for_testing_all_are_learned_from(tmp_path):
    root = cases.folder(tmp_path / "toy", ("",), each=4)
    data = open_data(root, test_share=0)
    assert (len(data.train), len(data.test), data.split) == (8, 0, True)
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4
    assert open_data(root).split
    cases.folder(tmp_path / "parts")
    assert len(open_data(tmp_path / "parts", test_share=0).test) == 6, "it has a part of its own"
    (root / "cat").mkdir()
    cases.picture(root / "cat" / "0.png")
    assert len(open_data(root, test_share=0).train) == 9
    with pytest.raises(ValueError, match=r"must have rows in train and in test, .*'cat'"):
        open_data(root)


def test_val_is_ignored_beside_test(tmp_path):
    root = cases.folder(tmp_path / "toy", ("train", "val", "test"))
    shutil.rmtree(root / "val" / "bee")
    names = [path.name for path in open_data(root).test.paths]
    assert names == [f"test{k}{i}.png" for k in range(2) for i in range(3)]


def test_a_folder_of_classes_is_split(tmp_path):
    root = cases.folder(tmp_path, ("",), each=10)
    data = open_data(root)
    assert torch.bincount(data.test.labels).tolist() == [3, 3]
    assert torch.bincount(data.train.labels).tolist() == [7, 7]
    assert not set(data.train.paths) & set(data.test.paths)
    assert open_data(root).test.paths == data.test.paths
    assert len(open_data(root, test_share=0.5).test) == 10
    got = first_pixels(data.test.read(torch.arange(6)))
    assert [
        [int(p.stem[-1]) * 10, k, 7] for p, k in zip(data.test.paths, data.test.labels, strict=True)
    ] == got


def test_order_endings_and_hidden_files(tmp_path):
    root = cases.folder(tmp_path / "toy", each=1)
    for name in ("b/z.JPG", "b/deep/a.webp", "a.jpeg", "B.PNG", "c.bmp", "d.tif", "e.TIFF"):
        cases.picture(root / "train" / "ant" / name)
    for name in (".hidden.png", ".folder/x.png", "._B.png"):
        cases.picture(root / "train" / "ant" / name)
    cases.picture(root / "train" / ".cache" / "x.png")
    (root / "train" / "ant" / "notes.txt").write_text("no image")
    data = open_data(root)
    ants = [p.relative_to(root / "train" / "ant").as_posix() for p in data.train.paths[:-1]]
    whole = [
        "B.PNG",
        "a.jpeg",
        "b/deep/a.webp",
        "b/z.JPG",
        "c.bmp",
        "d.tif",
        "e.TIFF",
        "train00.png",
    ]
    assert ants == whole
    assert data.classes == ("ant", "bee")


def test_the_shorter_side_is_resized_and_the_centre_kept(tmp_path):
    root = cases.folder(tmp_path / "toy", each=1)
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, :8], wide[:, 8:12], wide[:, 12:16], wide[:, 16:] = 255, 40, 120, 255
    path = root / "train" / "ant" / "train00.png"
    for picture, size, box in (
        (Image.fromarray(wide), (12, 4), (4, 0, 8, 4)),
        (Image.fromarray(wide.transpose(1, 0, 2)), (4, 12), (0, 4, 4, 8)),
    ):
        picture.save(path)
        read = open_data(root, image_size=4).train.read(torch.tensor([0]))[0]
        want = np.array(picture.resize(size, Image.Resampling.BILINEAR).crop(box))
        assert np.abs(read.permute(1, 2, 0).numpy().astype(int) - want).max() <= 1
        assert 40 <= read.min() < read.max() < 160


def test_a_turned_camera(tmp_path):
    root = cases.folder(tmp_path / "toy", each=1)
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:, 4:] = 240  # the right half is bright
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: right becomes below
    Image.fromarray(halves).save(root / "train" / "ant" / "train00.png", exif=exif)
    read = open_data(root, image_size=8).train.read(torch.tensor([0]))[0, 0]
    assert (read[:4] == 0).all()
    assert (read[4:] == 240).all()


def saved(path, picture, **options):
    picture.save(path, **options)
    return decode.squares([path], 4)[0, :, 0, 0].tolist()


@pytest.mark.filterwarnings("error")
def test_every_mode_becomes_rgb(tmp_path):
    path = tmp_path / "x.png"
    size = (6, 6)
    assert saved(path, Image.new("L", size, 77)) == [77, 77, 77]
    assert saved(path, Image.new("1", size, 1)) == [255, 255, 255]
    assert saved(path, Image.new("RGBA", size, (10, 20, 30, 128))) == [10, 20, 30]
    assert saved(path, Image.new("LA", size, (70, 9))) == [70, 70, 70]
    palette = Image.new("P", size, 1)
    palette.putpalette([0, 0, 0, 50, 60, 70])
    assert saved(path, palette) == [50, 60, 70]
    assert saved(path, palette, transparency=b"\x00\x80") == [50, 60, 70]
    assert saved(tmp_path / "x.tif", Image.new("CMYK", size, (0, 0, 0, 255))) == [0, 0, 0]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_cut_off(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    Image.fromarray(np.full((6, 6), 257 * 200 + 100, np.uint16)).save(path)
    assert decode.squares([path], 4)[0, :, 0, 0].tolist() == [200, 200, 200]


def test_unreadable_files_are_named(tmp_path):
    root = cases.folder(tmp_path / "toy", each=7)
    cut = root / "train" / "bee" / "train10.png"
    Image.fromarray(cases.images(1, 40, 3)[0]).save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    (root / "train" / "bee" / "train11.png").write_text("no image")
    Image.fromarray(np.ones((4, 4), np.float32)).save(root / "train" / "bee" / "float.tif")
    (root / "train" / "bee" / "empty.jpg").write_bytes(b"")
    data = open_data(root)
    data.test.check()
    with pytest.raises(ValueError, match="but 4 of them: ") as caught:
        data.train.check()
    for part in ("train10.png", "train11.png", "empty.jpg", "float.tif", "mode F, 32 bits"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match=r"(png|jpg|tif)' cannot be read as an image"):
        data.train.read(torch.arange(len(data.train)))
    for i in range(7):
        (root / "train" / "ant" / f"train0{i}.png").write_text("no image")
    with pytest.raises(ValueError, match=r"but 11 of them, the first 5: .*") as caught:
        data.train.check()
    assert str(caught.value).count("cannot be read") == 5


def test_opening_decodes_nothing(tmp_path):
    root = cases.folder(tmp_path / "toy")
    for path in root.rglob("*.png"):
        path.write_bytes(b"no image")
    assert len(open_data(root).test) == 6


def test_without_pillow(tmp_path, monkeypatch):
    data = open_data(cases.folder(tmp_path / "toy"))
    whole = builtins.__import__

    def without(name, *args):
        if name == "PIL":
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")
        return whole(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    for act in (data.train.check, lambda: data.train.read(torch.tensor([0]))):
        with pytest.raises(ImportError, match=r'pip install "albu_learned\[cli\]"'):
            act()


def without_test(root):
    shutil.rmtree(root / "test")


def without_train(root):
    shutil.rmtree(root / "train")


def a_class_in_train_only(root):
    cases.picture(root / "train" / "wasp" / "x.png")


def an_empty_class(root):
    (root / "test" / "wasp" / "deep").mkdir(parents=True)
    (root / "test" / "wasp" / ".x.png").write_text("hidden")


def one_class(root):
    for part in ("train", "test"):
        shutil.rmtree(root / part / "bee")


def no_class(root):
    for name in ("ant", "bee"):
        shutil.rmtree(root / "train" / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_test, r"must have a folder `train` with a folder `test` or `val`.*\['train'\]"),
        (without_train, r"must have a folder `train` with .* got \['test'\]"),
        (a_class_in_train_only, "must be the same, but only one of the two has 'wasp'"),
        (an_empty_class, r"Every class folder of .*test' must have images \(.jpg.*none has 'wasp'"),
        (one_class, "must have at least two classes, got 1"),
        (no_class, "train' must have one folder a class, got none"),
    ],
)
def test_refusals(tmp_path, change, message):
    root = cases.folder(tmp_path / "toy")
    change(root)
    with pytest.raises(ValueError, match=message):
        open_data(root)


def test_a_class_of_one_image_cannot_be_split(tmp_path):
    root = cases.folder(tmp_path, ("",))
    cases.picture(root / "wasp" / "x.png")
    with pytest.raises(ValueError, match=r"but test has none of 'wasp'\. Add rows of it"):
        open_data(root)
