"""ClassVAE by name: the core's pictures, from a pool or not, the same in every process."""

import copy
import inspect
import json
import pickle
import subprocess
import sys

import albumentations as A
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

import albu_learned as al
from albu_learned.albumentations import ClassVAE, seed_worker
from albu_learned.albumentations.pictures import Pictures
from albu_learned.albumentations.record import from_record, generator_from
from tests.toys import ClassPicture

NAMES = [f"digit {number}" for number in range(10)]
IMAGE = np.zeros((8, 8), np.uint8)
REPLAY = """
import json, sys, numpy as np, albumentations as A, torch
import albu_learned.albumentations
torch.set_num_threads(1)
record = json.loads(sys.stdin.read())
for pool in (0, 7, 64):
    record["transforms"][0]["pool"] = pool
    image = np.zeros((8, 8), np.uint8)
    print(A.ReplayCompose.replay(record, image=image, label=3)["image"].ravel().tolist())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A VAE of ten digits, as an artifact."""
    digits = load_digits()
    images = torch.from_numpy(digits.images[:200]).float()[:, None] / 16
    labels = torch.from_numpy(digits.target[:200]).long()
    vae = al.ClassVAE.fit(
        images, labels, network="dense", steps=50, expect=False, classes=NAMES, progress=False
    )
    place = tmp_path_factory.mktemp("vae") / "digits"
    vae.save_pretrained(place)
    return str(place)


@pytest.fixture(scope="module")
def core(folder):
    return al.load(folder)


def made(transform, label=3, image=IMAGE, seed=0, count=1):
    transform = A.Compose([transform], seed=seed)
    return [transform(image=image, label=label)["image"] for _ in range(count)]


def distinct(images):
    return len({np.asarray(image).tobytes() for image in images})


@pytest.mark.parametrize("pool", [0, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1)])
def test_the_plan_gives_the_core_s_picture_to_the_last_bit(folder, core, pool, dtype, shape):
    transform = ClassVAE(folder, pool=pool, p=1)
    image = np.zeros(shape, dtype)
    for seed in range(4):
        kept = transform.sample({"image": image, "label": seed}, np.random.default_rng(seed))
        plan = from_record(kept["plan"])
        assert plan["label"].tolist() == [seed]
        rows = torch.zeros(1, 1, 8, 8, dtype=torch.from_numpy(image).dtype)
        expected = core.apply(al.Batch(images=rows), plan).images.detach().numpy()[0, 0]
        for _ in range(2):  # decoded, and as it was kept
            out = transform.apply(image, **kept)
            assert (out.shape, out.dtype) == (shape, dtype)
            assert np.array_equal(out.reshape(8, 8), expected)
        assert expected.max() > 0


def test_without_a_pool_the_noise_is_the_host_s(folder, core):
    transform = ClassVAE(folder, pool=0, p=1)
    kept = transform.sample({"image": IMAGE, "label": 5}, np.random.default_rng(2))
    noise = core.draw(1, generator_from(np.random.default_rng(2)))
    expected = core.plan(al.Batch(labels=torch.tensor([5])), noise)
    assert torch.equal(from_record(kept["plan"])["z"], expected["z"])


def test_a_pool_holds_so_many_pictures_of_each_class(folder):
    seen = {label: made(ClassVAE(folder, pool=6, p=1), label, count=60) for label in (1, 8)}
    assert {label: distinct(images) for label, images in seen.items()} == {1: 6, 8: 6}
    assert distinct(seen[1] + seen[8]) == 12
    assert distinct(made(ClassVAE(folder, pool=0, p=1), count=20)) == 20


def test_what_is_kept_is_not_what_is_given_away(folder):
    transform = ClassVAE(folder, pool=1, p=1)
    first = transform(image=IMAGE, label=0)["image"]
    before = first.copy()
    for _ in range(2):
        first[:] = 77  # as a transform that writes in place would
        first = transform(image=IMAGE, label=0)["image"]
        assert np.array_equal(first, before)


def test_a_record_is_replayed_exactly_in_another_process_with_any_pool(folder):
    host = A.ReplayCompose([ClassVAE(folder, pool=64, reject=0.05, p=1)])
    host.set_random_seed(4)
    out = host(image=IMAGE, label=3)
    done = subprocess.run(
        [sys.executable, "-c", REPLAY],
        input=json.dumps(out["replay"]),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines == [out["image"].ravel().tolist()] * 3
    assert np.ptp(out["image"]) > 0


def test_copies_make_the_same_without_what_was_made(folder):
    transform = ClassVAE(folder, pool=9, p=1)
    expected = made(transform, count=12)
    assert transform._pictures.bytes == 64 * distinct(expected)
    for twin in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)):
        assert twin._pictures.bytes == 0
        assert not twin._pictures._kept
        assert not twin._plans._records
        assert all(
            np.array_equal(a, b) for a, b in zip(made(twin, count=12), expected, strict=True)
        )


def test_no_more_is_kept_than_there_is_room_for(folder):
    transform, free = ClassVAE(folder, pool=40, p=1), ClassVAE(folder, pool=40, p=1)
    transform._pictures = Pictures(most=640)
    few, all_ = made(transform, count=80), made(free, count=80)
    assert 576 <= transform._pictures.bytes <= 640
    assert transform._pictures.bytes == 64 * len(transform._pictures._kept)
    assert free._pictures.bytes > 640
    assert all(np.array_equal(a, b) for a, b in zip(few, all_, strict=True))
    transform._pictures = Pictures(most=10)
    assert np.array_equal(made(transform)[0], few[0])
    assert transform._pictures.bytes == 0


def test_arguments_given_here_take_the_place_of_the_artifact_s(folder, core):
    middle = ClassVAE(folder, temperature=0, p=1)
    assert distinct(made(middle, count=12)) == 1
    assert distinct(made(ClassVAE(folder, p=1), count=12)) > 6
    wide = ClassVAE(folder, sampler="mixture", temperature=0.5, reject=0.1, p=1)
    assert (wide._live.sampler, wide._live.temperature, wide._live.reject) == ("mixture", 0.5, 0.1)
    assert distinct(made(wide, count=12)) > 6
    ClassVAE(core, temperature=0, p=1)
    assert core.temperature == 1  # what is given is left alone
    assert ClassVAE(core)._live is core


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sampler": "normal"}, "`sampler` must be one of"),
        ({"temperature": -1.0}, "`temperature` must be in"),
        ({"reject": 1.0}, "`reject` must be in"),
        ({"pool": -1}, "`pool` must be an integer >= 0"),
        ({"classes": ["a", "b"]}, "`classes` must name the classes of the artifact"),
    ],
)
def test_mistakes_are_named(folder, arguments, words):
    with pytest.raises(ValueError, match=words):
        ClassVAE(folder, **arguments)


def test_another_method_is_refused(tmp_path):
    ClassPicture().save_pretrained(tmp_path)
    with pytest.raises((TypeError, ValueError), match="ClassVAE"):
        ClassVAE(tmp_path)
    with pytest.raises(TypeError, match="`method` must be a ClassVAE"):
        ClassVAE(ClassPicture())


@pytest.mark.parametrize("pool", [0, 8])
def test_classes_go_by_name(folder, pool):
    order = NAMES[::-1]
    here = A.Compose(
        [ClassVAE(folder, pool=pool, label_key="kind", classes=order, p=1)], seed=1, strict=True
    )
    there = A.Compose([ClassVAE(folder, pool=pool, p=1)], seed=1)
    ours = here(image=IMAGE, kind=2)
    assert np.array_equal(ours["image"], there(image=IMAGE, label=7)["image"])
    assert ours["kind"] == 2
    with pytest.raises(ValueError, match="must be given 'kind'"):
        here(image=IMAGE)
    with pytest.raises(ValueError, match=r"`kind` must be in 0..9 for the classes"):
        here(image=IMAGE, kind=10)
    with pytest.raises(TypeError, match="`kind` must be one class number"):
        here(image=IMAGE, kind=np.array([0.5, 0.5]))


@pytest.mark.parametrize("pool", [0, 8])
def test_a_class_that_was_not_seen_is_refused_by_the_method(pool):
    vae = al.ClassVAE((1, 8, 8), num_classes=3, members=[[0], [2]])
    transform = ClassVAE(vae, pool=pool, p=1)
    assert transform(image=IMAGE, label=2)["image"].shape == (8, 8)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"has seen images of, which it has not of '?1"):
            transform(image=IMAGE, label=1)


@pytest.mark.parametrize("pool", [0, 8])
def test_another_size_needs_resize(folder, core, pool):
    image = np.zeros((20, 12), np.uint8)
    with pytest.raises(ValueError, match=r"must have the size \(8, 8\) .* set resize=True"):
        ClassVAE(folder, pool=pool, p=1)(image=image, label=0)
    with pytest.raises(ValueError, match="must have 1 channels"):
        ClassVAE(folder, pool=pool, p=1)(image=np.zeros((8, 8, 3), np.uint8), label=0)
    transform = ClassVAE(folder, pool=pool, resize=True, p=1)
    kept = transform.sample({"image": image, "label": 0}, np.random.default_rng(0))
    batch = al.Batch(images=torch.zeros(1, 1, 20, 12, dtype=torch.uint8))
    expected = core.resized().apply(batch, from_record(kept["plan"])).images[0, 0].numpy()
    for shape in ((20, 12), (8, 8), (20, 12)):  # one door, images of many sizes
        out = transform.apply(np.zeros(shape, np.uint8), **kept)
        assert out.shape == shape
    assert np.array_equal(out, expected)
    assert core.resize is False


def test_normalised_images_are_refused_every_time(folder):
    transform = ClassVAE(folder, pool=1, p=1)
    assert transform(image=IMAGE, label=0)["image"].max() > 1
    assert transform(image=np.zeros((8, 8), np.float32), label=0)["image"].max() <= 1
    with pytest.raises(ValueError, match=r"`image` must have values in \[0, 1\] .* got -2"):
        transform(image=np.full((8, 8), -2, np.float32), label=0)


def test_a_video_becomes_one_picture(folder):
    frames = np.zeros((3, 8, 8, 1), np.uint8)
    out = A.Compose([ClassVAE(folder, p=1)], seed=0)(images=frames, label=4)["images"]
    assert np.asarray(out).shape == frames.shape
    assert distinct(out) == 1
    assert np.ptp(np.asarray(out)) > 0


def test_p_is_the_share_that_is_replaced(folder):
    assert ClassVAE(folder).p == 0.4
    images = made(ClassVAE(folder, p=0.4), count=300)
    assert 90 <= sum(image.any() for image in images) <= 150


def test_every_argument_is_saved_under_the_public_name(folder, tmp_path):
    scalars = {
        "method": folder,
        "label_key": "kind",
        "classes": NAMES[::-1],
        "sampler": "posterior",
        "temperature": 0.75,
        "reject": 0.05,
        "pool": 12,
        "resize": True,
        "p": 0.25,
    }
    saved = A.to_dict(ClassVAE(**scalars))["transform"]
    name = "albu_learned.albumentations.ClassVAE"
    assert saved == {"__class_fullname__": name, **scalars}
    for form in ("json", "yaml"):
        path = str(tmp_path / f"pipeline.{form}")
        A.save(ClassVAE(**scalars), path, data_format=form)
        again = A.load(path, data_format=form)
        assert A.to_dict(again)["transform"] == saved
        assert (again._live.sampler, again._live.temperature) == ("posterior", 0.75)
        assert (again._live.reject, again._live.resize) == (0.05, True)
    arguments = set(inspect.signature(ClassVAE.__init__).parameters) - {"self"}
    assert arguments == set(ClassVAE.InitSchema.model_fields) - {"strict"}
    with pytest.raises(TypeError, match="`method` must be the folder of an artifact"):
        A.to_dict(ClassVAE(al.load(folder)))


class Digits(Dataset):
    """Black images, so that all that is seen is made."""

    def __init__(self, transform, count=16):
        self.transform, self.count = transform, count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        out = self.transform(image=IMAGE, label=3)
        return torch.from_numpy(out["image"]), torch.utils.data.get_worker_info().id


def test_workers_draw_different_samples_and_a_seed_repeats_them(folder):
    data = Digits(A.Compose([ClassVAE(folder, pool=4096, p=1)], seed=11))
    loader = DataLoader(
        data,
        batch_size=4,
        num_workers=2,
        worker_init_fn=seed_worker,
        multiprocessing_context="fork",
    )

    def epoch(seed):
        torch.manual_seed(seed)
        batches = list(loader)
        assert sorted({int(worker) for _, workers in batches for worker in workers}) == [0, 1]
        return torch.cat([images for images, _ in batches])

    first = epoch(0)
    assert distinct(first) == 16
    assert torch.equal(epoch(0), first)
    assert not torch.equal(epoch(1), first)
