"""A pool of variants in trainings of Ultralytics: images are replaced as they are read."""

import shutil

import cv2
import numpy as np
import pytest
import torch
import yaml
from ultralytics.data.dataset import YOLODataset
from ultralytics.utils import DEFAULT_CFG

from albu_learned.spec import Given, read
from albu_learned.spec.step import steps
from albu_learned.ultralytics import dataset as door
from albu_learned.ultralytics.given import BOXED
from albu_learned.ultralytics.work import Work
from tests import pools
from tests.ultralytics.runs import spec_file, train

SIZE = (48, 96)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pool of eight scenes, each of one colour, so that means tell them apart; their files."""
    hues = np.random.default_rng(3).integers(40, 216, (8, 1, 1, 3))
    scenes = np.broadcast_to(hues, (8, *SIZE, 3)).astype(np.uint8)
    return pools.pool_of(tmp_path_factory.mktemp("psld"), scenes)


def spec(folder, pool, more="p: 1"):
    return spec_file(folder, f"method: PSLDPool, pool: {pool}, {more}")


def shown(pool, file, size=None):
    """(2, H, W, 3), the variants of an image as the host reads and resizes it, in RGB."""
    read = [cv2.imread(str(pool / f"images/train/{file.name}.v{k}.png")) for k in (0, 1)]
    sized = [cv2.resize(one, size[::-1]) if size else one for one in read]
    return np.stack(sized)[..., ::-1].astype(int)


def test_every_image_of_a_training_is_a_variant_of_its_own(made, tmp_path):
    pool, files = made
    data = str(files[0].parents[2] / "data.yaml")
    record = train("detect", data, tmp_path, spec(tmp_path, pool), imgsz=64, rect=True)
    seen = set()
    for epoch in (0, 1):
        batches = record.epochs[epoch]
        assert sum(len(batch["img"]) for batch in batches) == 8
        for batch in batches:
            for image in batch["img"]:
                number, variant, error = nearest(pool, files, image)
                assert error <= 1  # of 255, to which the host's resampler rounds
                seen.add((number, variant))
            assert batch["img"].shape == (4, 3, 32, 64)
            box = torch.tensor([0.5, 0.5, 0.3, 0.3]).expand(4, 4)
            assert torch.allclose(batch["bboxes"], box, atol=1e-3)
    assert {number for number, _ in seen} == set(range(8))
    assert {variant for _, variant in seen} == {0, 1}


def nearest(pool, files, image):
    """Which variant of which image one shows, and how far it is from it."""
    pixels = (image * 255).round().int().numpy().transpose(1, 2, 0)
    found = []
    for number, file in enumerate(files):
        for variant, one in enumerate(shown(pool, file, (32, 64))):
            found.append((np.abs(one - pixels).max(), number, variant))
    error, number, variant = min(found)
    return number, variant, error


def dressed(file, pool, data, **how):
    """A data set of the host with the pool at work, as a training has it."""
    settings = DEFAULT_CFG.__class__(**{**vars(DEFAULT_CFG), "mosaic": 1.0, **how})
    keys = yaml.safe_load(data.read_text())
    described = {"names": dict(enumerate(keys["names"])), "channels": 3}
    inner = YOLODataset(
        img_path=str(data.parent / "images" / "train"),
        data=described,
        imgsz=64,
        augment=True,
        hyp=settings,
        cache=False,
        task="detect",
        batch_size=2,
    )
    work = Work(steps(read(file).entries, Given("a detector", BOXED)), [0])
    door.attach(inner, work)
    return inner


def test_the_partners_of_a_mosaic_are_variants_too(made, tmp_path):
    pool, files = made
    inner = dressed(spec(tmp_path, pool), pool, files[0].parents[2] / "data.yaml")
    assert inner[0]["albu_learned"].tolist() == [[4, 4]]


def test_a_copy_with_other_names_is_found_and_others_are_not(made, tmp_path):
    pool, files = made
    data = tmp_path / "copy" / "data.yaml"
    shutil.copytree(files[0].parents[2], data.parent)
    for part in ("images", "labels"):
        folder = data.parent / part / "train"
        for file in list(folder.glob("*.*")):
            file.rename(folder / f"0000_{file.name}")
    inner = dressed(spec(tmp_path, pool), pool, data)
    labels = inner.get_image_and_label(0)
    file = files[int(labels["im_file"].split("_")[-1].split(".")[0])]
    wanted = shown(pool, file, (32, 64))[..., ::-1]
    assert min(np.abs(wanted - labels["img"].astype(int)).max(axis=(1, 2, 3))) <= 1
    other = tmp_path / "other"
    pools.pool_of(other, pools.scenes(8, SIZE, seed=5), variants=1)
    inner = dressed(spec(tmp_path, pool), pool, other / "set" / "data.yaml")
    inner.mosaic = False
    before = cv2.resize(cv2.imread(str(other / "set/images/train/0.png")), (64, 32))
    assert np.array_equal(inner.get_image_and_label(0)["img"], before)
    assert inner.albu_learned.evidence.tolist() == [[1, 0]]


def test_changed_labels_end_the_training(made, tmp_path):
    pool, files = made
    data = tmp_path / "copy" / "data.yaml"
    shutil.copytree(files[0].parents[2], data.parent)
    (data.parent / "labels" / "train" / "0.txt").write_text("1 0.2 0.2 0.1 0.1\n")
    inner = dressed(spec(tmp_path, pool), pool, data)
    with pytest.raises(ValueError, match=r"0\.txt' is another now than that of 'images/train/0.p"):
        inner.get_image_and_label(0)


def test_an_epoch_without_a_hit_ends_the_training(made, tmp_path):
    pool, _ = made
    pools.pool_of(tmp_path, pools.scenes(4, SIZE, seed=5), variants=1)
    data = str(tmp_path / "set" / "data.yaml")
    with pytest.raises(RuntimeError, match=r"None of the images .* `albu-learned synth`"):
        train("detect", data, tmp_path, spec(tmp_path, pool), imgsz=64)
    lenient = spec(tmp_path, pool, "p: 1, must_hit: false")
    record = train("detect", data, tmp_path, lenient, imgsz=64)
    assert len(record.epochs) == 2


def test_a_classifier_finds_its_files(made, tmp_path):
    pool, files = made
    for number, file in enumerate(files):
        place = tmp_path / "data" / "train" / ("low" if number % 2 else "high")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place / file.name)
    shutil.copytree(tmp_path / "data" / "train", tmp_path / "data" / "val")
    record = train("classify", str(tmp_path / "data"), tmp_path, spec(tmp_path, pool), imgsz=48)
    images = record.images(0)
    real = [cv2.imread(str(file))[0, 0, ::-1] / 255 for file in files]
    spread = [image.flatten(1).std(dim=1).max() for image in images]
    assert len(images) == 8
    assert min(spread) > 0.05  # backgrounds of noise around the one colour
    for image in images[:, :, 24, 24].numpy():
        assert min(np.abs(image - one).max() for one in real) < 0.01
