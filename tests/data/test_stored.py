"""What of a file is read, and when; and files that are broken."""

import io
import zipfile

import numpy as np
import pytest
import torch

from albu_learned.data import open_data, stored
from tests.data import cases


@pytest.fixture
def streamed(monkeypatch):
    """Makes every array of an archive too large to be loaded whole, and blocks of three images."""
    monkeypatch.setattr(stored, "WHOLE", 100)
    monkeypatch.setattr(stored, "BLOCK", 3 * 36 + 5)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_streamed_rows_are_those_of_the_array(tmp_path, streamed, save):
    x = cases.images(40)
    path = tmp_path / "large.npz"
    save(path, x=x)
    source = stored.Member(path, "x")
    assert source.step == 3
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        asked = torch.randint(0, 40, (int(torch.randint(0, 12, (), generator=g)),), generator=g)
        assert np.array_equal(source.rows(asked.numpy()), x[asked.numpy()])
    assert np.array_equal(np.concatenate(list(source.blocks())), x)
    assert source._loaded is None


def test_streaming_skips_blocks_that_are_not_asked_for(tmp_path, streamed, monkeypatch):
    source = stored.Member(cases.npz(tmp_path / "large.npz", x=cases.images(40)), "x")
    read, block = [], stored.Member._block
    monkeypatch.setattr(
        stored.Member,
        "_block",
        lambda self, file, first: read.append(first) or block(self, file, first),
    )
    source.rows(np.array([38, 1, 38, 2, 10]))
    assert read == [0, 9, 36]


@pytest.mark.parametrize("own", [False, True])
def test_streaming_changes_nothing(tmp_path, monkeypatch, own):
    arrays = cases.parts(train=30, test=30)
    if own:
        arrays = {"x": arrays["train_x"], "y": arrays["train_y"]}
    path = cases.npz(tmp_path / "toy.npz", **arrays)
    first = open_data(path)
    asked = torch.tensor([4, 4, 0, len(first.test) - 1])
    want = [first.train.read(asked), first.test.read(asked)]
    monkeypatch.setattr(stored, "WHOLE", 100)
    monkeypatch.setattr(stored, "BLOCK", 100)
    data = open_data(path)
    assert torch.equal(data.train.read(asked), want[0])
    assert torch.equal(data.test.read(asked), want[1])
    assert data.train.source._loaded is None
    data.train.check()


def test_a_small_array_is_read_once(tmp_path, monkeypatch):
    data = open_data(cases.npz(tmp_path / "toy.npz", **cases.parts()))
    opened, whole = [], stored.Member._open
    monkeypatch.setattr(stored.Member, "_open", lambda self: opened.append(self.key) or whole(self))
    for _ in range(3):
        data.train.read(torch.tensor([1]))
    assert opened == ["train_x"]


def test_large_arrays_must_lie_row_by_row(tmp_path, streamed):
    path = cases.npz(tmp_path / "large.npz", x=np.asfortranarray(cases.images(40)))
    with pytest.raises(ValueError, match=r"`x` of .* stored row by row.*np.ascontiguousarray"):
        stored.Member(path, "x")


def spoilt(path, key):
    """Changes bytes in the middle of an array of an archive that is not compressed."""
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(f"{key}.npy").header_offset
        size = archive.getinfo(f"{key}.npy").file_size
    content = bytearray(path.read_bytes())
    content[start + size - 60 : start + size - 30] = bytes(30)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("streaming", [False, True])
def test_opening_reads_no_test_rows_and_check_finds_spoilt_ones(tmp_path, monkeypatch, streaming):
    arrays = cases.parts(train=60, test=300)  # more than is read ahead with its header
    np.savez(tmp_path / "toy.npz", **arrays)
    if streaming:
        monkeypatch.setattr(stored, "WHOLE", 100)
        monkeypatch.setattr(stored, "BLOCK", 100)
    data = open_data(spoilt(tmp_path / "toy.npz", "test_x"))
    data.train.check()
    assert torch.equal(data.train.read(torch.arange(60))[:, 0], torch.from_numpy(arrays["train_x"]))
    with pytest.raises(ValueError, match=r"`test_x` of .*toy.npz' cannot be read \(Bad CRC-32"):
        data.test.check()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("streaming", [False, True])
def test_check_compares_the_checksum(tmp_path, monkeypatch, save, streaming):
    path = tmp_path / "toy.npz"
    save(path, **cases.parts(train=300))
    with zipfile.ZipFile(path) as archive:
        checksum = archive.getinfo("train_x.npy").CRC.to_bytes(4, "little")
    content = path.read_bytes()
    path.write_bytes(
        content[: content.rindex(checksum)] + b"0123" + content[content.rindex(checksum) + 4 :]
    )
    if streaming:
        monkeypatch.setattr(stored, "WHOLE", 100)
    with pytest.raises(ValueError, match=r"`train_x` of .* cannot be read \(Bad CRC-32"):
        open_data(path).train.check()


def test_opening_maps_no_rows_of_a_folder(tmp_path, monkeypatch):
    path = cases.npy(tmp_path / "toy", **cases.parts())
    mapped, whole = [], stored.Npy._mapped
    monkeypatch.setattr(
        stored.Npy, "_mapped", lambda self: mapped.append(self.path.stem) or whole(self)
    )
    data = open_data(path)
    assert sorted(mapped) == ["test_y", "train_y"]
    data.test.read(torch.tensor([0]))
    assert mapped[-1] == "test_x"


def test_an_archive_that_was_cut_off(tmp_path):
    path = cases.npz(tmp_path / "toy.npz", **cases.parts())
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"toy.npz' cannot be read \(File is not a zip file"):
        open_data(path)


@pytest.mark.parametrize("key", ["train_x", "test_x", "test_y"])
def test_an_array_that_was_cut_off(tmp_path, key):
    arrays = cases.parts()
    folder = cases.npy(tmp_path / "toy", **arrays)
    file = folder / f"{key}.npy"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match=rf"{key}.* not as long as its header says"):
        open_data(folder)
    path = tmp_path / "toy.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in arrays:
            archive.write(folder / f"{name}.npy", f"{name}.npy")
    with pytest.raises(ValueError, match=rf"`{key}` of .* not as long as its header says"):
        open_data(path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00\x10\x00{'descr': 3"])
def test_a_file_that_is_no_array(tmp_path, content):
    folder = cases.npy(tmp_path / "toy", **cases.parts())
    (folder / "test_x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"test_x.npy' cannot be read .* Copy the file again"):
        open_data(folder)


def test_records_are_no_rows(tmp_path):
    records = np.zeros(12, dtype=[("a", "f4"), ("b", "f4")])
    path = cases.npz(tmp_path / "toy.npz", **(cases.parts() | {"train_x": records}))
    with pytest.raises(ValueError, match=r"`train_x` of .* must be a plain array"):
        open_data(path)
    file = io.BytesIO()
    np.lib.format.write_array(file, records, version=(3, 0))
    (tmp_path / "x.npy").write_bytes(file.getvalue())
    with pytest.raises(ValueError, match=r"x\.npy' must be a plain array"):
        stored.Npy(tmp_path / "x.npy")
