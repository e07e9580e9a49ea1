"""The command `fit latent-diffusion`: what it writes, and what it refuses."""

import pytest

pytest.importorskip("typer", reason="the extra `cli` is not installed")
pytest.importorskip("diffusers", reason="the extra `psld` is not installed")
import albu_learned as al
from albu_learned.methods.psld import fit, networks
from tests.data import cases
from tests.test_cli import failure, run

OPTIONS = ["--image-size", "8", "--width", "4", "--latent", "2", "--batch", "2", "--device", "cpu"]


@pytest.fixture
def images(tmp_path):
    for i in range(5):
        cases.picture(tmp_path / "images" / f"{i}.png", (40 * i, 9, 9), (12, 10))
    return tmp_path / "images"


def test_a_model_of_a_folder_of_images(images, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "LEVELS", 1)
    for name in ("_LOOKED", "_MADE", "_MEASURED", "_SAMPLING"):
        monkeypatch.setattr(fit, name, 2)
    out = tmp_path / "ldm"
    steps = ["--steps", "1", "--autoencoder-steps", "1", "--flip"]
    done = run("fit", "latent-diffusion", str(images), "-o", str(out), *OPTIONS, *steps)
    assert done.exit_code == 0, done.output
    assert "5 images; 1 were held out" in done.output
    assert "PSLDInpaint(" in done.output
    assert (out / "preview.png").is_file()
    assert al.LatentDiffusion.from_pretrained(out).side == 8


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--groups", "g.csv"], "The fit of latent-diffusion has no --groups."),
        (["--background"], "`background` must be False for images without boxes, got True."),
        (["--image-size", "16"], "Leave these images out. Here that is --image-size."),
    ],
)
def test_what_is_refused(images, tmp_path, capsys, more, says):
    given = ["fit", "latent-diffusion", str(images), "-o", str(tmp_path / "ldm")]
    printed, code = failure(capsys, *given, *OPTIONS, *more)
    assert says in printed
    assert code == 2
