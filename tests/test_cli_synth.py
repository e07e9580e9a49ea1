"""The command `synth`; and `fit` and `preview` of a generator."""

import functools

import numpy as np
import pytest
import torch

pytest.importorskip("typer", reason="the extra `cli` is not installed")
pytest.importorskip("sklearn", reason="the extra `cli` is not installed")
import albu_learned as al
from albu_learned import cli, preview, synth
from tests.synth import cases, sets
from tests.test_cli import failure, run

QUICK = ["--network", "dense", "--steps", "50", "--no-expect", "--validation", "0"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """60 digits of three classes, as an .npz."""
    images, labels = cases.digits()
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    stored = (images[:, 0] * 255).round().to(torch.uint8).numpy()
    np.savez(path, x=stored, y=labels.numpy(), classes=np.array(["nil", "one", "two"]))
    return path


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    cases.vae().save_pretrained(folder)
    return folder


def fit(digits, out, *options):
    return run("fit", "class-vae", str(digits), "-o", str(out), *QUICK, *options)


def watched(monkeypatch):
    """What pictures are drawn of."""
    seen, samples = [], preview.samples

    def draw(method, batch, names, *given):
        seen.append((batch, names))
        return samples(method, batch, names, *given)

    monkeypatch.setattr(preview, "samples", draw)
    return seen


def test_a_fit_ends_with_a_picture_and_a_summary(digits, tmp_path, monkeypatch):
    drawn = watched(monkeypatch)
    result = fit(digits, tmp_path / "v", "--seed", "3")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == (
        "Fitting ClassVAE to digits: 42 images to learn from, 3 classes. 18 others are left to be "
        "tested on, as `compare` leaves them: --test-share 0 learns from all."
    )
    vae = al.load(tmp_path / "v")
    assert vae.summary() in result.stdout
    assert "![What it does to samples](preview.png)" in (tmp_path / "v" / "README.md").read_text()
    how = {"network": "dense", "steps": 50, "expect": False, "validation": 0.0, "progress": False}
    same = al.ClassVAE.fit(digits, seed=3, **how)
    assert all(torch.equal(vae.state_dict()[k], value) for k, value in same.state_dict().items())
    ((batch, names),) = drawn
    assert (len(batch), names) == (42, ["nil", "one", "two"])  # all, to find the nearest among


def test_options_reach_the_fit(digits, tmp_path, monkeypatch):
    seen, real = [], al.ClassVAE.fit

    @functools.wraps(real)
    def watched(images, **options):
        seen.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(al.ClassVAE, "fit", watched)
    words = "--latent 3 --width 16 --likelihood gaussian --batch 8 --learning-rate 0.01 "
    words += "--conditional --few merge --sampler mixture --temperature 0.7 --reject 0.1 "
    words += "--share 0.2 --precision bfloat16 --most 0"
    result = fit(digits, tmp_path / "v", *words.split())
    assert result.exit_code == 130, result.output
    assert seen == [
        {
            **{"folder": tmp_path / "v", "seed": 0, "network": "dense", "steps": 50},
            **{"expect": False, "validation": 0.0, "latent": 3, "width": 16},
            **{"likelihood": "gaussian", "batch": 8, "learning_rate": 0.01, "conditional": True},
            **{"few": "merge", "sampler": "mixture", "temperature": 0.7, "reject": 0.1},
            **{"share": 0.2, "precision": "bfloat16", "most": None},
        }
    ]


def test_every_option_of_a_class_vae_is_one_that_its_fit_knows(digits, tmp_path):
    error = fit(digits, tmp_path / "v", "--cells", "4,4").exception
    assert "The fit of class-vae has no --cells." in str(error)
    given = ["fit", "theta-warp", str(digits), "-o", str(tmp_path / "w"), "--no-expect"]
    assert "The fit of theta-warp has no --expect." in str(run(*given).exception)


def test_too_large_images_and_the_remedy(digits, tmp_path, capsys):
    given = ["fit", "class-vae", str(digits), "-o", str(tmp_path / "v")]
    error, code = failure_after(capsys, *given, "--image-size", "200")
    assert code == 2
    assert "sides of 8 to 128 pixels" in error
    assert error.endswith("Here that is --image-size, such as --image-size 64.\n")
    result = fit(digits, tmp_path / "w", "--image-size", "10")
    assert result.exit_code == 0, result.output
    assert al.load(tmp_path / "w").shape == [1, 10, 10]


def failure_after(capsys, *arguments):
    """As `failure`, of a command that has said something before."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    return printed.err, ended.value.code


def test_stopping_a_fit_says_how_to_go_on(digits, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("albu_learned.methods.class_vae.fit.train", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main(["fit", "class-vae", str(digits), "-o", str(tmp_path / "v"), *QUICK])
    assert ended.value.code == 130
    assert "the same command goes on from here" in capsys.readouterr().out


def test_a_preview_with_and_without_data(digits, vae, tmp_path, monkeypatch):
    drawn = watched(monkeypatch)
    for data in ([], [str(digits)]):
        result = run("preview", str(vae), *data, "-o", str(tmp_path / "a.png"))
        assert result.exit_code == 0, result.output
        assert (tmp_path / "a.png").stat().st_size > 5000
    (labels, _), (images, names) = drawn
    assert labels.images is None
    assert labels.labels.tolist() == [0, 1, 2]
    assert len(images.images) == 42
    assert names == ["nil", "one", "two"]


def test_classes_of_the_data_go_by_name(digits, tmp_path, monkeypatch):
    turned = cases.vae()
    turned.about = al.About(classes=["two", "nil", "one"], image_size=[8, 8], channels=1)
    turned.save_pretrained(tmp_path)
    drawn = watched(monkeypatch)
    assert run("preview", str(tmp_path), str(digits)).exit_code == 0
    ((batch, names),) = drawn
    with np.load(digits) as given:
        nils = {image.tobytes() for image in given["x"][given["y"] == 0]}
    shown = batch.images[batch.labels == names.index("nil"), 0].numpy()
    assert len(shown) == 14
    assert all(image.tobytes() in nils for image in shown)


def test_data_of_none_of_its_classes_are_refused(digits, tmp_path):
    high = al.ClassVAE((1, 8, 8), num_classes=5, members=[[4]], network="dense")
    high.save_pretrained(tmp_path)
    error = run("preview", str(tmp_path), str(digits)).exception
    assert "`data` must have images of a class that the ClassVAE makes, got nil, one" in str(error)


def test_images_are_written_and_what_was_said(vae, tmp_path):
    given = ["synth", str(vae), "-o", str(tmp_path / "out"), "--per-class", "3"]
    given += ["--seed", "5", "--reject", "0.2", "--sampler", "mixture", "--temperature", "0.9"]
    result = run(*given, "--device", "cpu")
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"Wrote 9 images of 3 classes to {tmp_path / 'out'}, 9 of them now.")
    assert "The filter rejected" in last
    assert f"ImageFolder('{tmp_path / 'out'}')" in last
    how = {"seed": 5, "reject": 0.2, "sampler": "mixture", "temperature": 0.9}
    synth.write_classes(vae, tmp_path / "same", 3, progress=False, **how)
    for path in (tmp_path / "same").rglob("*.*"):
        other = tmp_path / "out" / path.relative_to(tmp_path / "same")
        assert path.read_bytes() == other.read_bytes()
    assert "9 images of 3 classes" in run(*given).stdout
    assert ", 0 of them now." in run(*given).stdout


def test_stopping_says_how_to_go_on(vae, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("albu_learned.synth.classes._write", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main(["synth", str(vae), "-o", str(tmp_path / "out"), "--per-class", "3"])
    printed = capsys.readouterr()
    assert ended.value.code == 130
    assert f"kept in {tmp_path / 'out'}: the same command goes on from here" in printed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["synth", "vae", "-o", "out"], "Missing option '--per-class'"),
        (["synth", "vae", "--per-class", "3"], "Missing option '--out'"),
        (["synth", "vae", "-o", "out", "--per-class", "0"], "Invalid value for '--per-class'"),
        (["synth", "none", "-o", "out", "--per-class", "3"], "`folder` must be an artifact"),
        (["synth", "warp", "-o", "out", "--per-class", "3"], "got a ThetaWarp, which is of the"),
        (["synth", "mix", "-o", "out", "--per-class", "3"], "got a ZetaMixup, which is of the"),
        (["synth", "vae", "-o", "mix", "--per-class", "3"], "`out` must be a new or empty folder"),
        (["synth", "vae", "-o", "o", "--per-class", "3", "--reject", "1"], "`reject` must be in"),
        (
            ["synth", "vae", "-o", "o", "--per-class", "3", "--sampler", "x"],
            "`sampler` must be one",
        ),
        (["synth", "vae", "-o", "o", "--per-class", "3", "--device", "moon"], "`device` must be"),
        (
            ["synth", "vae", "-o", "o", "--per-class", "3", "--ratio", "1"],
            "--ratio must be left out for the artifact of a generator of classes, got 1.0",
        ),
        (
            ["synth", "d.yaml", "-o", "o"],
            "Missing option '--artifact', which a detection set needs",
        ),
        (
            ["synth", "d.yaml", "-o", "o", "--artifact", "vae", "--per-class", "3"],
            "--per-class must be left out for a detection set, got 3",
        ),
        (["synth", "d.yaml", "-o", "o", "--artifact", "vae"], "there is no"),
        (["synth", "set", "-o", "o", "--artifact", "vae"], "got a ClassVAE"),
        (["synth", "set", "-o", "o", "--artifact", "none"], "`folder` must be an artifact"),
        (
            ["synth", "set", "-o", "o", "--artifact", "pool", "--engine", "x"],
            "`engine` must be one",
        ),
        (["synth", "set", "-o", "o", "--artifact", "pool", "--mask", "x"], "`mask` must be one of"),
        (
            ["synth", "set", "-o", "o", "--artifact", "pool", "--detector", "x"],
            "`detector` must be",
        ),
    ],
)
def test_what_the_user_did_wrong_is_one_line(
    capsys, arguments, message, vae, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vae").symlink_to(vae)
    al.ZetaMixup(num_classes=10).save_pretrained("mix")
    al.ThetaWarp().save_pretrained("warp")
    sets.method().save_pretrained("pool")
    sets.detection(tmp_path / "set", 1)
    error, code = failure(capsys, *arguments)
    assert code == 2
    assert error.startswith("albu-learned: ")
    assert message in error
    assert not (tmp_path / "o").exists()


def test_variants_of_a_detection_set(tmp_path):
    data = sets.detection(tmp_path / "set", 2)
    sets.method().save_pretrained(tmp_path / "method")
    given = ["synth", str(data), "--artifact", str(tmp_path / "method"), "-o"]
    options = ["--ratio", "0.5", "--seed", "4", "--mask", "outside", "--threads", "1"]
    result = run(*given, str(tmp_path / "out"), *options)
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"Wrote 4 variants to {tmp_path / 'out'}, 4 of them now.")
    assert "2 real images and 1 variants" in last
    how = {"seed": 4, "arguments": {"mask": "outside"}, "threads": 1, "progress": False}
    synth.write_variants(data, sets.method(), tmp_path / "same", 2, **how)
    for path in (tmp_path / "same" / "images").rglob("*.png"):
        other = tmp_path / "out" / path.relative_to(tmp_path / "same")
        assert path.read_bytes() == other.read_bytes()


def test_the_exit_code_tells_of_broken_images(tmp_path, capsys):
    data = sets.detection(tmp_path / "set", 2)
    sets.write_image(tmp_path / "set", "train", 1).write_bytes(b"no image")
    sets.method().save_pretrained(tmp_path / "method")
    given = ["synth", str(data), "--artifact", str(tmp_path / "method"), "-o"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*given, str(tmp_path / "out"), "--variants", "1"])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "images were left out, images/train/train1.png: cannot be read as an image" in said
    assert "Wrote 1 variants" in said
