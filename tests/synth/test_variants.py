"""Variants of a detection set: what is in the folder, how a killed run goes on, what is refused."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("PIL", reason="the extra `cli` is not installed")
pytest.importorskip("tqdm", reason="the extra `cli` is not installed")
from PIL import Image

import albu_learned as al
from albu_learned import artifact
from albu_learned.batch import Batch
from albu_learned.data import open_data, pictures
from albu_learned.synth import variants, write_variants
from albu_learned.synth.pool import Pool
from albu_learned.synth.varying import seed_of
from tests.synth import sets

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return sets.detection(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Three variants of each image, by a run that nobody has stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    write(data, out)
    return content(out)


def write(data, out, count=3, method=None, **how):
    how = {"threads": 1, "progress": False, **how}
    return write_variants(data, method or sets.method(), out, count, **how)


def content(folder):
    """Every file below a folder, by its path; the folder's own place is left out of texts."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            own = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            found[name] = own if path.suffix == ".png" else own.replace(bytes(folder), b"OUT")
    return found


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def read(path):
    return pictures.decoded(path.read_bytes())


def kept(method, image, name, variant, boxes):
    """(H, W), the pixels that a variant keeps, planned anew."""
    pixels = torch.from_numpy(np.atleast_3d(image).astype(np.float32)).permute(2, 0, 1)[None]
    batch = Batch(images=pixels / np.iinfo(image.dtype).max, boxes=[torch.tensor(boxes)])
    plan = method.plan(batch, {"seed": torch.tensor([seed_of(0, name, variant)])})
    return plan["keep"][0, 0].numpy()


def test_what_is_written(data, tmp_path):
    out = tmp_path / "new" / "out"
    written = write(data, out, 2)
    assert (written.images, written.new, written.trained) == (6, 6, (3, 6))
    assert "Wrote 6 variants to" in written.summary()
    root = data.parent
    for number in range(3):
        for variant in range(2):
            name = f"train{number}.png.v{variant}"
            assert (out / "labels" / "train" / f"{name}.txt").read_text() == sets.LINES[number % 2]
            with Image.open(out / "images" / "train" / f"{name}.png") as picture:
                assert (picture.mode, picture.size) == ("RGB", (32, 32))
    keys = yaml.safe_load((out / "data.yaml").read_text())
    assert keys["train"] == [str(root / "images" / "train"), str(out / "images")]
    assert keys["val"] == str(root / "images" / "val")
    assert keys["names"] == ["cell", "clot"]
    read = open_data(out / "data.yaml")
    assert len(read.train) == 9
    assert [path.name for path in read.test] == ["val90.png"]
    read.check()


def test_the_manifest_tells_of_every_variant(data, tmp_path):
    write(data, tmp_path / "out", 2)
    told = manifest(tmp_path / "out")
    assert told["settings"]["mask"] == "gaussian-blobs"
    assert (told["settings"]["steps"], told["settings"]["seed"]) == (50, 0)
    assert told["errors"] == {}
    assert len(told["images"]) == 6
    row = told["images"][0]
    assert (row["source"], row["variant"], row["status"]) == (
        "images/train/train0.png",
        0,
        "written",
    )
    assert row["seed"] == seed_of(0, "images/train/train0.png", 0)
    assert (tmp_path / "out" / row["file"]).is_file()
    assert (tmp_path / "out" / row["labels"]).is_file()
    assert 0 < row["changed"] < 1
    assert row["psnr"] > 0
    assert row["nearest_source"] != row["source"]
    assert set(told["figures"]) == set(write(data, tmp_path / "out", 2).figures)
    with Image.open(tmp_path / "out" / "contact.png") as sheet:
        assert sheet.size == (4 * 192 + 3 * 4, 3 * 192 + 2 * 4)


def test_every_variant_of_every_image_has_its_own_seed():
    parts = [(seed, name, number) for seed in (0, 1) for name in "ab" for number in range(2)]
    seeds = [seed_of(*part) for part in parts]
    assert len(set(seeds)) == 8
    assert all(0 <= seed < 2**61 for seed in seeds)


@pytest.mark.parametrize("kind", ["grey", "colour", "grey 16", "colour 16"])
def test_what_is_kept_is_the_same_bit_by_bit(kind, tmp_path):
    pytest.importorskip("diffusers", reason="the extra `psld` is not installed")
    if kind == "colour 16":
        pytest.importorskip("cv2")
    data = sets.detection(tmp_path / "set", 1)
    path = sets.write_image(tmp_path / "set", "train", 0, kind=kind, size=(24, 40))
    method = sets.diffusion(sigma=0.5)
    write(data, tmp_path / "out", 1, method)
    old = read(path)
    new = read(tmp_path / "out" / "images" / "train" / "train0.png.v0.png")
    assert (old.shape, old.dtype) == (new.shape, new.dtype)
    keep = kept(method, old, "images/train/train0.png", 0, [[0.25, 0.25, 0.55, 0.55]])
    assert 0 < keep.mean() < 1
    assert (new[keep] == old[keep]).all()
    assert (new[~keep] != old[~keep]).mean() > 0.5
    rows, columns = slice(6, 13), slice(10, 22)
    assert keep[rows, columns].all()


def test_killed_at_any_moment_it_ends_with_the_same_files(data, whole, tmp_path, monkeypatch):
    out, draw = tmp_path / "out", random.Random(1)
    stops = [draw.randrange(12) for _ in range(9)]  # so often it may reach for the disk

    class Killed(BaseException):
        pass

    fsync, replace = os.fsync, Path.replace

    def counted(real):
        def call(*given):
            if not left:
                raise Killed
            left.pop()
            return real(*given)

        return call

    monkeypatch.setattr(os, "fsync", counted(fsync))
    monkeypatch.setattr(Path, "replace", counted(replace))
    monkeypatch.setattr(Path, "unlink", leave_temporary(Path.unlink))
    killed = 0
    for stop in stops:
        left = [None] * stop
        try:
            write(data, out)
        except Killed:
            killed += 1
        if killed == 4:  # what is left of a row that was being written
            with open(out / ".synth.rows", "ab") as file:
                file.write(b'{"source": "images/tr')
    assert killed == 9
    monkeypatch.undo()
    write(data, out)
    assert content(out) == whole


def leave_temporary(real):
    """A killed process does not clean up."""

    def unlink(path, missing_ok=False):
        if path.name.startswith(".") and sys.exc_info()[0] is not None:
            return None
        return real(path, missing_ok=missing_ok)

    return unlink


def test_killed_by_the_system(data, whole, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tests.synth.killed", str(data), str(out)]
    child = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    end = time.monotonic() + 60
    while len(list(out.glob("images/*/*.png"))) < 3 and time.monotonic() < end:
        time.sleep(0.001)
    child.kill()
    assert child.wait() == -9
    assert not (out / "data.yaml").exists()
    assert write(data, out).new < 9
    assert content(out) == whole


@pytest.mark.parametrize(
    "name", ["images/train/train1.png.v1.png", "labels/train/train0.png.v0.txt"]
)
def test_what_is_gone_is_made_again(data, whole, tmp_path, name):
    write(data, tmp_path / "out")
    (tmp_path / "out" / name).unlink()
    assert write(data, tmp_path / "out").new == 1
    assert content(tmp_path / "out") == whole


def test_variants_of_images_that_are_no_more_go(tmp_path):
    data = sets.detection(tmp_path / "set")
    write(data, tmp_path / "out", 1)
    for kind, form in (("images", "png"), ("labels", "txt")):
        folder = tmp_path / "set" / kind / "train"
        (folder / f"train0.{form}").rename(folder / f"renamed.{form}")
    (folder / "train1.txt").write_text("")
    with open(tmp_path / "out" / ".synth.rows", "a") as file:
        file.write('nothing of ours\n{"source": "../../set/images/train/train2", "variant": 0}\n')
    assert write(data, tmp_path / "out", 1).new == 1
    write(data, tmp_path / "fresh", 1)
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


def test_more_variants_are_added_and_fewer_refused(data, whole, tmp_path):
    out = tmp_path / "out"
    write(data, out, 1)
    done = []
    write(data, out, 3, progress=lambda *numbers: done.append(numbers))
    assert done == [(number, 9) for number in range(4, 10)]
    assert content(out) == whole
    with pytest.raises(ValueError, match="`variants` must be at least 3"):
        write(data, out, 2)


def test_variants_that_are_made_together(data, tmp_path):
    write(data, tmp_path / "a", 2)
    write(data, tmp_path / "b", 2, batch=2)
    for path in (tmp_path / "a" / "images").rglob("*.png"):
        other = read(tmp_path / "b" / path.relative_to(tmp_path / "a"))
        assert abs(read(path).astype(int) - other).max() <= 1
    with pytest.raises(ValueError, match="`variants` must be a multiple of `batch`, got 3 and 2"):
        write(data, tmp_path / "c", 3, batch=2)


@pytest.mark.parametrize(("ratio", "variants"), [(0.34, 1), (1.0, 3), (3, 9)])
def test_a_ratio(data, tmp_path, ratio, variants):
    out = tmp_path / "out"
    assert write(data, out, 3, ratio=ratio).trained == (3, variants)
    assert yaml.safe_load((out / "data.yaml").read_text())["train"] == [str(out / "train.txt")]
    lines = (out / "train.txt").read_text().splitlines()
    made = [line for line in lines if line.startswith(str(out))]
    assert (len(lines), len(made), len(set(made))) == (3 + variants, variants, variants)
    assert len({Path(line).name.partition(".")[0] for line in made}) == min(3, variants)
    assert len(open_data(out / "data.yaml").train) == 3 + variants
    assert write(data, out, 3).trained == (3, 9)
    assert not (out / "train.txt").exists()


def test_a_source_that_has_changed_is_varied_anew(tmp_path):
    data = sets.detection(tmp_path / "set")
    write(data, tmp_path / "out", 1)
    sets.write_image(tmp_path / "set", "train", 1, lines="0 0.5 0.5 0.2 0.2\n")
    assert write(data, tmp_path / "out", 1).new == 1
    label = tmp_path / "out" / "labels" / "train" / "train1.png.v0.txt"
    assert label.read_text() == "0 0.5 0.5 0.2 0.2\n"


def test_images_that_cannot_be_used(tmp_path):
    """Are left out and listed; the others are varied."""
    root = tmp_path / "set"
    data = sets.detection(root, 2, train=["images/train", "list.txt"])
    (root / "list.txt").write_text("./images/train/gone.png\n")
    sets.write_image(root, "train", 2).write_bytes(b"no image")
    path = sets.write_image(root, "train", 3)
    path.write_bytes(path.read_bytes()[:-200])
    sets.write_image(root, "train", 4, lines="0 0.5 0.5 0.2 1.2\n")
    sets.write_image(root, "train", 5, lines="2 0.5 0.5 0.2 0.2\n")
    sets.write_image(root, "train", 6, lines="")
    sets.write_image(root, "train", 7, lines="1 0.5 0.5 1 1\n")
    written = write(data, tmp_path / "out", 1)
    assert (written.images, written.empty, written.unchanged) == (2, 1, 1)
    reasons = {Path(name).stem: reason for name, reason in written.errors.items()}
    assert sorted(reasons) == ["gone", "train2", "train3", "train4", "train5"]
    assert reasons["gone"] == "is not there"
    assert reasons["train2"] == "cannot be read as an image (no known image format)"
    assert "cannot be read as an image" in reasons["train3"]
    assert "coordinates outside of [0, 1]" in reasons["train4"]
    assert "class 2 is not in 0..1" in reasons["train5"]
    assert written.trained == (4, 2)
    assert manifest(tmp_path / "out")["errors"] == dict(sorted(written.errors.items()))
    assert "5 of them, the first 3: images/train/gone.png: is not there" in written.summary()


@pytest.mark.parametrize("ratio", [None, 1])
def test_real_images_that_only_training_reads(tmp_path, ratio):
    """Stay in the training, and are counted."""
    root = tmp_path / "set"
    data = sets.detection(root, 1)
    for name in ("train7.jp2", "train8.heic"):
        shutil.copy(root / "images/train/train0.png", root / "images/train" / name)
    (root / "labels/train/train8.txt").write_text("9 0.5 0.5 0.2 0.2\n")
    far = sets.write_image(tmp_path / "far", "train", 2)
    (root / "images/train/link").symlink_to(far.parent)
    shutil.copytree(tmp_path / "far/labels/train", root / "labels/train/link")
    written = write(data, tmp_path / "out", 1, ratio=ratio)
    assert (written.trained, written.unread, written.images) == ((3, 3 if ratio else 2), 1, 2)
    assert [*written.errors] == ["images/train/train8.heic"]
    assert "1 images have no variants, as files of their kind" in written.summary()
    assert manifest(tmp_path / "out")["unread"] == ["images/train/train7.jp2"]
    if ratio:
        lines = (tmp_path / "out/train.txt").read_text().splitlines()
        names = ["link/train2.png", "train0.png", "train7.jp2"]
        assert lines[:3] == [str(root / "images/train" / name) for name in names]


def test_images_that_are_listed_more_than_once(tmp_path):
    """Keep their weight."""
    root = tmp_path / "set"
    data = sets.detection(root, 2, train=["list.txt", "images/train"])
    (root / "list.txt").write_text("./images/train/train0.png\n" * 3)
    written = write(data, tmp_path / "out", 2, ratio=0.4)
    assert (written.images, written.trained) == (4, (5, 2))
    lines = (tmp_path / "out/train.txt").read_text().splitlines()
    assert lines.count(str(root / "images/train/train0.png")) == 4
    assert len(lines) == 7
    assert write(data, tmp_path / "out", 2).trained == (5, 4)


def test_images_that_are_tested_on_too_are_told_of(data, tmp_path):
    assert not write(data, tmp_path / "apart", 1).careful
    data = sets.detection(tmp_path / "set", 2, val="images")
    summary = write(data, tmp_path / "out", 1).summary()
    assert summary.startswith("Careful: 2 of the training images are validated or tested on too, ")
    assert "such as images/train/train0.png. " in summary
    assert "take them out of one part of " in summary


def test_a_test_part_that_is_not_there(tmp_path):
    data = sets.detection(tmp_path / "set", 1, test="images/none")
    summary = write(data, tmp_path / "out", 1).summary()
    assert "Careful: `test` of " in summary
    assert "images/none'. It was left out of the new data.yaml." in summary
    assert "test" not in yaml.safe_load((tmp_path / "out/data.yaml").read_text())


def test_labels_with_the_mark_of_windows(tmp_path):
    data = sets.detection(tmp_path / "set", 1)
    sets.write_image(tmp_path / "set", "train", 0, lines="\ufeff" + sets.LINES[0])
    assert write(data, tmp_path / "out", 1).images == 1
    assert (tmp_path / "out/labels/train/train0.png.v0.txt").read_text() == sets.LINES[0]


def test_no_image_to_vary(tmp_path):
    data = sets.detection(tmp_path / "set", 0)
    sets.write_image(tmp_path / "set", "train", 0, lines="")
    sets.write_image(tmp_path / "set", "train", 1, lines="7 0.5 0.5 0.1 0.1")
    with pytest.raises(ValueError, match=r"1 show nothing, others cannot be used, .*class 7 is"):
        write(data, tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


def test_a_full_disk(data, whole, tmp_path, monkeypatch):
    out, left = tmp_path / "out", [None] * 12
    fsync = os.fsync

    def full(handle):
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left.pop()
        fsync(handle)

    monkeypatch.setattr(artifact.os, "fsync", full)
    says = rf"must be a folder that can be written to, got '{out}': No space left .*Make room and "
    with pytest.raises(OSError, match=says + "run the same again, which goes on"):
        write(data, out)
    images = list(out.glob("images/*/*"))
    assert 0 < len(images) < 9
    assert all(read(path).shape == (32, 32, 3) for path in images)
    monkeypatch.undo()
    write(data, out)
    assert content(out) == whole


def test_a_folder_that_may_not_be_written_to(data, tmp_path, monkeypatch):
    out, mkdir = tmp_path / "more" / "out", Path.mkdir

    def refuse(path, *args, **kwargs):
        if path in (out, out / "labels"):
            place = str(path.parent if path == out else path)
            raise PermissionError(errno.EACCES, "Permission denied", place)
        return mkdir(path, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", refuse)
    says = f"can be written to, got '{out}': Permission denied. Make it writable and run the same"
    with pytest.raises(PermissionError, match=says):
        write(data, out)


def test_what_may_not_be_read_is_not_called_the_folder_s_fault(data, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "model"))

    monkeypatch.setattr(variants, "_fill", refuse)
    with pytest.raises(PermissionError, match=r"denied: .*/model'"):
        write(data, tmp_path / "out")


def test_a_name_too_long_for_variants(tmp_path):
    """Is listed; the image stays in the training."""
    data = sets.detection(tmp_path / "set", 2)
    image, label = (data.parent / f"{name}/train/train1" for name in ("images/", "labels/"))
    image.with_suffix(".png").rename(image.with_name(f"{'x' * 245}.png"))
    label.with_suffix(".txt").rename(label.with_name(f"{'x' * 245}.txt"))
    written = write(data, tmp_path / "out", 1, ratio=1)
    assert (written.images, written.trained) == (1, (2, 2))
    (name, reason) = written.errors.popitem()
    assert Path(name).stem == "x" * 245
    assert reason == "has too long a name for variants: make it 230 bytes at most"
    longest = "y" * 226
    image.with_name(f"{'x' * 245}.png").rename(image.with_name(f"{longest}.png"))
    label.with_name(f"{'x' * 245}.txt").rename(label.with_name(f"{longest}.txt"))
    assert write(data, tmp_path / "out", 1).images == 2


def test_roboflow_s_folders(tmp_path):
    """train/images beside train/labels."""
    data = sets.detection(tmp_path / "set", 1)
    root = data.parent
    (root / "train").mkdir()
    shutil.move(root / "images" / "train", root / "train" / "images")
    shutil.move(root / "labels" / "train", root / "train" / "labels")
    data.write_text(data.read_text().replace("images/train", "../train/images"))
    write(data, tmp_path / "images" / "out", 1)
    out = tmp_path / "images" / "out"
    assert (out / "train" / "labels" / "train0.png.v0.txt").is_file()
    assert (out / "train" / "images" / "train0.png.v0.png").is_file()
    open_data(out / "data.yaml").check()


def test_outlines_are_kept(tmp_path):
    data = sets.detection(tmp_path / "set", 1)
    outline = "0 0.1 0.1 0.9 0.1 0.1 0.9\n"
    path = sets.write_image(tmp_path / "set", "train", 0, lines=outline)
    write(data, tmp_path / "out", 1, sets.method(protect="instances", mask="outside", grow=0.0))
    new = read(tmp_path / "out" / "images" / "train" / "train0.png.v0.png")
    same = (new == read(path)).all(axis=2)
    assert same[4:16, 4:14].all()
    assert not same[20:28, 20:28].any()
    label = tmp_path / "out" / "labels" / "train" / "train0.png.v0.txt"
    assert label.read_text() == outline


@pytest.mark.parametrize(("lost", "invented"), [(2, 0), (0, 1), (2, 1)])
def test_a_detector_rejects_variants(data, tmp_path, monkeypatch, lost, invented):
    pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
    (tmp_path / "weights.pt").write_bytes(b"")
    asked = []

    class Finder:
        def __init__(self, weights, classes, device):
            asked.append((weights, classes, device))

        def __call__(self, pixels):
            return any((pixels == sets.image(number)).all() for number in range(3))

        def known(self, real, boxes, labels):
            return torch.tensor([real or len(labels) == 1 or not lost] * len(labels))

        def invented(self, real, before, boxes, keep):
            assert (real, before, keep.shape) == (False, True, (32, 32))
            return invented if len(boxes) == 2 else 0

    monkeypatch.setattr("albu_learned.ultralytics.finding.Finder", Finder)
    out = tmp_path / "out"
    write(data, tmp_path / "out", 1)
    shutil.rmtree(out)
    written = write(data, out, 1, detector=tmp_path / "weights.pt", device="cpu")
    assert (written.images, written.rejected, len(asked)) == (2, 1, 1)
    assert asked[0] == (str(tmp_path / "weights.pt"), ("cell", "clot"), "cpu")
    assert not list(out.rglob("train1*"))
    rejected = [row for row in manifest(out)["images"] if row["status"] == "rejected"]
    found = [(row["source"], row["lost"], row["invented"]) for row in rejected]
    assert found == [("images/train/train1.png", lost, invented)]
    assert write(data, out, 1, detector=tmp_path / "weights.pt", device="cpu").new == 0


def test_who_does_the_work(data, tmp_path, monkeypatch):
    """What processes do is seen on a Ray cluster, in `test_variants_ray.py`."""
    asked = []
    monkeypatch.setattr(variants.engine, "run", lambda *given, **how: asked.append(how))
    write(data, tmp_path / "a", jobs=3, threads=None)
    write(data, tmp_path / "b", jobs=1, threads=2)
    usual = {"engine": "local", "gpus": 0, "address": None, "bar": False}
    assert asked == [usual | {"jobs": 3, "threads": 1}, usual | {"jobs": 1, "threads": 2}]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"seed": 1}, r"they differ in seed \(0, now 1\)"),
        ({"arguments": {"steps": 3}}, r"they differ in steps \(50, now 3\)"),
        ({"ratio": 4}, "`ratio` must be at most `variants`, 3, got 4"),
        ({"ratio": 0}, "`ratio` must be in"),
        ({"engine": "dask"}, "`engine` must be one of"),
        ({"device": "moon"}, "`device` must be"),
    ],
)
def test_what_does_not_fit_is_refused(data, tmp_path, how, message):
    out = tmp_path / "out"
    write(data, out, 1)
    before = content(out)
    with pytest.raises(ValueError, match=message):
        write(data, out, **how)
    assert content(out) == before


def test_other_methods_are_refused(data, tmp_path):
    al.ThetaWarp().save_pretrained(tmp_path / "warp")
    with pytest.raises(TypeError, match=r"got a ThetaWarp, which is of the kind 'warp'"):
        write(data, tmp_path / "out", 1, tmp_path / "warp")
    assert not (tmp_path / "out").exists()


def test_the_folder_of_an_artifact_or_of_a_pipeline(data, tmp_path):
    pytest.importorskip("diffusers", reason="the extra `psld` is not installed")
    method = sets.diffusion()
    write(data, tmp_path / "a", 1, method)
    method.save_pretrained(tmp_path / "method")
    write(data, tmp_path / "b", 1, tmp_path / "method")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    asked = {"steps": 2, "settings": {"guidance": 1, "polish": 1}, "tile": 32}
    write(data, tmp_path / "c", 1, tmp_path / "method" / "ldm", arguments=asked)
    assert content(tmp_path / "a") == content(tmp_path / "c")


def test_where_it_may_not_write(data, tmp_path):
    with pytest.raises(ValueError, match="`out` must not lie in a folder of real images"):
        write(data, data.parent / "images" / "train" / "out")
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileExistsError, match=r"`out` must be a new or empty folder.*'mine.txt'"):
        write(data, tmp_path)
    write(data, tmp_path / "out", 1)
    (tmp_path / "out" / "images" / "train" / "other.png").touch()
    with pytest.raises(FileExistsError, match=r"images/train/other\.png"):
        write(data, tmp_path / "out", 1)


def test_paths_that_leave_the_root(tmp_path):
    data = sets.detection(tmp_path / "set", 1, train="../../elsewhere")
    with pytest.raises(ValueError, match=r"`train` of .* must stay inside"):
        write(data, tmp_path / "out", 1)


def test_a_model_that_makes_no_numbers(data, tmp_path, monkeypatch):
    def nothing(self, images, keep, seed):
        return torch.full_like(images, torch.nan)

    monkeypatch.setattr(sets.Noise, "_made", nothing)
    with pytest.raises(
        ValueError, match="must make finite pixels, got NaN or infinity for 'images/"
    ):
        write(data, tmp_path / "out", 1)
    assert not list((tmp_path / "out").rglob("*.png"))


def test_an_image_comes_after_its_label(data, tmp_path, monkeypatch):
    """Without one, training would take it for an image that shows nothing."""
    add = Pool.add

    def checked(pool, name, made):
        add(pool, name, made)
        times = [os.stat(pool.out / kind / "train") for kind in ("labels", "images")]
        assert times[0].st_mtime_ns <= times[1].st_mtime_ns

    monkeypatch.setattr(Pool, "add", checked)
    write(data, tmp_path / "out", 1)
