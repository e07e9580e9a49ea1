"""Generated images as a folder: what is in it, how a killed run goes on, what is refused."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("PIL", reason="the extra `cli` is not installed")
from PIL import Image

import albu_learned as al
from albu_learned import resample, synth
from albu_learned.fitting import seed_for
from albu_learned.lock import alone
from albu_learned.synth import classes as writing
from albu_learned.synth.names import folders_of
from albu_learned.synth.store import Row, Store
from tests import toys
from tests.synth import cases

# Kills one process after another, each as soon as there are so many images, and a moment later.
KILL = """
import os, signal, sys, time
from pathlib import Path
from albu_learned.synth import write_classes

artifact, out, *points = sys.argv[1:]
for point in points:
    images, later = point.split("+")
    child = os.fork()
    if child == 0:
        write_classes(artifact, out, 100, seed=3, reject=0.2, progress=False)
        os._exit(0)
    end = time.monotonic() + 5
    while len(list(Path(out).glob("*/*.png"))) < int(images) and time.monotonic() < end:
        time.sleep(0.0005)
    time.sleep(float(later))
    os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1])
"""


@pytest.fixture(scope="module")
def vae():
    return cases.vae()


def content(folder):
    """Every file below a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pixels(path):
    with Image.open(path) as picture:
        return picture.mode, np.array(picture)


def lines_of(folder):
    with open(folder / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def write(vae, out, per_class=5, **how):
    return synth.write_classes(vae, out, per_class, progress=False, **how)


def test_a_folder_of_images_for_every_class(vae, tmp_path):
    written = write(vae, tmp_path / "new" / "out")
    assert (written.images, written.new, written.classes) == (15, 15, ("nil", "one", "two"))
    lines = lines_of(written.out)
    assert [line["file"] for line in lines[4:6]] == ["nil/nil_000004.png", "one/one_000000.png"]
    assert lines[4] == {
        **{"file": "nil/nil_000004.png", "class": "nil", "seed": "0", "row": "4"},
        **{"tries": "1", "doubtful": ""},
    }
    there = {path for path in content(written.out) if path.endswith(".png")}
    assert there == {line["file"] for line in lines}
    mode, grey = pixels(written.out / "two" / "two_000001.png")
    assert (mode, grey.shape, grey.dtype) == ("L", (8, 8), np.uint8)
    generator = torch.Generator().manual_seed(seed_for("0/2/0/0"))
    made = vae.sample(torch.full((writing.BLOCK,), 2), generator=generator)[1, 0]
    assert np.array_equal(grey, resample.to_dtype(made, torch.uint8).numpy())


def test_the_folder_is_one_that_open_data_reads(vae, tmp_path):
    write(vae, tmp_path)
    opened = al.data.open_data(tmp_path, image_size=8)
    assert opened.classes == ("nil", "one", "two")
    assert len(opened.train) + len(opened.test) == 15


def test_colours_are_written_as_they_are(tmp_path):
    wide = al.ClassVAE((3, 8, 12), num_classes=2)  # unfitted: without class names
    with torch.no_grad():
        wide.networks.base[1, 0] = 4.0  # red
    write(wide, tmp_path, 1)
    mode, red = pixels(tmp_path / "1" / "1_000000.png")
    assert (mode, red.shape) == ("RGB", (8, 12, 3))
    assert red[..., 0].mean() > red[..., 1].mean() + 50


def test_numbers_keep_their_order_as_names(tmp_path):
    write(al.ClassVAE((1, 8, 8), num_classes=11), tmp_path, 1)
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert folders == [f"{number:02d}" for number in range(11)]


def test_an_image_depends_on_seed_class_and_number_alone(vae, tmp_path):
    write(vae, tmp_path / "more", 70, seed=1)
    write(vae, tmp_path / "few", 3, seed=1)
    write(vae, tmp_path / "other", 3, seed=2)
    more, few, other = (content(tmp_path / name) for name in ("more", "few", "other"))
    pictures = [name for name in few if name.endswith(".png")]
    assert len(pictures) == 9
    assert all(few[name] == more[name] for name in pictures)
    assert all(few[name] != other[name] for name in pictures)
    assert len({more[name] for name in more if name.startswith("nil/")}) == 70


def test_more_of_each_class_are_added_to_those_there(vae, tmp_path):
    write(vae, tmp_path / "a", 10, reject=0.2)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").glob("*/*.png")}
    written = write(vae, tmp_path / "a", 70, reject=0.2)
    assert (written.images, written.new) == (210, 180)
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    write(vae, tmp_path / "b", 70, reject=0.2)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert write(vae, tmp_path / "a", 70, reject=0.2).new == 0
    with pytest.raises(ValueError, match=r"`per_class` must be at least 70 .*, got 69"):
        write(vae, tmp_path / "a", 69, reject=0.2)


def test_a_killed_run_ends_with_the_same_files(vae, tmp_path):
    vae.save_pretrained(tmp_path / "vae")
    write(tmp_path / "vae", tmp_path / "whole", 100, seed=3, reject=0.2)
    whole, out = content(tmp_path / "whole"), tmp_path / "out"
    chance = random.Random(0)
    images = sorted(chance.randrange(250) for _ in range(5))
    process = subprocess.run(
        [sys.executable, "-c", KILL, str(tmp_path / "vae"), str(out)]
        + [f"{number}+{chance.random() / 100:.4f}" for number in images],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(al.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.stdout.split() == [str(int(signal.SIGKILL))] * 5, process.stderr
    assert images[-1] <= len(list(out.glob("*/*.png"))) < 300
    assert all(pixels(path)[0] == "L" for path in out.glob("*/*.png"))
    write(tmp_path / "vae", out, 100, seed=3, reject=0.2)
    assert content(out) == whole


@pytest.mark.parametrize("stop", range(6))
def test_a_run_that_is_stopped_anywhere_goes_on(vae, tmp_path, monkeypatch, stop):
    """Stopped after so many writes, each of which may leave a temporary file behind."""
    write(vae, tmp_path / "whole", 66)
    whole = content(tmp_path / "whole")
    left, out, real = [stop * 37], tmp_path / "out", Path.replace

    def replace(self, target):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # as if killed
        with pytest.raises(KeyboardInterrupt):
            write(vae, out, 66)
    if (out / ".synth.rows").is_file() and stop % 2:
        with open(out / ".synth.rows", "ab") as file:
            file.write(b"0,6")  # a line that was cut off
    written = write(vae, out, 66)
    assert content(out) == whole
    assert written.images == 198


def test_what_was_lost_is_made_again(vae, tmp_path):
    write(vae, tmp_path, 5)
    whole = content(tmp_path)
    (tmp_path / "one" / "one_000003.png").unlink()
    shutil.rmtree(tmp_path / "two")
    assert write(vae, tmp_path, 5).new == 6
    assert content(tmp_path) == whole
    (tmp_path / "manifest.csv").unlink()
    assert write(vae, tmp_path, 5).new == 15
    assert content(tmp_path) == whole
    (tmp_path / "manifest.csv").write_text("file,row\nnil/nil_000000.png,0\n")
    with pytest.raises(ValueError, match=r"a line of it cannot be read\. Delete it"):
        write(vae, tmp_path, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, r"differ in seed \(0, now 1\)"),
        ({"reject": 0.1}, r"differ in reject \(None, now 0.1\)"),
        ({"sampler": "mixture"}, r"differ in sampler \(prior, now mixture\)"),
        ({"temperature": 0.5}, r"differ in temperature \(1.0, now 0.5\)"),
    ],
)
def test_other_settings_are_refused(vae, tmp_path, changes, message):
    write(vae, tmp_path, 2)
    before = content(tmp_path)
    with pytest.raises(ValueError, match=f"`out` must be new, .*{message}"):
        write(vae, tmp_path, 2, **changes)
    assert content(tmp_path) == before


def test_another_artifact_is_refused(vae, tmp_path):
    write(vae, tmp_path, 2)
    other = vae.with_arguments()
    with torch.no_grad():
        other.table.mean[0, 0] += 1e-3
    with pytest.raises(ValueError, match="differ in artifact"):
        write(other, tmp_path, 2)
    other = vae.with_arguments()
    other.about = al.About(classes=["nil", "one", "three"])
    with pytest.raises(ValueError, match="differ in artifact"):
        write(other, tmp_path, 2)


@pytest.mark.parametrize("name", ["notes.txt", "nil/mine.png", "four/four_000000.png", "empty/"])
@pytest.mark.parametrize("begun", [False, True])
def test_foreign_files_are_refused(vae, tmp_path, name, begun):
    if begun:
        write(vae, tmp_path, 2)
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.parent.mkdir(exist_ok=True)
    if not name.endswith("/"):
        path.write_text("mine")
    before = content(tmp_path)
    with pytest.raises(FileExistsError, match=f"`out` must be .*'{name.rstrip('/')}"):
        write(vae, tmp_path, 2)
    assert content(tmp_path) == before


def test_a_number_beyond_those_that_were_asked_for_is_foreign(vae, tmp_path):
    write(vae, tmp_path, 2)
    shutil.copy(tmp_path / "nil" / "nil_000001.png", tmp_path / "nil" / "nil_000002.png")
    with pytest.raises(FileExistsError, match=r"'nil/nil_000002\.png'"):
        write(vae, tmp_path, 3)


def test_hidden_files_and_a_file_in_the_place(vae, tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    assert write(vae, tmp_path, 1).images == 3
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="`out` must be a folder"):
        write(vae, tmp_path / "file" / "out", 1)


def test_a_link_that_leads_outside_is_not_followed(vae, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    write(vae, tmp_path / "out", 1)
    shutil.rmtree(tmp_path / "out" / "nil")
    (tmp_path / "out" / "nil").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="with 'nil'"):
        write(vae, tmp_path / "out", 1)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_two_at_once_are_refused(vae, tmp_path):
    write(vae, tmp_path, 1)
    with (
        alone(tmp_path, tmp_path / ".synth.lock", "writing images"),
        pytest.raises(BlockingIOError, match=r"one process at a time.*is writing images"),
    ):
        write(vae, tmp_path, 2)


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (["cat", "T-shirt", "ähre", "a b"], ["cat", "T-shirt", "ähre", "a b"]),
        (["../../etc", "/root", "a/b", "a\\b"], ["_._.._etc", "_root", "a_b", "a_b_"]),
        (["", ".", "..", ".git"], ["_", "__", "_.", "_git"]),
        (["a_b", "a/b"], ["a_b", "a_b_"]),
        (["a/b", "a_b"], ["a_b_", "a_b"]),  # what needs no change keeps its name
        (["Cat", "cat"], ["Cat", "cat_"]),
        (["cat", "Cat"], ["cat", "Cat_"]),
        (["nul", "aux.png", "end.", "x\ny\0"], ["nul_", "aux.png_", "end_", "x_y_"]),
    ],
)
def test_every_class_has_a_folder_of_its_own(classes, folders):
    found = folders_of(classes)
    assert len({name.casefold() for name in found}) == len(classes)
    assert not any(set(name) & set("/\\\0\n") or name.startswith(".") for name in found)
    if ".." not in classes and "../../etc" not in classes:
        assert found == folders


def test_long_names_leave_room_for_a_number():
    first, second = folders_of(["é" * 300, "é" * 299])
    assert first != second
    assert len(f".{second}_000000.png.12345678".encode()) < 255


def test_names_that_cannot_name_folders_stay_inside(vae, tmp_path):
    named = vae.with_arguments()
    named.about = al.About(classes=["../up", "T-shirt/top", '"two", too'])
    written = write(named, tmp_path / "out", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert written.renamed["T-shirt/top"] == "T-shirt_top"
    assert "'T-shirt/top' as 'T-shirt_top'" in written.summary()
    lines = lines_of(tmp_path / "out")
    assert [line["class"] for line in lines[::2]] == named.about.classes
    assert all((tmp_path / "out" / line["file"]).is_file() for line in lines)
    assert write(named, tmp_path / "out", 2).new == 0


def test_classes_that_were_never_seen_are_left_out_and_named(tmp_path):
    images, labels = cases.digits()
    part = al.ClassVAE.fit(
        images[labels != 1], labels[labels != 1], classes=["nil", "one", "two"], **cases.QUICK
    )
    written = write(part, tmp_path, 2)
    assert (written.classes, written.skipped) == (("nil", "two"), ("one",))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["nil", "two"]
    assert "nothing was made of 'one', which the fit has not seen" in written.summary()


class Doubtful(toys.ClassPicture):
    """Doubts what is dark; brightness is uniform. It has what a `ClassVAE` has and no more."""

    def __init__(self, num_classes=2, reject=None):
        super().__init__(num_classes, channels=1)
        self.reject = reject
        with torch.no_grad():
            self.picture.fill_(1.0)

    def sample(self, labels, *, generator=None):
        return self.pixels(None, self.planned(al.Batch(labels=labels), generator))

    def doubtful(self, images, labels, reject=None):
        return images.amax(dim=(1, 2, 3)) < reject


def test_what_the_filter_doubts_is_drawn_again_and_counted(tmp_path):
    written = write(Doubtful(), tmp_path / "a", 300, reject=0.25)
    lines = lines_of(tmp_path / "a")
    assert all(pixels(tmp_path / "a" / line["file"])[1].min() > 62 for line in lines)
    tries = np.array([int(line["tries"]) for line in lines])
    assert {line["doubtful"] for line in lines} == {"0"}
    assert written.rejected == pytest.approx(1 - 600 / tries.sum())
    assert written.rejected == pytest.approx(0.25, abs=0.06)  # 3 deviations
    assert "The filter rejected 2" in written.summary()
    own = write(Doubtful(reject=0.25), tmp_path / "b", 300)  # the artifact's own filter
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert own.reject == 0.25
    never = write(Doubtful(), tmp_path / "c", 300)
    assert (never.reject, never.rejected) == (None, 0)
    assert "The filter" not in never.summary()


def test_what_stays_doubtful_is_said(tmp_path):
    written = write(Doubtful(), tmp_path, 4, reject=0.99)
    lines = lines_of(tmp_path)
    assert written.doubtful == sum(line["doubtful"] == "1" for line in lines) > 0
    assert {line["tries"] for line in lines if line["doubtful"] == "1"} == {"10"}
    draws = sum(int(line["tries"]) for line in lines)
    assert written.rejected == pytest.approx((draws - 8 + written.doubtful) / draws)
    assert f"{written.doubtful} were still doubtful after 10 draws" in written.summary()


@pytest.mark.parametrize(
    ("method", "how", "message"),
    [
        (al.ThetaWarp, {}, "makes images of classes, such as a ClassVAE, got a ThetaWarp.*'warp'"),
        (al.ZetaMixup, {}, "got a ZetaMixup, which is of the kind 'mix'"),
        (toys.BoxPaint, {}, "got a BoxPaint, which is of the kind 'generate'"),
        (Doubtful, {"sampler": "prior"}, "`sampler` must be left out for a Doubtful"),
        (lambda: al.ClassVAE((1, 8, 8), 2), {"reject": 0.1}, "`codes` must be the number of real"),
        (lambda: al.ClassVAE((1, 8, 8), 2), {"seed": -1}, "`seed` must be an integer >= 0"),
        (lambda: al.ClassVAE((1, 8, 8), 2), {"device": "moon"}, "`device` must be one that torch"),
        (lambda: al.ClassVAE((2, 8, 8), 2), {}, "must make images of 1 or 3 channels"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, method, how, message):
    with pytest.raises((ValueError, TypeError), match=message):
        write(method(), tmp_path / "out", 1, **how)


def test_the_method_itself_stays_as_it_was(vae, tmp_path):
    state, training = {k: v.clone() for k, v in vae.state_dict().items()}, vae.training
    write(vae, tmp_path, 1, temperature=0.5, reject=0.1)
    assert (vae.temperature, vae.reject, vae.training) == (1.0, None, training)
    assert all(torch.equal(state[name], value) for name, value in vae.state_dict().items())


def test_progress_counts_what_is_there_already(vae, tmp_path):
    write(vae, tmp_path, 65)
    told = []
    synth.write_classes(vae, tmp_path, 130, progress=lambda *numbers: told.append(numbers))
    assert told[0] == (195 + 63, 390)
    assert told[-1] == (390, 390)


def test_lines_of_rows_are_forgotten_with_their_images(tmp_path):
    store = Store(tmp_path, ["a"], ["a"], 0)
    store.add([Row(0, 0, 1, None), Row(0, 1, 2, True)])
    (tmp_path / "a").mkdir()
    store.path(0, 1).write_bytes(b"")
    again = Store(tmp_path, ["a"], ["a"], 0)
    again.read()
    assert again.rows == {(0, 1): Row(0, 1, 2, True)}
