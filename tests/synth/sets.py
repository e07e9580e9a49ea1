"""Small detection sets, and methods that vary them at once, for the tests of this folder."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import yaml

import albu_learned as al
from albu_learned.data import pictures
from albu_learned.synth.varying import seed_of

LINES = ["0 0.4 0.4 0.3 0.3\n", "1 0.7 0.3 0.25 0.25\n0 0.2 0.7 0.3 0.4\n"]


class Noise(al.PSLDInpaint):
    """Without a diffusion model: background is noise that depends on the seed alone."""

    prior = SimpleNamespace(cell=2)

    def identity(self):
        return "noise"

    def _made(self, images, keep, seed):
        rows = [torch.Generator().manual_seed(one) for one in seed.tolist()]
        return torch.stack([torch.rand(images.shape[1:], generator=row) for row in rows])

    def _lost(self, images):
        return torch.zeros_like(images)


def method(**arguments):
    return Noise("tests/noise", **arguments)  # as if it were of the hub: nothing to save


def diffusion(**arguments):
    """With a model of a few thousand numbers."""
    from tests.methods.psld import tiny

    given = {"steps": 2, "settings": {"guidance": 1, "polish": 1}, "tile": 32, **arguments}
    return al.PSLDInpaint(tiny.model("tiny"), **given)


def image(number, size=(32, 32), kind="colour"):
    """Noise, so that no pixel is like another, on a ramp."""
    dtype = np.uint16 if "16" in kind else np.uint8
    shape = size if "grey" in kind else (*size, 3)
    largest = np.iinfo(dtype).max
    ramp = np.linspace(0, largest // 2, size[1]).reshape(1, -1, *[1] * (len(shape) - 2))
    noise = np.random.default_rng(number).integers(0, largest // 2, shape)
    return (ramp + noise).astype(dtype)


def write_image(root, part, number, lines=None, **how):
    """An image and its labels."""
    path = root / "images" / part / f"{part}{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pictures.encoded(image(number, **how)))
    label = root / "labels" / part / f"{part}{number}.txt"
    label.parent.mkdir(parents=True, exist_ok=True)
    label.write_text(LINES[number % 2] if lines is None else lines)
    return path


def detection(root, count=3, **keys):
    """The data.yaml of so many images, and of one to validate on."""
    for number in range(count):
        write_image(root, "train", number)
    write_image(root, "val", 90)
    given = {"train": "images/train", "val": "images/val", "names": ["cell", "clot"], **keys}
    (root / "data.yaml").write_text(yaml.safe_dump(given))
    return root / "data.yaml"


class Fatal(Noise):
    """Kills the process that makes the first variant of the second image, once.

    Args:
        ldm: a file that tells that it has done so.
        batch: as ever.
    """

    def __init__(self, ldm, batch=1):
        super().__init__(ldm, batch=batch)

    def _made(self, images, keep, seed):
        if int(seed[0]) == seed_of(0, "images/train/train1.png", 0):
            with suppress(FileExistsError):
                Path(self.ldm).touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return super()._made(images, keep, seed)
