"""Every refusal of the door and its message, in one table."""

import importlib
import inspect

import pytest
import torch
from timm.data import FastCollateMixup
from timm.data import create_loader as stock
from torch.utils.data import IterableDataset

from albu_learned import Mix
from albu_learned import ZetaMixup as Core
from albu_learned.spec import read
from albu_learned.timm import MixCollate, MixTransform, ZetaCollate, ZetaMixup, create_loader, patch
from albu_learned.timm.replaced import SpecCollate, SpecMixup
from tests.timm.cases import Squares, save_toys, shift, spec_file

WARP = "- {artifact: free_shift, stage: %s}"
MIX = "- {method: ZetaMixup}"
IMAGES, LABELS = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    return save_toys(tmp_path_factory.mktemp("toys"))


class Stream(IterableDataset):
    transform = None

    def __iter__(self):
        return iter(())


class Unnamed(Squares):
    def __init__(self):
        super().__init__(named=False)


class Unlabelled(Squares):
    def __getitem__(self, index):
        return super().__getitem__(index)[0], -1


class Seeing(Core):
    """A mix that reads images."""

    needs = frozenset({"images"})


assert issubclass(Seeing, Mix)

REFUSED = [
    (
        WARP % "sample",
        {"num_aug_splits": 2},
        r"`num_aug_splits` \(--aug-splits\) must be 0.*got 2",
    ),
    (
        WARP % "image",
        {"dataset": Stream()},
        "must be batch with an iterable dataset.*stage: batch",
    ),
    (
        WARP % "sample",
        {"input_size_choices": [16]},
        r"scheduled input sizes \(--train-img-sizes\)",
    ),
    (WARP % "sample", {"tf_preprocessing": True}, "must be batch with tf_preprocessing"),
    (
        "- {artifact: free_shift, until_epoch: 3}",
        {"use_multi_epochs_loader": True},
        "must be left out on the sample with use_multi_epochs_loader",
    ),
    (WARP % "policy", {}, "must have a policy to be in, got auto_augment=None.*-tlearned"),
    (WARP % "policy", {"auto_augment": "rand-m9"}, "got auto_augment='rand-m9'"),
    (WARP % "policy", {"auto_augment": "augmix-m3"}, "got auto_augment='augmix-m3'"),
    (
        "- {artifact: class_shift, stage: policy}",
        {"auto_augment": "rand-tlearned"},
        "line 4: `method` must need nothing but the image for RandAugment",
    ),
    (
        WARP % "policy",
        {"auto_augment": "rand-tlearned", "no_aug": True},
        "timm has left it out.*--no-aug",
    ),
    (MIX, {"collate_fn": FastCollateMixup()}, "must not mix where the spec does.*FastCollateM"),
    (MIX, {"dataset": Unnamed()}, r"`num_classes` must be known to ZetaMixup.*num_classes=10"),
    ("- {method: ZetaMixup, num_classes: 4}", {}, "`num_classes` must be 3, as your data has it"),
    ("- {artifact: box_paint}", {}, "BoxPaint needs boxes, but on the image a loader of timm has"),
    ("- {artifact: nowhere}", {}, r"line 4: `artifact`: .*nowhere"),
    ("- {artifact: class_shift}", {"dataset": Unnamed()}, "does not know the names of yours"),
    (
        "- {artifact: class_shift, p: 1, stage: image}",
        {"dataset": Unlabelled()},
        "must be one class number >= 0 for a method that needs labels, got -1",
    ),
    (
        WARP % "policy",
        {"auto_augment": "rand-m9-tlearned", "input_size_choices": [16, 32]},
        r"must not be policy with scheduled input sizes \(--train-img-sizes\)",
    ),
    (
        "- {artifact: class_shift, p: 1, stage: batch}",
        {"collate_fn": ZetaCollate(num_classes=3)},
        "line 4: ClassShift on the batch reads class numbers, but ZetaCollate",
    ),
]


if "input_size_choices" not in inspect.signature(stock).parameters:  # not in every release
    REFUSED = [row for row in REFUSED if "input_size_choices" not in row[1]]


@pytest.mark.parametrize(("methods", "options", "words"), REFUSED)
def test_create_loader_refuses(toys, methods, options, words):
    spec = spec_file(toys, methods)
    given = {
        "dataset": Squares(),
        "input_size": (3, 32, 32),
        "batch_size": 4,
        "is_training": True,
        "num_workers": 0,
        "persistent_workers": False,  # old releases ask for it without workers
        "device": torch.device("cpu"),
    }
    with pytest.raises((ValueError, RuntimeError, OSError), match=words):
        list(create_loader(**{**given, **options}, spec=spec))


def test_classes_that_contradict_the_dataset(toys):
    spec = spec_file(toys, WARP % "sample", top="classes: [dog, cat, eel]")
    with pytest.raises(ValueError, match=r"`classes` of the spec must be left out.*'dog'"):
        create_loader(Squares(), (3, 32, 32), 4, is_training=True, spec=spec)


def test_a_transform_that_makes_no_tensor(toys):
    spec = spec_file(toys, WARP % "sample")
    made = create_loader(
        Squares(),
        (3, 32, 32),
        4,
        is_training=True,
        spec=spec,
        num_workers=1,
        device=torch.device("cpu"),
    )
    with pytest.raises(ValueError, match="must be a Compose with a conversion to a tensor"):
        made.dataset.transform = torch.nn.Identity()
    made.dataset.transform = None


@pytest.mark.parametrize(
    ("attempt", "error", "words"),
    [
        (lambda: ZetaMixup(prob=2), ValueError, r"`prob` must be in \[0, 1\], got 2"),
        (lambda: ZetaMixup(mode="half"), ValueError, "`mode` must be batch, pair or elem .*'half'"),
        (lambda: ZetaCollate(mode="all"), ValueError, "`mode` must be one of batch, pair, elem, h"),
        (lambda: ZetaMixup(prop=1), TypeError, "`prop` is not an argument .* Did you mean `prob`"),
        (lambda: ZetaMixup(cutmix_minmax=(0.5, 2)), ValueError, r"0 <= low < high <= 1, got \[0.5"),
        (lambda: ZetaMixup(gamma=-1), ValueError, "`gamma` must be"),
        (lambda: MixTransform(shift()), TypeError, "a warp method: use the door of that kind"),
        (lambda: MixTransform(Core), TypeError, "make an object of ZetaMixup first"),
        (lambda: MixTransform(Core(num_classes=3)), ValueError, r"must be 3.*default is 1000"),
        (lambda: MixTransform(Core(smoothing=0.1)), ValueError, "must be 0 in timm.*label_smooth"),
        (lambda: MixTransform(Seeing(), num_classes=3), ValueError, "must not need images here"),
        (lambda: MixTransform("nowhere"), (ValueError, OSError), "nowhere"),
        (
            lambda: ZetaMixup(cutmix_alpha=1.0)(IMAGES[:3], LABELS[:3]),
            ValueError,
            "even number of images where CutMix is on, got 3",
        ),
        (
            lambda: ZetaMixup(num_classes=2)(IMAGES, LABELS),
            ValueError,
            r"`labels` must be in 0..1 for num_classes=2, got 2",
        ),
        (
            lambda: ZetaMixup(num_classes=3, multi_label=True)(IMAGES, LABELS),
            ValueError,
            r"`target` must be \(B, 3\) for multi_label=True",
        ),
        (lambda: ZetaCollate()([]), ValueError, "at least one sample, got none"),
        (
            lambda: ZetaCollate()([(IMAGES[0], 0)]),
            TypeError,
            "must be uint8 for timm's prefetcher, got torch.float32, which it would cast",
        ),
        (lambda: ZetaCollate()([("x", 0)]), TypeError, "must be tensors or arrays .*got str"),
        (lambda: SpecMixup(prob=0.5), ValueError, r"`prob` \(--mixup-prob\) must be 1 with a spec"),
        (
            lambda: SpecMixup(cutmix_alpha=1.0, switch_prob=1),
            ValueError,
            r"`switch_prob` \(--mixup-switch-prob\) must be below 1",
        ),
        (lambda: ZetaMixup(cutmix_minmax=0.5), TypeError, "must be two numbers, .* got 0.5"),
        (lambda: SpecCollate(mode="half"), ValueError, r"`mode` \(--mixup-mode\) must be batch"),
        (lambda: SpecMixup()(IMAGES, LABELS), RuntimeError, "Build it before create_loader"),
        (patch.create_naflex_loader, NotImplementedError, r"--naflex-loader\) must not be used"),
    ],
)
def test_doors_refuse(attempt, error, words):
    with pytest.raises(error, match=words):
        attempt()


def test_a_collate_refuses_a_method_that_is_not_on_the_cpu():
    method = Core()
    method.register_buffer("learned", torch.zeros(1, device="meta"))
    with pytest.raises(ValueError, match=r"must be on the CPU for MixCollate.*\['meta'\]"):
        MixCollate(method, num_classes=3)


@pytest.mark.parametrize(
    ("methods", "options", "words"),
    [
        (MIX, {"use_prefetcher": True}, "makes labels soft, .* Add --mixup 1"),
        (MIX, {"use_prefetcher": False}, "makes labels soft, .* Add --mixup 1"),
        (MIX, {"num_aug_splits": 2}, "--aug-splits"),
        (
            "- {method: ZetaMixup, smoothing: 0.1}",
            {"collate_fn": SpecCollate(num_classes=3)},
            r"`smoothing` of ZetaMixup must be left out, got 0.1.*\(--smoothing\)",
        ),
        (
            "- {method: ZetaMixup, num_classes: 5}",
            {"collate_fn": SpecCollate(num_classes=3)},
            "`num_classes` must be 3, as your data has it, got 5",
        ),
    ],
)
def test_an_unedited_script_is_refused(toys, monkeypatch, methods, options, words):
    monkeypatch.setattr(patch._Installed, "spec", read(spec_file(toys, methods)))
    monkeypatch.setattr(SpecMixup, "latest", None)
    with pytest.raises(ValueError, match=words):
        patch.create_loader(Squares(), (3, 32, 32), 4, is_training=True, **options)


def test_a_mixup_of_another_loader_does_not_count(toys, monkeypatch):
    monkeypatch.setattr(patch._Installed, "spec", read(spec_file(toys, MIX)))
    monkeypatch.setattr(SpecMixup, "latest", SpecMixup(num_classes=3))
    with pytest.raises(ValueError, match="Add --mixup 1"):
        patch.create_loader(Squares(), (3, 32, 32), 4, is_training=True, use_prefetcher=True)


def test_the_variable_must_be_set(monkeypatch):
    monkeypatch.delenv("ALBU_LEARNED", raising=False)
    with pytest.raises(OSError, match=r"ALBU_LEARNED must name a spec.*ALBU_LEARNED=spec.yaml"):
        importlib.import_module("albu_learned.timm.register")
