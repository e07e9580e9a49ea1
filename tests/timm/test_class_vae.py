"""ClassVAE in timm, the artifact of a fit that a spec names: by class name, any size, training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import albu_learned as al
from albu_learned.spec import read
from albu_learned.timm import GenerateTransform, create_loader
from tests.timm.cases import (
    NAMES,
    Squares,
    distinct,
    folder_of_images,
    loader,
    spec_file,
    workers_differ_and_a_seed_repeats,
)

ORDER = ("eel", "cat", "dog")  # of the artifact; the data have cat, dog, eel
LEFT = {"cat": 16, "dog": 20, "eel": 12}  # where squares begin that are made; real ones at 8
SCRIPT = Path(__file__).with_name("training.py")
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
HOOK = ("--device-modules", "albu_learned.timm.register")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with VAEs of squares: one of 32 pixels, and one of 16 pixels."""
    folder = tmp_path_factory.mktemp("fitted")
    for size, name in ((32, "vae"), (16, "small")):
        fit(size).save_pretrained(folder / name)
    return folder


def fit(size):
    images = torch.zeros(24, 3, size, size)
    labels = torch.arange(24) % 3
    bright = torch.linspace(0.7, 1, 24)
    for image, label, shade in zip(images, labels.tolist(), bright.tolist(), strict=True):
        left, side = LEFT[ORDER[label]] * size // 32, 8 * size // 32
        image[NAMES.index(ORDER[label]), left : left + side, left : left + side] = shade
    how = {"network": "dense", "steps": 50, "likelihood": "bernoulli"}
    options = {"classes": list(ORDER), "expect": False, "progress": False}
    return al.ClassVAE.fit(images, labels, latent=4, **how, **options)


def left(image):
    """The first column that is lit; and the brightest colour."""
    lit = (image.amax(0) > 0.4).any(0).nonzero()
    return int(lit[0]), int(image.flatten(1).amax(1).argmax())


@pytest.mark.parametrize("stage", ["image", "sample", "batch"])
@pytest.mark.parametrize("artifact", ["vae", "small"])
def test_a_label_gives_a_new_picture_of_its_class_by_name(place, stage, artifact):
    resize = ", resize: true" if artifact == "small" else ""
    spec = spec_file(place, f"- {{artifact: {artifact}, p: 1, stage: {stage}{resize}}}")
    torch.manual_seed(0)
    images, target = next(iter(loader(spec, **PLAIN)))
    assert distinct(images) == 12  # of three different squares
    assert sorted(set(target.tolist())) == [0, 1, 2]
    for image, label in zip(images, target.tolist(), strict=True):
        column, colour = left(image)
        assert colour == label
        assert abs(column - LEFT[NAMES[label]]) <= (1 if resize else 0)


@pytest.mark.parametrize("stage", ["image", "sample", "batch"])
def test_another_size_without_resize_ends_the_training(place, stage):
    spec = spec_file(place, f"- {{artifact: small, p: 1, stage: {stage}}}")
    with pytest.raises(ValueError, match=r"must have the size \(16, 16\) of this ClassVAE, got"):
        next(iter(loader(spec, **PLAIN)))


def test_workers_and_seeds(place):
    spec = spec_file(place, "- {artifact: vae, p: 1}")
    workers_differ_and_a_seed_repeats(loader, spec)


def test_real_images_make_up_the_rest(place):
    spec = spec_file(place, "- {artifact: vae}")
    (entry,) = read(spec).entries
    assert (entry.p, entry.stage) == (0.4, "batch")  # unless told
    torch.manual_seed(0)
    batches = [next(iter(loader(spec, batch_size=24, **PLAIN))) for _ in range(5)]
    columns = [left(image)[0] for images, _ in batches for image in images]
    assert 60 <= sum(column == 8 for column in columns) <= 85  # of 120
    assert set(columns) == {8, 12, 16, 20}


def test_other_class_names_and_none_are_refused(place):
    class Others(Squares):
        def __init__(self):
            super().__init__()
            self.class_to_idx = {"cat": 0, "dog": 1, "fox": 2}

    options = {"input_size": (3, 32, 32), "batch_size": 6, "is_training": True}
    spec = spec_file(place, "- {artifact: vae}")
    with pytest.raises(
        ValueError, match=r"line 4: `classes` must name the classes of the artifact"
    ):
        create_loader(Others(), spec=spec, **options)
    with pytest.raises(ValueError, match=r"was fitted to the classes .* does not know the names"):
        create_loader(Squares(named=False), spec=spec, **options)
    named = spec_file(place, "- {artifact: vae, p: 1}", "classes: [cat, dog, eel]")
    made = create_loader(
        Squares(named=False), spec=named, no_aug=True, use_prefetcher=False, **options
    )
    images, target = next(iter(made))
    assert [int(i.flatten(1).amax(1).argmax()) for i in images] == target.tolist()


def test_among_transforms_that_know_no_label_it_points_to_a_spec(place):
    with pytest.raises(ValueError, match=r"needs labels. Name it in a spec"):
        GenerateTransform(place / "vae")


@pytest.mark.parametrize(("artifact", "options"), [("vae", ""), ("small", ", resize: true")])
def test_an_unedited_training(place, tmp_path, artifact, options):
    """All images of a class are the same and lie elsewhere: what differs was made."""
    folder_of_images(tmp_path / "data")
    methods = f"- {{artifact: {artifact}, p: 1, until_epoch: 1{options}}}"
    lines, log, code = train(tmp_path / "data", spec_file(place, methods))
    assert code == 0, log
    assert "albu_learned is at work: ClassVAE on the batch p=1, epochs 0-0" in log
    first = [line for line in lines if line["at"][1] == 0]
    later = [line for line in lines if line["at"][1] == 1]
    assert len({digest for line in first for digest in line["pixels"]}) == 24
    assert len({digest for line in later for digest in line["pixels"]}) == 3
    for line in first:
        for column, label in zip(line["left"], line["target"], strict=True):
            assert abs(column - LEFT[NAMES[label]]) <= (1 if options else 0)
    assert {column for line in later for column in line["left"]} == {8}
    assert all(line["loss"] == line["loss"] for line in lines)


def test_an_unedited_training_of_another_size_fails(place, tmp_path):
    folder_of_images(tmp_path / "data")
    lines, log, code = train(tmp_path / "data", spec_file(place, "- {artifact: small, p: 1}"))
    assert code != 0
    assert not lines
    assert "must have the size (16, 16) of this ClassVAE, got (32, 32)" in log
    assert "set resize=True" in log


def train(data, spec):
    """What a training script printed of every batch, its log and exit code."""
    known = {key: value for key, value in os.environ.items() if key != "ALBU_LEARNED"}
    command = [sys.executable, "-W", "ignore", SCRIPT, data, *HOOK, "--epochs", "2"]
    done = subprocess.run(
        [*command, "--workers", "1"],
        env={
            **known,
            "PYTHONPATH": str(SCRIPT.parents[2]),
            "OMP_NUM_THREADS": "1",
            "ALBU_LEARNED": str(spec),
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    lines = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("BATCH ")]
    return lines, done.stderr, done.returncode
