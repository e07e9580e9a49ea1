"""Mixes in the places of timm's Mixup and FastCollateMixup."""

import inspect
import pickle

import numpy as np
import pytest
import torch
from timm.data import FastCollateMixup, Mixup
from timm.data.mixup import mixup_target
from torch.utils.data import DataLoader, Dataset

from albu_learned import Batch
from albu_learned import ZetaMixup as Core
from albu_learned.timm import MixCollate, MixTransform, ZetaCollate, ZetaMixup


def batch(rows=6, dtype=torch.float32, classes=3):
    generator = torch.Generator().manual_seed(rows)
    images = torch.rand(rows, 3, 8, 8, generator=generator)
    if dtype == torch.uint8:
        images = images * 255
    return images.to(dtype), torch.arange(rows) % classes


def samples(rows=6):
    images, labels = batch(rows, torch.uint8)
    return [(image, int(label)) for image, label in zip(images, labels, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("rows", [6, 5, 1])
def test_the_same_plan_gives_the_core_s_mix(dtype, rows):
    images, labels = batch(rows, dtype)
    before = images.clone()
    core = Core(2.0, 3, num_classes=3, smoothing=0.1)
    torch.manual_seed(5)
    mixed, soft = ZetaMixup(2.0, 3, num_classes=3, label_smoothing=0.1)(images, labels)
    torch.manual_seed(5)
    torch.rand(())  # the draw of prob comes first
    expected = core(Batch(images=images, labels=labels))
    assert mixed.dtype == dtype
    assert torch.equal(mixed, expected.images)
    assert torch.allclose(soft, expected.labels)
    assert torch.equal(images, before)  # nothing in place


def test_the_collate_is_the_same_mix_of_uint8():
    torch.manual_seed(5)
    mixed, soft = ZetaCollate(2.0, 3, num_classes=3)(samples(5))
    torch.manual_seed(5)
    expected = ZetaMixup(2.0, 3, num_classes=3)(*batch(5, torch.uint8))
    assert mixed.dtype == torch.uint8
    assert torch.equal(mixed, expected[0])
    assert torch.equal(soft, expected[1])


@pytest.mark.parametrize("door", [ZetaMixup, ZetaCollate])
@pytest.mark.parametrize("multi_label", [False, True])
def test_labels_are_smoothed_by_timm_s_arithmetic(door, multi_label):
    images, target = batch(4, torch.uint8)
    if multi_label:
        target = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]).float()
    mix = door(num_classes=3, label_smoothing=0.2, multi_label=multi_label, prob=0.0)
    given = (images, target) if door is ZetaMixup else (list(zip(images, target, strict=True)),)
    unmixed, soft = mix(*given)
    assert torch.equal(unmixed, images)
    if multi_label and "multi_label" not in inspect.signature(mixup_target).parameters:
        pytest.skip("this timm has no multi-label mixup")
    more = (multi_label,) if multi_label else ()
    assert torch.allclose(soft, mixup_target(target, 3, 1.0, 0.2, *more))


def test_multi_label_targets_mix_as_images_do():
    images, _ = batch(4)
    target = torch.rand(4, 3).round()
    torch.manual_seed(0)
    _, soft = ZetaMixup(num_classes=3, label_smoothing=0.2, multi_label=True)(images, target)
    torch.manual_seed(0)
    # images that are the smoothed targets must come out as the soft labels
    smoothed = (target * 0.8 + 0.1)[:, :, None, None]
    same, _ = ZetaMixup(num_classes=3, multi_label=True)(smoothed, target)
    assert torch.allclose(soft, same[..., 0, 0], atol=1e-6)


def test_soft_probabilities_are_smoothed_towards_all_classes():
    images, _ = batch(2)
    target = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    _, soft = ZetaMixup(num_classes=3, label_smoothing=0.3, prob=0.0)(images, target)
    assert torch.allclose(soft, target * 0.7 + 0.1)


@pytest.mark.parametrize("door", [ZetaMixup, ZetaCollate])
def test_switched_off_or_not_fired_labels_are_soft_all_the_same(door):
    images, labels = batch(6, torch.uint8)
    given = (images, labels) if door is ZetaMixup else (samples(),)
    mix = door(num_classes=3, label_smoothing=0.0)
    assert mix.mixup_enabled
    assert not torch.equal(mix(*given)[0], images)
    mix.mixup_enabled = False
    for off in (mix, door(num_classes=3, label_smoothing=0.0, prob=0.0)):
        unmixed, soft = off(*given)
        assert torch.equal(unmixed, images)
        assert torch.equal(soft, torch.eye(3)[labels])


def test_prob_decides_once_a_batch():
    torch.manual_seed(0)
    images, labels = batch()
    mix = ZetaMixup(num_classes=3, prob=0.5)
    fired = [not torch.equal(mix(images, labels)[0], images) for _ in range(60)]
    assert 15 < sum(fired) < 45  # a binomial of 60 halves leaves this once in 10,000


@pytest.mark.parametrize("mode", ["batch", "pair", "elem", "half"])
@pytest.mark.parametrize("minmax", [None, (0.3, 0.8)])
def test_cutmix_takes_turns_and_its_labels_follow_the_pixels(mode, minmax):
    np.random.seed(0)
    rows = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 3, 8, 8) * 50
    given = [(row, i) for i, row in enumerate(rows)]
    cut = ZetaCollate(
        num_classes=4,
        label_smoothing=0.0,
        cutmix_alpha=1.0,
        cutmix_minmax=minmax,
        switch_prob=1.0,
        mode=mode,
    )
    images, soft = cut(given)
    assert len(images) == (2 if mode == "half" else 4)
    for i in range(len(images)):
        # each pixel is the image's own or its partner's, and the label counts them
        own, other = (images[i] == 50 * i), (images[i] == 50 * (3 - i))
        assert (own | other).all()
        assert soft[i, i] == pytest.approx(own.float().mean().item(), abs=1e-6)
        assert soft[i].sum() == pytest.approx(1)
    shares = {round(value, 4) for value in soft[range(len(soft)), range(len(soft))].tolist()}
    assert {"batch": 1, "pair": 2}.get(mode, len(soft)) >= len(shares)


def test_switch_prob_is_the_share_of_cutmix():
    torch.manual_seed(0)
    np.random.seed(0)
    labels = torch.arange(4)
    images = labels.float()[:, None, None, None].repeat(1, 3, 8, 8)
    before = images.clone()
    mix = ZetaMixup(num_classes=4, cutmix_alpha=1.0, switch_prob=0.25)
    whole = [bool((mix(images, labels)[0] % 1 == 0).all()) for _ in range(80)]
    assert torch.equal(images, before)  # CutMix too leaves its input alone
    assert 8 < sum(whole) < 34  # 20 expected; CutMix alone keeps the values of the pixels


def test_half_gives_half_the_rows_and_takes_odd_batches():
    for rows, outputs in ((6, 3), (5, 3), (1, 1)):
        images, soft = ZetaCollate(num_classes=3, mode="half")(samples(rows))
        assert len(images) == len(soft) == outputs
        assert torch.equal(soft.argmax(1), torch.arange(outputs) % 3)


def test_they_are_timm_s_own_classes_and_take_its_arguments():
    options = {
        "mixup_alpha": 0.8,
        "cutmix_alpha": 0.0,
        "cutmix_minmax": None,
        "prob": 1.0,
        "switch_prob": 0.5,
        "mode": "batch",
        "correct_lam": True,
        "label_smoothing": 0.1,
        "num_classes": 3,
        "multi_label": False,
    }
    assert isinstance(ZetaMixup(**options), Mixup)
    assert isinstance(ZetaCollate(**options), FastCollateMixup)
    assert ZetaMixup().num_classes == 1000  # timm's default
    assert ZetaCollate().label_smoothing == 0.1


@pytest.mark.parametrize("door", [MixTransform, MixCollate])
def test_an_artifact_is_a_method(door, tmp_path):
    Core(num_classes=3).save_pretrained(tmp_path)
    mix = pickle.loads(pickle.dumps(door(tmp_path, num_classes=3)))
    given = batch() if door is MixTransform else (samples(),)
    assert mix(*given)[1].shape == (6, 3)


class Still(Dataset):
    """Eight images of two classes, each a plain shade: what is mixed shows."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.full((3, 4, 4), 30 * index, dtype=torch.uint8), index % 2


# Workers that are not forked import torch and timm anew; one of them is enough.
@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1), ("forkserver", 1)])
def test_switched_off_it_is_off_in_workers_that_persist(method, workers):
    loader = DataLoader(
        Still(),
        batch_size=4,
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context=method,
        collate_fn=ZetaCollate(num_classes=2, label_smoothing=0.0),
        timeout=60,
    )
    on = [images for images, _ in loader]
    loader.collate_fn.mixup_enabled = False
    off = [images for images, _ in loader]
    loader.collate_fn.mixup_enabled = True
    again = [images for images, _ in loader]
    assert all((images % 30 != 0).any() for images in on + again)
    assert all((images % 30 == 0).all() for images in off)
