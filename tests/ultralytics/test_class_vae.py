"""ClassVAE in a classifier of Ultralytics: the artifact of a fit that a spec names."""

import pytest
import torch

import albu_learned as al
from tests.ultralytics.runs import model, spec_file, train
from tests.ultralytics.shapes import NAMES, SIZE

ORDER = ["low", "high"]  # of the artifact; the host sorts the names of folders
HUE = {"low": 0, "high": 2}  # what is made is red or blue, and all that is real is grey


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with VAEs of coloured pictures: one of the size of the data, and a small one."""
    folder = tmp_path_factory.mktemp("fitted")
    for size, name in ((SIZE, "vae"), (16, "small")):
        images = torch.full((12, 3, size, size), 0.1)
        labels = torch.arange(12) % 2
        for image, label, shade in zip(images, labels, torch.linspace(0.6, 1, 12), strict=True):
            image[HUE[ORDER[label]], size // 4 : size // 2] = shade
        how = {"network": "dense", "steps": 50, "expect": False, "progress": False}
        vae = al.ClassVAE.fit(images, labels, latent=4, classes=ORDER, **how)
        vae.save_pretrained(folder / name)
    return folder


def made(images):
    """Which images are no grey ones, and the hue of each."""
    colours = images.mean((2, 3))
    return colours.amax(1) - colours.amin(1) > 0.05, colours.argmax(1)


@pytest.mark.parametrize("stage", ["image", "sample", "batch"])
@pytest.mark.parametrize("artifact", ["vae", "small"])
def test_a_training_with_new_pictures_by_name(place, artifact, stage, data, tmp_path):
    resize = ", resize: true" if artifact == "small" else ""
    spec = spec_file(
        tmp_path, f"artifact: {place / artifact}, p: 1, stage: {stage}, until_epoch: 1{resize}"
    )
    record = train("classify", data("classify"), tmp_path, spec)
    seen = set()
    for batch in record.epochs[0]:
        new, hue = made(batch["img"])
        assert new.all()
        assert hue.tolist() == [HUE[sorted(NAMES)[label]] for label in batch["cls"].tolist()]
        seen |= {image.numpy().tobytes() for image in batch["img"]}
    assert len(seen) == 8  # of two different pictures
    assert not made(record.images(1))[0].any()


def test_real_images_make_up_the_rest(place, data, tmp_path):
    spec = spec_file(tmp_path, f"artifact: {place / 'vae'}")
    record = train("classify", data("classify"), tmp_path, spec, epochs=6, workers=1)
    new = torch.cat([made(record.images(epoch))[0] for epoch in record.epochs])
    assert len(new) == 48
    assert 8 <= new.sum() <= 31  # of 0.4 * 48, within four deviations


@pytest.mark.parametrize("stage", ["image", "batch"])
def test_another_size_without_resize_ends_the_training(place, stage, data, tmp_path):
    spec = spec_file(tmp_path, f"artifact: {place / 'small'}, p: 1, stage: {stage}")
    with pytest.raises(ValueError, match=r"must have the size \(16, 16\) of this ClassVAE, got"):
        train("classify", data("classify"), tmp_path, spec)


def test_other_class_names_are_refused(place, data, tmp_path):
    vae = al.load(place / "vae")
    vae.about = al.About(classes=["cat", "dog"])
    vae.save_pretrained(tmp_path / "others")
    spec = spec_file(tmp_path, f"artifact: {tmp_path / 'others'}")
    with pytest.raises(ValueError, match="`classes` must name the classes of the artifact"):
        train("classify", data("classify"), tmp_path, spec)


def test_a_detector_has_no_labels_of_images(place, tmp_path):
    from albu_learned.ultralytics import install

    spec = spec_file(tmp_path, f"artifact: {place / 'vae'}")
    with pytest.raises(ValueError, match="ClassVAE needs labels, but on the batch a detector of"):
        install(model("detect"), spec)
