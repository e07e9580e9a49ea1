"""Variants from a pool in Albumentations: first in a pipeline, found by their pixels."""

import copy
import functools

import albumentations as A
import numpy as np
import pytest
import torch

pytest.importorskip("PIL", reason="the extra `cli` is not installed")
pytest.importorskip("tqdm", reason="the extra `cli` is not installed")
import cv2
from torch.utils.data import DataLoader, Dataset

import albu_learned as al
from albu_learned.albumentations import PSLDInpaint, seed_worker
from albu_learned.data import pictures
from tests import pools
from tests.albumentations.cases import boxes, picture


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pool of four scenes, and their files."""
    return pools.pool_of(tmp_path_factory.mktemp("pool"), pools.scenes(), variants=4)


def read(file):
    return pictures.decoded(file.read_bytes())


def variants(pool, file):
    found = sorted((pool / "images" / "train").glob(f"{file.name}.v*.png"))
    return [read(one) for one in found]


def is_one_of(image, shown):
    return any(np.array_equal(image, one) for one in shown)


def test_a_variant_is_shown_and_what_lies_on_it_stays(made):
    pool, files = made
    pipeline = A.Compose([PSLDInpaint(pool, p=1)], bbox_params=boxes("kind"), seed=0)
    drawn = set()
    for file in files * 4:
        image = read(file)
        given = {"bboxes": [[18, 12, 30, 20]], "kind": [1], "mask": image[..., 0]}
        out = pipeline(image=image, **given)
        assert is_one_of(out["image"], variants(pool, file))
        assert np.array_equal(out["image"][12:20, 18:30], image[12:20, 18:30])
        assert np.array_equal(out["mask"], image[..., 0])
        assert np.array_equal(np.array(out["bboxes"]), [[18, 12, 30, 20]])
        drawn.add(out["image"].tobytes())
    assert len(drawn) > 8
    assert (pipeline[0].hits, pipeline[0].misses) == (16, 0)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("grey", [True, False])
def test_grey_and_colour_of_8_and_16_bits(grey, bits, tmp_path):
    scenes = pools.scenes(1, (20, 24), grey=grey, bits=bits)
    pool, files = pools.pool_of(tmp_path, scenes)
    serve = PSLDInpaint(pool, p=1)
    largest = np.float32(2**bits - 1)
    shown = variants(pool, files[0])
    for layers in (0, 1, 3) if grey else (3,):
        image = scenes[0] if layers == 0 else np.atleast_3d(scenes[0])
        image = np.broadcast_to(image, (20, 24, layers)) if layers else image
        if bits == 8:
            out = serve(image=np.ascontiguousarray(image))["image"]
            assert is_one_of(np.atleast_3d(out)[..., 0], [np.atleast_3d(s)[..., 0] for s in shown])
        out = serve(image=np.ascontiguousarray(image) / largest)["image"]
        assert out.dtype == np.float32
        own = [np.atleast_3d(one)[..., 0] / largest for one in shown]
        assert is_one_of(np.atleast_3d(out)[..., 0], own)
        assert out.shape == image.shape
    assert serve.misses == 0
    if bits == 16:
        plan = serve.sample({"image": scenes[0] / largest}, np.random.default_rng(0))
        with pytest.raises(ValueError, match="and type uint16 of the one"):
            serve.apply(np.zeros(scenes[0].shape, np.uint8), **plan)


@pytest.mark.parametrize("reader", ["OpenCV", "Pillow"])
def test_jpegs_are_found_whoever_decodes_them(reader, tmp_path):
    smooth = [cv2.GaussianBlur(scene, (0, 0), 2) for scene in pools.scenes(3, (50, 70))]
    pool, files = pools.pool_of(tmp_path, smooth, form=".jpg")
    serve = PSLDInpaint(pool, p=1)
    for file in files:
        opencv = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        serve(image=opencv if reader == "OpenCV" else read(file))
    assert serve.hits == 3


def test_the_same_noise_gives_what_a_batch_gets(made):
    pool, files = made
    image = read(files[0])
    serve = PSLDInpaint(pool, p=1)
    serve.set_random_seed(5)
    out = serve(image=image)["image"]
    seed = int(np.random.default_rng(5).integers(2**63))
    rows = torch.from_numpy(image).permute(2, 0, 1)[None]
    wanted = al.PSLDPool(pool)(rows, generator=torch.Generator().manual_seed(seed))
    assert np.array_equal(out, wanted[0].permute(1, 2, 0).numpy())


def test_a_replay_shows_the_same_variant(made):
    pool, files = made
    pipeline = A.ReplayCompose([PSLDInpaint(pool, p=1)])
    image = read(files[1])
    first = pipeline(image=image)
    again = A.ReplayCompose.replay(first["replay"], image=image)["image"]
    assert np.array_equal(first["image"], again)
    with pytest.raises(ValueError, match=r"must be of the size \(32, 48\) and type uint8 of the"):
        A.ReplayCompose.replay(first["replay"], image=picture(9, 9))


def test_it_must_come_first(made):
    pool, files = made
    pipeline = A.Compose([A.HorizontalFlip(p=1), PSLDInpaint(pool, p=1)])
    for _ in range(13):
        pipeline(image=read(files[0]))
    with pytest.raises(RuntimeError, match=r"none of the first 14. .* put this first"):
        pipeline(image=read(files[1]))
    assert pipeline[1].misses == 14
    lenient = PSLDInpaint(pool, must_hit=False, p=1)
    for seed in range(20):
        image = picture(32, 48, seed=seed)
        assert np.array_equal(lenient(image=image)["image"], image)
    assert (lenient.hits, lenient.misses) == (0, 20)


def test_several_images_of_one_plan_are_refused(made):
    pool, files = made
    image = read(files[0])
    pipeline = A.Compose([PSLDInpaint(pool, p=1)], additional_targets={"right": "image"})
    with pytest.raises(ValueError, match="`right` must not be given to PSLDInpaint"):
        pipeline(image=image, right=image)
    with pytest.raises(ValueError, match="`images` must not be given to PSLDInpaint"):
        A.Compose([PSLDInpaint(pool, p=1)])(images=np.stack([image, image]))


def test_what_is_no_pool_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="`pool` must be a folder of variants"):
        PSLDInpaint(tmp_path)


class Scenes(Dataset):
    def __init__(self, transform, files):
        self.transform, self.files = transform, files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return torch.from_numpy(self.transform(image=read(self.files[index]))["image"])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_what_workers_find_and_miss_is_known_to_all(start, made):
    pool, files = made
    pipeline = A.Compose([PSLDInpaint(pool, p=1)], seed=1)
    loader = DataLoader(
        Scenes(pipeline, files), num_workers=1, multiprocessing_context=start, batch_size=4
    )
    for _ in range(1 + (start == "fork")):  # with workers of its own every time
        list(loader)
    assert (pipeline[0].hits, pipeline[0].misses) == (len(files) * (1 + (start == "fork")), 0)


def test_workers_that_are_spawned_find_it(made):
    pool, files = made
    pipeline = copy.deepcopy(A.Compose([PSLDInpaint(pool, p=1)], seed=1))
    start = functools.partial(seed_worker)
    options = {"num_workers": 1, "multiprocessing_context": "spawn", "worker_init_fn": start}
    torch.manual_seed(0)
    shown = next(iter(DataLoader(Scenes(pipeline, files), batch_size=4, **options)))
    for image, file in zip(shown.numpy(), files, strict=True):
        assert is_one_of(image, variants(pool, file))
