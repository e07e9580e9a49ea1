"""Arrays in .npz files and in folders of .npy files."""

import numpy as np
import pytest
import torch

from albu_learned.data import open_data
from tests.data import cases


@pytest.fixture(params=["npz", "npy"])
def written(request, tmp_path):
    """Writes arrays, once as an archive and once as a folder."""

    def write(**arrays):
        if request.param == "npz":
            return cases.npz(tmp_path / "toy.npz", **arrays)
        return cases.npy(tmp_path / "toy", **arrays)

    return write


@pytest.mark.parametrize(("channels", "count"), [(None, 1), (1, 1), (3, 3)])
def test_images_as_they_are(written, channels, count):
    arrays = cases.parts(channels=channels)
    data = open_data(written(**arrays, classes=["a", "b", "c"]))
    assert (data.name, data.kind, data.classes) == ("toy", "images", ("a", "b", "c"))
    assert data.shape == (count, 6, 6)
    assert (len(data.train), len(data.test)) == (12, 6)
    assert data.train.labels.dtype == torch.int64
    assert data.train.labels.tolist() == arrays["train_y"].tolist()
    assert data.train.groups is None
    asked = torch.tensor([5, 0, 5, 11])
    read = data.train.read(asked)
    assert read.dtype == torch.uint8
    want = torch.from_numpy(arrays["train_x"][asked]).reshape(4, 6, 6, count).permute(0, 3, 1, 2)
    assert torch.equal(read, want)
    assert data.test.read(torch.tensor([2]))[0, 0, 0, 0] == arrays["test_x"][2].flatten()[0]
    assert data.train.read(torch.tensor([], dtype=torch.int64)).shape == (0, *data.shape)
    data.train.check()
    data.test.check()


@pytest.mark.parametrize(("channels", "shape"), [(None, (1, 9)), (2, (2, 9))])
def test_series(written, channels, shape):
    arrays = cases.parts(make=cases.series, channels=channels)
    data = open_data(written(**arrays))
    assert (data.kind, data.shape, data.classes) == ("series", shape, ("0", "1", "2"))
    read = data.test.read(torch.tensor([3, 1]))
    assert read.dtype == torch.float32
    want = torch.from_numpy(arrays["test_x"][[3, 1]]).reshape(2, *shape)
    assert torch.equal(read, want)
    data.train.check()


def test_kind_decides_in_doubt(written):
    arrays = cases.parts(make=cases.series, length=6, channels=6)
    arrays = {k: (np.clip(v, 0, 1) if k.endswith("x") else v) for k, v in arrays.items()}
    path = written(**arrays)
    assert open_data(path).kind == "series"
    data = open_data(path, kind="images")
    assert (data.kind, data.shape) == ("images", (1, 6, 6))
    want = (torch.from_numpy(arrays["train_x"]) * 255).round().to(torch.uint8)
    assert torch.equal(data.train.read(torch.arange(12))[:, 0], want)


def test_bytes_can_be_series(written):
    arrays = cases.parts()
    data = open_data(written(**arrays), kind="series")
    assert data.shape == (6, 6)
    assert torch.equal(
        data.train.read(torch.tensor([1]))[0], torch.from_numpy(arrays["train_x"][1]).float()
    )


@pytest.mark.parametrize(("low", "high"), [(-9, 9), (-1, 0.5), (0.5, 2), (0, np.nan)])
def test_floats_out_of_range_are_no_images(written, low, high):
    arrays = cases.parts(make=cases.series, channels=6)
    for key in ("train_x", "test_x"):
        arrays[key][:] = np.linspace(low, high, 9)
    data = open_data(written(**arrays), kind="images")
    for act in (data.test.check, lambda: data.train.read(torch.arange(12))):
        with pytest.raises(ValueError, match=r"_x.*floats in \[0, 1\], got floats from"):
            act()


def test_images_are_resized(written):
    arrays = cases.parts(size=8, channels=3)
    arrays["train_x"][0] = 90
    arrays["train_x"][1, :, :4] = 0
    arrays["train_x"][1, :, 4:] = 199
    data = open_data(written(**arrays), image_size=4)
    assert data.shape == (3, 4, 4)
    read = data.train.read(torch.tensor([1, 0]))
    assert read.shape == (2, 3, 4, 4)
    assert (read[1] == 90).all()
    # Antialiased: the pixel beside the edge mixes 0, 0, 0, 199 with the weights 1, 3, 3, 1.
    assert read[0, 0, 0].tolist() == [0, 25, 174, 199]
    data.test.check()


def test_other_byte_orders_and_column_order(written):
    arrays = cases.parts(make=cases.series, channels=2)
    strange = arrays | {
        "train_x": np.asfortranarray(arrays["train_x"].astype(">f4")),
        "test_x": arrays["test_x"].astype(">f4"),
    }
    data = open_data(written(**strange))
    assert torch.equal(data.train.read(torch.arange(12)), torch.from_numpy(arrays["train_x"]))
    assert torch.equal(data.test.read(torch.arange(6)), torch.from_numpy(arrays["test_x"]))


def test_a_split_of_our_own(written):
    x, y = cases.images(40), cases.labels(40, 4)
    path = written(x=x, y=y)
    data = open_data(path)
    again = open_data(path)
    assert (len(data.train), len(data.test)) == (28, 12)
    assert torch.bincount(data.test.labels).tolist() == [3, 3, 3, 3]
    rows = torch.cat([data.train.at, data.test.at])
    assert rows.sort().values.tolist() == list(range(40))
    assert torch.equal(data.test.at, again.test.at)
    asked = torch.tensor([4, 0, 4])
    assert torch.equal(
        data.test.read(asked)[:, 0], torch.from_numpy(x[data.test.at[asked].numpy()])
    )
    assert data.test.labels.tolist() == y[data.test.at.numpy()].tolist()
    assert len(open_data(path, test_share=0.5).test) == 20
    whole = open_data(path, test_share=0)
    assert (len(whole.train), len(whole.test), whole.split) == (40, 0, True)


@pytest.mark.parametrize("given", ["file", "argument"])
def test_a_split_of_our_own_keeps_groups_whole(written, given):
    groups = np.array([f"patient {i // 4}" for i in range(48)])
    arrays = {"x": cases.images(48), "y": cases.labels(48, 2)}
    if given == "file":
        data = open_data(written(**arrays, groups=groups))
    else:
        data = open_data(written(**arrays), groups=groups.tolist())
    wanted = np.unique(groups, return_inverse=True)[1]
    for part in (data.train, data.test):
        assert part.groups.dtype == torch.int64
        assert part.groups.tolist() == wanted[part.at.numpy()].tolist()
    train, test = set(data.train.groups.tolist()), set(data.test.groups.tolist())
    assert len(train) + len(test) == 12
    assert not train & test


def test_groups_of_given_parts_are_numbered_alike(written):
    arrays = cases.parts()
    arrays |= {"train_groups": np.arange(12) // 2 + 50, "test_groups": np.arange(6) // 3}
    data = open_data(written(**arrays))
    names = [str(g) for g in [*arrays["train_groups"], *arrays["test_groups"]]]
    numbers = [*data.train.groups.tolist(), *data.test.groups.tolist()]
    assert len(set(zip(names, numbers, strict=True))) == len(set(names)) == len(set(numbers)) == 8


def changed(**arrays):
    """The arrays of a good data set with these put in their place; None leaves one out."""
    found = cases.parts() | arrays
    return {key: value for key, value in found.items() if value is not None}


def whole(x, y, **more):
    return {"x": x, "y": y, **more}


REFUSALS = [
    (changed(test_y=None), r"must have the arrays train_x, .* or else x, y, got \['test_x', 'tr"),
    (changed(x=cases.images(3)), "must have the arrays"),
    ({"images": cases.images(3), "x": cases.images(3)}, "must have the arrays"),
    (changed(train_y=cases.labels(11)), r"train_y.* must hold 12 class numbers.* got \(11,\)"),
    (changed(train_y=cases.labels(12)[:, None]), r"must hold 12 class numbers.* got \(12, 1\)"),
    (changed(test_y=cases.labels(6) * 1.0), r"test_y.* whole numbers of shape \(6,\), got .*float"),
    (changed(test_y=np.array(list("abcabc"))), "Names of classes go into `classes`"),
    (changed(train_y=cases.labels(12) - 1), "train_y.* must hold class numbers from 0, got -1"),
    (changed(train_y=cases.labels(12) * 9), "must count from 0 without gaps, got 18 among 18 rows"),
    (changed(train_y=cases.labels(12) * 2), r"but train has none of 2 of them: '1'; '3'"),
    (changed(test_y=cases.labels(6, 2)), "in train and in test, but test has none of '2'"),
    (changed(train_y=cases.labels(12, 2)), "but train has none of '2'"),
    (changed(train_y=np.zeros(12, int), test_y=np.zeros(6, int)), "at least two classes, got 1"),
    (changed(classes=["a", "b"]), r"`classes` .* each of the classes 0..2, .* got \['a', 'b'\]"),
    (changed(classes=["a", "b", "b"]), "`classes` of .* each another"),
    (changed(classes=["a", "b", "c", "d"]), "none of 'd'. Add rows of it"),
    (changed(classes=[0.5, 1.5, 2.5]), "`classes` of"),
    (changed(test_x=cases.series(6, 6, 6)), "must have the same dtype and shape .* float32. Save"),
    (changed(test_x=cases.images(6, 5)), r"must have the same .* and \(6, 5, 5\) uint8"),
    (changed(train_x=cases.images(0), train_y=cases.labels(0)), "train part .* but is empty"),
    (changed(train_groups=np.arange(12)), "must be arrays `train_groups` and `test_groups`"),
    (
        changed(train_groups=np.arange(12), test_groups=np.arange(6) + 10),
        "groups stand in both: 2 of them: '10'; '11'. What is known of train",
    ),
    (
        changed(train_groups=np.arange(12) * 1.0, test_groups=np.arange(6)),
        r"`groups` of train of .* must be 12 whole numbers or texts.* got \(12,\) float64",
    ),
    (whole(cases.images(4), cases.labels(4)), "but test has none of 2 of them: '1'; '2'"),
    (
        whole(cases.images(4).astype(int), cases.labels(4, 2)),
        r"must hold images.* got \(4, 6, 6\) i",
    ),
    (whole(cases.images(4, channels=4), cases.labels(4, 2)), "the channels of images come last"),
    (whole(cases.images(4)[:, 0], cases.labels(4, 2)), 'Say kind="images"'),
    (whole(cases.images(4, channels=3) / 255, cases.labels(4, 2)), 'Say kind="images"'),
    (whole(np.float32(1), cases.labels(4, 2)), "must have rows, got a single number"),
    (whole(cases.images(4), cases.labels(4, 2), groups=np.arange(3)), "must be 4 whole numbers"),
    (
        whole(cases.images(4), cases.labels(4, 2), groups=np.zeros(4, int)),
        r"`groups` of .*toy.* must be two or more of every class, .* in 2 of them: .0.; .1.\. Give",
    ),
]


@pytest.mark.parametrize(("arrays", "message"), REFUSALS)
def test_refusals(written, arrays, message):
    with pytest.raises(ValueError, match=message):
        open_data(written(**arrays))


def test_series_must_be_complete(written):
    arrays = cases.parts(make=cases.series)
    arrays["test_x"][4, 2] = np.nan
    data = open_data(written(**arrays))
    data.train.check()
    with pytest.raises(ValueError, match=r"test_x.* must hold finite numbers.* equal length"):
        data.test.check()
    with pytest.raises(ValueError, match="test_x"):
        data.test.read(torch.tensor([4]))


def test_arguments_that_do_not_fit(written):
    path = written(**cases.parts())
    with pytest.raises(ValueError, match="must be arrays `train_groups` and `test_groups` in it"):
        open_data(path, groups=list(range(12)))
    data = open_data(path)
    for wrong in (torch.ones(12, dtype=torch.bool), torch.tensor([0.0]), torch.tensor(1), [1]):
        with pytest.raises(TypeError, match="`indices` must be a tensor of row numbers"):
            data.train.read(wrong)
    for wrong in (-1, 12):
        with pytest.raises(ValueError, match=rf"`indices` must be in 0..11, got {wrong}"):
            data.train.read(torch.tensor([0, wrong]))


def test_whole_numbers_of_other_kinds_are_no_images(written):
    path = written(x=cases.images(4).astype(np.uint16), y=cases.labels(4, 2))
    with pytest.raises(ValueError, match=r'got \(4, 6, 6\) uint16 as kind="images"'):
        open_data(path, kind="images")


def test_series_keep_their_length(written):
    path = written(**cases.parts(make=cases.series))
    with pytest.raises(ValueError, match="`image_size` must be None for series, got 8"):
        open_data(path, image_size=8)


@pytest.mark.parametrize("key", ["train_x", "test_x", "train_y", "classes"])
def test_pickled_objects_are_not_read(written, key):
    arrays = cases.parts() | {"classes": np.array(["a", "b", "c"])}
    arrays[key] = np.array([{}] * len(arrays[key]), dtype=object)
    with pytest.raises(ValueError, match=rf"{key}.* got Python objects, pickled"):
        open_data(written(**arrays))
