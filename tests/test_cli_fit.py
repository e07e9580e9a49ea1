"""The commands `fit` and `preview`: what they write, how a killed one goes on, what is refused."""

import functools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

pytest.importorskip("typer", reason="the extra `cli` is not installed")
pytest.importorskip("sklearn", reason="the extra `cli` is not installed")
import albu_learned as al
from albu_learned import cli, preview
from albu_learned.cli import fitting
from albu_learned.methods.theta_warp import method as theta_warp
from tests.data import cases
from tests.test_cli import failure, run

MAIN = "from albu_learned.cli import main; main()"
OPTIONS = ["--cells", "2,2", "--partners", "2", "--chunk", "12", "--device", "cpu"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """36 digits of three classes, as an .npz."""
    from sklearn.datasets import load_digits

    given = load_digits()
    rows = np.concatenate([np.flatnonzero(given.target == k)[:18] for k in range(3)])
    images = np.round(given.images[rows] * 255 / 16).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    names = np.array(["zero", "one", "two"])
    np.savez(path, x=images, y=given.target[rows], classes=names)
    return path


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    return cases.npz(
        tmp_path_factory.mktemp("waves") / "waves.npz", **cases.parts(make=cases.series)
    )


def test_a_killed_fit_goes_on_and_ends_as_one_in_python(digits, tmp_path):
    out = tmp_path / "warp"
    given = ["fit", "theta-warp", str(digits), "-o", str(out), *OPTIONS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", MAIN, *given], env=environment)
    first = out / ".fit" / "chunk00000.safetensors"
    end = time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert first.exists()
    assert not (out / "config.json").exists()
    done = run(*given)
    assert (done.exit_code, done.stderr) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "preview.png")
    ]
    whole = al.ThetaWarp.fit(digits, family=(2, 2), partners=2, chunk=12, progress=False)
    kept = al.load(out)
    assert torch.equal(kept.factor, whole.factor)
    assert (kept.about, kept.arguments()) == (whole.about, whole.arguments())
    assert kept.about.classes == ["zero", "one", "two"]
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "Fitting ThetaWarp to digits: 39 images to learn from, 3 classes. 15 others are left to be "
        "tested on, as `compare` leaves them: --test-share 0 learns from all."
    )
    assert whole.summary() in done.stdout
    assert "![What it does to samples](preview.png)" in (out / "README.md").read_text()
    assert shown(out / "preview.png").std() > 0.1


def shown(path):
    from matplotlib.image import imread

    return imread(path)


def test_options_reach_the_fit_and_the_preview_draws_series(waves, tmp_path, monkeypatch):
    seen, fit = [], al.ThetaWarp.fit

    @functools.wraps(fit)
    def watched(*given, **options):
        seen.append(options)
        return fit(*given, **options)

    monkeypatch.setattr(al.ThetaWarp, "fit", watched)
    out = tmp_path / "warp"
    words = "--cells 3 --pairs random --per-class --most 3 --seed 4 --scale 0.5 --padding zeros"
    result = run("fit", "ThetaWarp", str(waves), "-o", str(out), *words.split())
    assert result.exit_code == 0, result.output
    assert seen == [
        {
            "folder": out,
            "family": 3,
            "pairs": "random",
            "per_class": True,
            "most": 3,
            "seed": 4,
            "scale": 0.5,
            "padding": "zeros",
        }
    ]
    warp = al.load(out)
    assert (warp.distributions, warp.scale, warp.padding) == (3, 0.5, "zeros")
    before = (out / "preview.png").read_bytes()
    for arguments in ([], [str(waves), "--seed", "1"]):
        result = run("preview", str(out), *arguments, "-o", str(tmp_path / "new" / "a.png"))
        assert result.exit_code == 0, result.output
        assert shown(tmp_path / "new" / "a.png").std() > 0.05
    assert (out / "preview.png").read_bytes() == before


def test_a_share_of_0_learns_from_all(digits, tmp_path, monkeypatch):
    collected = []

    def watched(data, *_):
        collected.append((len(data.train), len(data.test)))
        raise KeyboardInterrupt  # nobody needs the fit itself

    monkeypatch.setattr(theta_warp, "collect", watched)
    given = ["fit", "theta-warp", str(digits), "-o", str(tmp_path / "w"), *OPTIONS]
    done = run(*given, "--test-share", "0")
    assert collected == [(54, 0)]
    assert done.stdout.splitlines()[0].endswith("54 images to learn from, 3 classes.")


def test_most_of_0_is_all(digits, tmp_path, monkeypatch):
    with np.load(digits) as given:
        images, labels = (np.concatenate([given[name]] * 9) for name in "xy")
    np.savez(tmp_path / "many.npz", x=images, y=labels)  # 162 a class, 113 of them to learn from
    collected, collect = [], theta_warp.collect

    def watched(*given):
        collected.append(collect(*given))
        raise KeyboardInterrupt  # nobody needs the fit itself

    monkeypatch.setattr(theta_warp, "collect", watched)
    given = ["fit", "theta-warp", str(tmp_path / "many.npz"), "-o", str(tmp_path / "w"), *OPTIONS]
    for most in ([], ["--most", "0"]):
        assert run(*given, *most).exit_code == 130
    assert [sample.labels.bincount().tolist() for sample in collected] == [[100] * 3, [113] * 3]


@pytest.mark.parametrize("box", ["outline", "mask"])
def test_boxes_of_a_detection_set_follow_the_warp(tmp_path, monkeypatch, box):
    (tmp_path / "yolo").mkdir()
    cases.yolo(tmp_path / "yolo")
    cases.picture(tmp_path / "yolo" / "images" / "train" / "train1.png", size=(4, 4))
    outline = "0 0.25 0.5 0.75 0.5 0.5 1.0\n"
    cases.label(tmp_path / "yolo", "train", 1, f"1 {cases.BOX}\n{outline}")
    al.ThetaWarp(std=0.1, box=box).save_pretrained(tmp_path / "w")
    drawn, save = [], preview.save

    def watched(figure, path):
        drawn.append(figure)
        return save(figure, path)

    monkeypatch.setattr(preview, "save", watched)
    result = run("preview", str(tmp_path / "w"), str(tmp_path / "yolo"))
    assert result.exit_code == 0, result.output
    (figure,) = drawn
    axes = np.array(figure.axes).reshape(4, 2)  # the third image shows no object
    height, width = axes[0, 0].images[0].get_array().shape[:2]
    assert (height, width) == (205, 256)  # 8 x 10 pixels, and so the other one
    boxes = [[patch.get_bbox().extents + 0.5 for patch in one.patches] for one in axes.flat]
    assert boxes[0][0] == pytest.approx(np.array([96, 0.375 * 205, 160, 0.625 * 205]))
    assert boxes[1][1] == pytest.approx(np.array([64, 102.5, 192, 205]))
    assert [len(row) for row in boxes] == [1, 2] * 4
    assert not np.allclose(boxes[2][0], boxes[0][0], atol=1)
    assert al.load(tmp_path / "w").box == box
    assert shown(tmp_path / "w" / "preview.png").std() > 0.1


def test_a_preview_needs_no_data_and_joins_the_card(tmp_path):
    drawn = []
    for number, method in enumerate((al.ThetaWarp(), al.ZetaMixup(num_classes=10))):
        method.save_pretrained(tmp_path / str(number))
        assert "preview.png" not in (tmp_path / str(number) / "README.md").read_text()
        result = run("preview", str(tmp_path / str(number)))
        assert result.stdout == f"Wrote {tmp_path / str(number) / 'preview.png'}\n"
        assert "(preview.png)" in (tmp_path / str(number) / "README.md").read_text()
        drawn.append(shown(tmp_path / str(number) / "preview.png"))
        assert type(al.load(tmp_path / str(number))) is type(method)
    assert all(picture.std() > 0.1 for picture in drawn)


def test_classes_of_the_data_go_by_name(digits, tmp_path, monkeypatch):
    warp = al.ThetaWarp(distributions=3)
    warp.about = al.About(classes=["two", "zero", "one"])
    warp.save_pretrained(tmp_path)
    seen = []
    samples = preview.samples

    def watched(method, batch, names, *given):
        seen.append([names[label] for label in batch.labels.tolist()])
        return samples(method, batch, names, *given)

    monkeypatch.setattr(preview, "samples", watched)
    assert run("preview", str(tmp_path), str(digits)).exit_code == 0
    assert seen == [["zero", "one", "two"] * 2 + ["zero", "one"]]


def test_stopping_says_how_to_go_on(digits, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("albu_learned.methods.theta_warp.fit.align", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main(["fit", "theta-warp", str(digits), "-o", str(tmp_path / "w"), *OPTIONS])
    printed = capsys.readouterr()
    assert ended.value.code == 130
    assert "the same command goes on from here" in printed.out
    assert (tmp_path / "w" / ".fit" / "facts.json").is_file()


def test_remarks_are_told(digits, tmp_path):
    with np.load(digits) as given:
        images, labels = given["x"].copy(), given["y"]
    images[labels == 1] = 9
    np.savez(tmp_path / "flat.npz", x=images, y=labels)
    result = run(
        "fit", "theta-warp", str(tmp_path / "flat.npz"), "-o", str(tmp_path / "w"), *OPTIONS
    )
    assert "Careful: No pair could be made in 1 of the classes ('1')" in result.stdout


FIT = ["fit", "theta-warp", "digits.npz", "-o", "w"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["fit", "zeta-mixup", "digits.npz", "-o", "w"],
            "needs no fit. Methods with a fit: class-vae, theta-w",
        ),
        (["fit", "PosteriorWarp", "digits.npz", "-o", "w"], "is made by PSTN.as_warp. Methods"),
        (
            ["fit", "theta-wrap", "digits.npz", "-o", "w"],
            "is no method. Methods with a fit: class-vae, ",
        ),
        (["fit", "theta-wrap", "digits.npz", "-o", "w"], "Did you mean `theta-warp`?"),
        (["fit", "theta-warp", "digits.npz"], "Missing option '--out'"),
        (["fit", "theta-warp", "none.npz", "-o", "w"], "none.npz', which does not exist"),
        ([*FIT, "--cells", "4;4"], "`cells` must be columns,rows such as 4,4"),
        ([*FIT, "--cells", "9,9"], "no more cells than the images have pixels"),
        ([*FIT, "--pairs", "nearest"], "`pairs` must be one of"),
        ([*FIT, "--partners", "0"], "Invalid value for '--partners'"),
        ([*FIT, "--scale", "-1"], "`scale` must be a number > 0"),
        ([*FIT, "--device", "moon"], "`device` must be one that torch has here"),
        ([*FIT[:-1], "mix"], "'mix', which holds a finished artifact. albu_learned.load('mix')"),
        (["fit", "theta-warp", "yolo", "-o", "w"], "which is for detection"),
        (["preview", "none"], "`folder` must be an artifact"),
        (["preview", "mix", "yolo"], "which is for detection"),
        (["preview", "by class", "yolo"], "which is for detection"),
        (["preview", "mix", "-o", "a.jpg"], "must end in .png"),
        (["preview", "paint"], "which is of the kind 'generate'"),
    ],
)
def test_what_the_user_did_wrong_is_one_line(
    capsys, arguments, message, digits, tmp_path, monkeypatch
):
    from tests import toys

    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.npz").symlink_to(digits)
    (tmp_path / "yolo").mkdir()
    cases.yolo(tmp_path / "yolo")
    al.ZetaMixup(num_classes=10).save_pretrained("mix")
    al.ThetaWarp(distributions=2).save_pretrained("by class")
    toys.BoxPaint().save_pretrained("paint")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.err.startswith("albu-learned: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert not (tmp_path / "w" / "config.json").exists()


def test_an_option_that_a_method_does_not_know_is_refused(capsys, digits, tmp_path, monkeypatch):
    class Plain(al.ZetaMixup):
        _base = True  # unregistered

        @classmethod
        def fit(cls, images, *, folder, seed, partners=3):
            raise AssertionError

    monkeypatch.setattr(fitting, "methods", lambda: {"PlainVAE": Plain})
    given = ["fit", "plain-vae", str(digits), "-o", str(tmp_path), "--partners", "2"]
    error, code = failure(capsys, *given, "--cells", "2,2", "--per-class")
    assert code == 2
    assert error == "albu-learned: The fit of plain-vae has no --cells, --per-class.\n"


@pytest.mark.parametrize(
    ("name", "written"),
    [("ThetaWarp", "theta-warp"), ("ClassVAE", "class-vae"), ("PSLDInpaint", "psldinpaint")],
)
def test_names_as_the_command_line_writes_them(name, written):
    assert fitting._written(name) == written
