"""create_loader with a spec: every stage, epochs, and what timm's train.py touches."""

import inspect
import logging
import time

import pytest
import torch
from PIL import Image
from timm.data import create_loader as stock
from timm.data.loader import PrefetchLoader
from torch.utils.data import IterableDataset, Subset

from albu_learned.timm import create_loader
from albu_learned.timm.loader import LearnedLoader, Normal
from tests.timm.cases import COLOURS, Squares, corner, save_toys, spec_file, square

SCHEDULED = "input_size_choices" in inspect.signature(stock).parameters
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
# timm's augmentation, with nothing left to chance: a crop as large as can be
WHOLE = {"no_aug": False, "scale": (1, 1), "ratio": (1, 1), "hflip": 0, "color_jitter": 0}
LANDS = {0: (16, 8, 64), 1: (8, 16, 64), 2: (16, 16, 64)}  # where class_shift moves the squares


def loader(spec, dataset=None, create=create_loader, **options):
    options = {
        "input_size": (3, 32, 32),
        "batch_size": 6,
        "is_training": True,
        "no_aug": True,
        "num_workers": 0,
        "mean": MEAN,
        "std": STD,
        "device": torch.device("cpu"),
        **options,
    }
    options.setdefault("persistent_workers", options["num_workers"] > 0)  # old releases ask for it
    extra = {} if create is stock else {"spec": spec}
    return create(dataset or Squares(), **options, **extra)


def pixels(images):
    """Images of a loader in 0..1."""
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (MEAN, STD))
    return images.float() * std + mean


def corners(images):
    return [corner(image) for image in pixels(images)]


@pytest.fixture
def toys(tmp_path):
    return save_toys(tmp_path)


@pytest.mark.parametrize("prefetcher", [True, False])
@pytest.mark.parametrize("stage", ["image", "sample", "batch"])
def test_a_warp_that_reads_labels_moves_each_class_where_it_must(toys, stage, prefetcher):
    spec = spec_file(toys, f"- {{artifact: class_shift, stage: {stage}, p: 1}}")
    images, target = next(iter(loader(spec, use_prefetcher=prefetcher)))
    assert corners(images) == [LANDS[label] for label in target.tolist()]


class Wide(Squares):
    """64 x 32, of which the crop keeps the middle; the square is at 8, 8 of that."""

    def __getitem__(self, index):
        canvas = Image.new("RGB", (64, 32))
        canvas.paste(square(), (16, 0))
        return canvas if self.transform is None else self.transform(canvas), index % 3


@pytest.mark.parametrize(("stage", "x"), [("image", 8 + 16), ("sample", 8 + 8)])
def test_the_image_is_changed_before_the_crop_and_the_sample_after_it(toys, stage, x):
    spec = spec_file(toys, f"- {{artifact: free_shift, stage: {stage}, p: 1}}")
    images, _ = next(iter(loader(spec, Wide(), **WHOLE)))  # a quarter of 64 pixels, or of 32
    assert corners(images) == [(x, 8, 64)] * 6


@pytest.mark.parametrize("stage", ["image", "sample", "batch"])
def test_a_generator_makes_the_picture_of_the_label(toys, stage):
    spec = spec_file(toys, f"- {{artifact: class_picture, stage: {stage}, p: 1, resize: true}}")
    images, target = next(iter(loader(spec)))
    for image, label in zip(pixels(images), target.tolist(), strict=True):
        colour = torch.tensor(COLOURS[label]) / 255
        shade = image.mean(dim=(1, 2))
        assert shade.argmax() == colour.argmax()  # of a random strength, evenly
        assert (image - shade[:, None, None]).abs().max() < 0.01


@pytest.mark.parametrize("prefetcher", [True, False])
def test_a_mix_on_the_batch_after_a_warp_that_needs_hard_labels(toys, prefetcher):
    spec = spec_file(
        toys,
        """
        - {artifact: class_shift, stage: batch, p: 1}
        - {method: ZetaMixup, gamma: 4.0, smoothing: 0.1}
        """,
    )
    made = loader(spec, use_prefetcher=prefetcher)
    images, soft = next(iter(made))
    assert soft.shape == (6, 3)
    assert torch.allclose(soft.sum(1), torch.ones(6))
    assert corners(images) == [LANDS[label] for label in soft.argmax(1).tolist()]
    lit = pixels(images).amax(dim=(2, 3)) * 255 / 200  # mixed as the labels are, colour by colour
    own = soft.argmax(1)
    weight = (soft[range(6), own] - 0.1 / 3) / 0.9
    assert (lit[range(6), own] >= weight - 0.01).all()
    assert made.mixup_enabled
    made.mixup_enabled = False
    images, soft = next(iter(made))
    assert soft.amax(1).tolist() == pytest.approx([0.9 + 0.1 / 3] * 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_normalising_again_changes_nothing(dtype):
    normal = Normal(MEAN, STD)
    images = ((torch.rand(4, 3, 8, 8) - normal.mean) / normal.std).to(dtype)
    back = normal.normalised(normal.unit(images), images)
    assert back.dtype == dtype
    assert torch.allclose(back.float(), images.float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_in_half_precision_black_stays_black(toys, dtype):
    spec = spec_file(toys, "- {artifact: free_shift, stage: batch, p: 1}")
    images, _ = next(iter(loader(spec, img_dtype=dtype)))
    assert images.dtype == dtype
    plain, _ = next(iter(loader(spec, create=stock, img_dtype=dtype)))
    filled = images[:, :, :, :8]  # what the warp moved in, zeros of the image and not of the mean
    assert torch.allclose(filled, plain[:, :, :, :8])
    assert corners(images) == [(16, 8, 64)] * 6


def test_epochs_are_told_and_reach_workers_that_persist(toys):
    spec = spec_file(
        toys,
        """
        - {artifact: free_shift, stage: sample, p: 1, from_epoch: 1, until_epoch: 2}
        - {artifact: free_shift, stage: batch, p: 1, from_epoch: 3}
        """,
    )
    data = Squares()
    made = loader(spec, data, num_workers=2)
    seen = {}
    for epoch in (3, 0, 1, 2):
        made.dataset.set_epoch(epoch)
        seen[epoch] = [corners(images)[0][0] for images, _ in made]
    assert seen == {3: [16] * 4, 0: [8] * 4, 1: [16] * 4, 2: [8] * 4}
    assert data.told == [3, 0, 1, 2]


@pytest.mark.parametrize("stage", ["image", "batch"])
def test_limited_methods_must_be_told_every_epoch(toys, stage):
    spec = spec_file(toys, f"- {{artifact: free_shift, stage: {stage}, p: 1, until_epoch: 1}}")
    made = loader(spec)
    for epoch, wanted in enumerate([16, 8, 8]):
        made.dataset.set_epoch(epoch)
        assert corners(next(iter(made))[0])[0][0] == wanted
        with pytest.raises(RuntimeError, match=r"line 4: .* Call loader.dataset.set_epoch"):
            next(iter(made))  # a second look is no epoch


def test_the_dataset_itself_tells_the_epoch_too(toys):
    """Older releases of train.py hold on to it."""
    spec = spec_file(toys, "- {artifact: free_shift, stage: image, p: 1, until_epoch: 1}")
    data = Squares()
    made = loader(spec, data)
    data.set_epoch(1)
    assert corners(next(iter(made))[0])[0][0] == 8
    assert data.told == [1]


def test_two_loaders_of_one_dataset_are_both_told(toys):
    spec = spec_file(toys, "- {artifact: free_shift, stage: batch, p: 1, from_epoch: 2}")
    data = Squares()
    both = [loader(spec, data), loader(spec, data)]
    data.set_epoch(2)
    assert [corners(next(iter(made))[0])[0][0] for made in both] == [16, 16]
    assert data.told == [2]


class Stream(IterableDataset):
    def __init__(self):
        self.transform = None
        self.told = []

    def __iter__(self):
        return iter([(self.transform(square(i % 3)), i % 3) for i in range(12)])

    def __len__(self):
        return 12

    def set_epoch(self, epoch):
        self.told.append(epoch)


def test_an_iterable_dataset_is_told_epochs_and_its_batches_change(toys):
    spec = spec_file(toys, "- {artifact: free_shift, stage: batch, p: 1, from_epoch: 7}")
    data = Stream()
    made = loader(spec, data)
    made.dataset.set_epoch(6)
    assert corners(next(iter(made))[0])[0][0] == 8
    made.dataset.set_epoch(7)
    assert corners(next(iter(made))[0])[0][0] == 16
    assert data.told == [6, 7]


@pytest.mark.skipif(not SCHEDULED, reason="this timm has no scheduled input sizes")
def test_scheduled_sizes_change_on_the_batch(toys):
    spec = spec_file(toys, "- {artifact: free_shift, stage: batch, p: 1}")
    made = loader(spec, input_size_choices=[16, 32])
    made.batch_sampler.set_epoch(0)
    made.dataset.set_epoch(0)
    for images, _ in made:
        scale = images.shape[-1] // 16
        assert corner(pixels(images)[0]) == (8 * scale, 4 * scale, 16 * scale**2)


def test_train_py_finds_what_it_touches(toys):
    spec = spec_file(toys, "- {artifact: free_shift, p: 1}")
    data = Squares()
    made = loader(spec, data)
    assert isinstance(made, LearnedLoader)
    assert len(made) == 4
    assert len(made.dataset) == 24
    if hasattr(made.loader, "batch_sampler"):  # not in every release
        assert made.batch_sampler is made.loader.batch_sampler
    assert made.sampler is made.loader.sampler
    assert made.dataset.class_to_idx == data.class_to_idx  # the inner dataset's
    assert made.mixup_enabled is False
    assert not hasattr(made.dataset, "no_such")
    with pytest.raises(AttributeError, match="no_such"):
        made.no_such  # noqa: B018


def test_a_policy_of_the_spec(toys):
    spec = spec_file(toys, "- {artifact: free_shift, stage: policy}")
    made = loader(spec, auto_augment="rand-m9-n1-p1-tlearnedonly", **WHOLE)
    assert [corners(images) for images, _ in made] == [[(16, 8, 64)] * 6] * 4


def test_a_subset_does_not_pass_its_images_by(toys):
    spec = spec_file(toys, "- {artifact: free_shift, stage: image, p: 1}")
    images, _ = next(iter(loader(spec, Subset(Squares(), range(12)))))
    assert corners(images) == [(16, 8, 64)] * 6


def test_other_loaders_are_timm_s_own(toys):
    spec = spec_file(toys, "- {artifact: free_shift, p: 1}")
    made = loader(spec, is_training=False)
    assert not isinstance(made, LearnedLoader)
    assert isinstance(made, PrefetchLoader)


def test_one_line_says_what_is_active(toys, caplog):
    spec = spec_file(toys, "- {artifact: free_shift, p: 1}\n- {artifact: noisy_shift, p: 0.25}")
    with caplog.at_level(logging.INFO, "albu_learned"):
        made = loader(spec)
        for _ in range(2):
            list(made)
    assert [record.message for record in caplog.records] == [
        "albu_learned is at work: FreeShift on the sample p=1; FreeShift on the sample p=0.25."
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_method_that_does_nothing_ends_the_training(toys, workers):
    spec = spec_file(toys, "- {artifact: free_shift, stage: sample, p: 1}")
    made = loader(spec, num_workers=workers)
    list(made)
    made = loader(spec, num_workers=workers)
    made.dataset.sample = []  # as a hook that rebuilds the pipeline would
    with pytest.raises(RuntimeError, match=r"FreeShift must change rows of the sample.*epoch 0"):
        list(made)


def test_a_mix_that_did_not_fire_or_was_switched_off_is_no_mistake(toys):
    made = loader(spec_file(toys, "- {method: ZetaMixup, p: 0.5}"), batch_size=24)
    for _ in range(8):  # p decides once for all 24 rows
        list(made)
    made = loader(spec_file(toys, "- {method: ZetaMixup}"))
    made.mixup_enabled = False
    list(made)


def test_mixes_take_their_epochs_and_labels_are_soft_in_all(toys):
    spec = spec_file(
        toys,
        """
        - {method: ZetaMixup, top_k: 2, until_epoch: 1}
        - {method: ZetaMixup, from_epoch: 2}
        """,
    )
    made = loader(spec)
    mixed = []
    for epoch in range(3):
        made.dataset.set_epoch(epoch)
        mixed += [int((soft > 0).sum(1).max()) for _, soft in made]
    assert set(mixed[:4]) <= {1, 2}
    assert mixed[4:8] == [1] * 4
    assert set(mixed[8:]) == {3}


def test_workers_differ_and_so_do_epochs(toys):
    spec = spec_file(toys, "- {artifact: noisy_shift, stage: sample, p: 1}")
    made = loader(spec, num_workers=2)
    seen = {image.numpy().tobytes() for _ in range(2) for images, _ in made for image in images}
    assert len(seen) > 40  # of 48


def test_workers_that_run_ahead_are_not_taken_for_idle(toys):
    spec = spec_file(toys, "- {artifact: free_shift, stage: sample, p: 1}")
    made = loader(spec, use_multi_epochs_loader=True, num_workers=2, batch_size=24)
    for epoch in range(3):  # of one batch, with four more under way
        assert all(corners(images)[0][0] == 16 for images, _ in made)
        deadline = time.monotonic() + 60
        while made.counts.total()[0, 0] < 24 * (epoch + 5) and time.monotonic() < deadline:
            time.sleep(0.01)


class Broken(Squares):
    def __getitem__(self, index):
        raise OSError("a broken disk")


def test_an_error_in_a_worker_ends_the_training(toys):
    spec = spec_file(toys, "- {artifact: class_picture, stage: image, p: 1}")  # 8 px into 32 px
    with pytest.raises(ValueError, match="must have the size"):
        list(loader(spec, num_workers=1))
    with pytest.raises(OSError, match="a broken disk"):
        list(loader(spec, Broken(), num_workers=1))
