"""Datasets of all kinds beside a spec: transformed once, told the epoch, labelled as they are."""

import functools
import logging
from types import ModuleType, SimpleNamespace

import pytest
import torch
from timm.data.transforms import MaybePILToTensor
from torch.utils.data import Subset
from torchvision import transforms

from albu_learned.timm import host, patch
from albu_learned.timm.loader import Normal
from albu_learned.timm.replaced import SpecCollate, SpecMixup
from tests.timm.cases import Squares, save_toys, spec_file, square
from tests.timm.test_loader import MEAN, STD, WHOLE, corners, loader, pixels, stock

BATCH = "- {artifact: free_shift, stage: batch, p: 1}"
IMAGE = "- {artifact: free_shift, stage: image, p: 1}"


@pytest.fixture
def toys(tmp_path):
    return save_toys(tmp_path)


class Own(Squares):
    """Makes its tensors itself, whatever transform it is given."""

    def __getitem__(self, index):
        return MaybePILToTensor()(square(index % 3)), index % 3


@pytest.mark.parametrize("kind", ["own", "subset"])
def test_a_dataset_that_transforms_by_itself_is_left_alone(toys, kind):
    if kind == "own":
        data = Own()
    else:
        inner = Squares()
        inner.transform = MaybePILToTensor()
        data = Subset(inner, range(12))
    made = loader(spec_file(toys, BATCH), data, **WHOLE)
    assert made.dataset is data
    assert corners(next(iter(made))[0]) == [(16, 8, 64)] * 6
    plain = loader(None, data, create=stock, **WHOLE)
    assert corners(next(iter(plain))[0]) == [(8, 8, 64)] * 6
    with pytest.raises(TypeError, match=r"must yield pairs of a PIL image .* one of Tensor"):
        next(iter(loader(spec_file(toys, IMAGE), data)))


def test_a_transform_of_the_user_s_takes_the_place_of_timm_s(toys):
    data = Squares()
    made = loader(spec_file(toys, BATCH), data, no_aug=False)
    data.transform = MaybePILToTensor()
    assert corners(next(iter(made))[0]) == [(16, 8, 64)] * 6
    made = loader(spec_file(toys, IMAGE), data, no_aug=False)
    made.dataset.transform = transforms.Compose([MaybePILToTensor()])
    assert corners(next(iter(made))[0]) == [(16, 8, 64)] * 6
    data.transform = MaybePILToTensor()  # past the wrapper: the image would be transformed twice
    with pytest.raises(RuntimeError, match="would be applied twice"):
        next(iter(made))


def test_a_learned_dataset_is_not_wrapped_again(toys):
    made = loader(spec_file(toys, IMAGE))
    with pytest.raises(TypeError, match="must not be that of a learned loader already"):
        loader(spec_file(toys, IMAGE), made.dataset)


class Renumbered(Squares):
    """Its labels are not those of its `class_to_idx`."""

    target_transform = int


def test_renumbered_labels_need_class_names(toys):
    with pytest.raises(ValueError, match=r"`num_classes` must be known"):
        loader(spec_file(toys, "- {method: ZetaMixup}"), Renumbered())
    with pytest.raises(ValueError, match="Name them in the order of your labels"):
        loader(spec_file(toys, "- {artifact: class_shift}"), Renumbered())
    given = spec_file(toys, "- {artifact: class_shift, p: 1}", top="classes: [dog, cat, eel]")
    images, target = next(iter(loader(given, Renumbered())))
    lands = {0: (8, 16, 64), 1: (16, 8, 64), 2: (16, 16, 64)}  # dog is what cat was
    assert corners(images) == [lands[label] for label in target.tolist()]


class Dicts(Squares):
    def __getitem__(self, index):
        return {"image": MaybePILToTensor()(square()), "label": 0}


def test_samples_that_are_no_pairs(toys):
    with pytest.raises(TypeError, match="must yield pairs of a PIL image and its target"):
        next(iter(loader(spec_file(toys, IMAGE), Dicts(), use_prefetcher=False)))
    with pytest.raises(TypeError, match=r"must yield \(images, targets\) .* got dict"):
        next(iter(loader(spec_file(toys, BATCH), Dicts(), use_prefetcher=False)))


def test_random_erasing_beforehand(toys):
    """Its noise lies beyond black and white; methods see pictures, and other rows keep it."""
    spec = spec_file(toys, "- {artifact: free_shift, stage: batch, p: 0.5}")
    made = loader(spec, re_prob=1.0, re_mode="pixel", re_count=1, **WHOLE)
    seen, given = [], []
    step = made.stage[0][1]
    plan, inner = step.plan, made.loader
    step.plan = lambda batch: seen.append(batch.images) or plan(batch)
    made.loader = [given.append(x.clone()) or (x, y) for x, y in inner]
    torch.manual_seed(0)
    rows = []
    for images, before in zip((images for images, _ in made), given, strict=False):
        same = (images == before).flatten(1).all(dim=1)
        rows += same.tolist()
        inside = pixels(images[~same])
        assert inside.min() > -1e-4
        assert inside.max() < 1 + 1e-4
    assert 0 < sum(rows) < len(rows) == 24
    assert all(images.min() >= 0 and images.max() <= 1 for images in seen)
    assert any((pixels(images) < -0.01).any() for images in given)
    normal, beyond = Normal(MEAN, STD), torch.full((1, 3, 1, 1), 9.0)
    assert normal.unit(beyond).max() == 1
    assert torch.equal(normal.normalised(beyond, beyond), normal.normalised(beyond / 9, beyond))


@pytest.fixture
def installed(toys, monkeypatch):
    """`patch.install` for a script that holds timm's names in its own ways."""
    script, inside = ModuleType("__main__"), ModuleType("timm.data.loader")
    script.make_loader, script.Mixing = host.create_loader, host.Mixup
    script.partly = functools.partial(host.create_loader, batch_size=4)
    inside.create_loader, inside.FastCollateMixup = host.create_loader, host.FastCollateMixup
    monkeypatch.setattr(patch, "sys", SimpleNamespace(modules={"a": script, "b": inside}))
    monkeypatch.setattr(patch, "atexit", SimpleNamespace(register=lambda function: None))
    monkeypatch.setattr(patch._Installed, "spec", None)
    monkeypatch.setattr(patch._Installed, "used", False)
    monkeypatch.setattr(SpecMixup, "latest", None)
    monkeypatch.setenv("ALBU_LEARNED", str(spec_file(toys, "- {method: ZetaMixup}")))
    patch.install()
    return SimpleNamespace(script=script, inside=inside)


OPTIONS = {"is_training": True, "device": torch.device("cpu"), "num_workers": 0}
OPTIONS |= {"persistent_workers": False}


def test_names_of_the_script_s_own(installed):
    assert installed.script.make_loader is patch.create_loader
    assert installed.script.Mixing is SpecMixup
    assert installed.inside.create_loader is patch.create_loader
    # timm asks here whether a collate function is of this type, to switch it off
    assert installed.inside.FastCollateMixup is host.FastCollateMixup


def test_a_loader_past_the_patch_does_not_train_on_hard_labels(installed, caplog):
    collate = SpecCollate(num_classes=3)
    past = installed.script.partly(Squares(), (3, 32, 32), collate_fn=collate, **OPTIONS)
    with pytest.raises(RuntimeError, match=r"Import it after albu_learned\.timm"):
        next(iter(past))
    with caplog.at_level(logging.ERROR, "albu_learned"):
        patch._tell_if_unused()
    assert "no training loader of timm was made after" in caplog.text
    caplog.clear()
    made = installed.script.make_loader(Squares(), (3, 32, 32), 4, collate_fn=collate, **OPTIONS)
    assert next(iter(made))[1].shape == (4, 3)
    with caplog.at_level(logging.ERROR, "albu_learned"):
        patch._tell_if_unused()
    assert caplog.text == ""


def test_a_mixup_belongs_to_one_loader(installed):
    SpecMixup(num_classes=3)
    options = {**OPTIONS, "use_prefetcher": False}
    installed.script.make_loader(Squares(), (3, 32, 32), 4, **options)
    with pytest.raises(RuntimeError, match="Build a Mixup for each loader"):
        installed.script.make_loader(Squares(), (3, 32, 32), 4, **options)


def test_cutmix_needs_pairs(installed):
    collate = SpecCollate(num_classes=3, cutmix_alpha=1.0)
    with pytest.raises(ValueError, match=r"`batch_size` \(-b\) must be even .* got 5"):
        installed.script.make_loader(Squares(), (3, 32, 32), 5, collate_fn=collate, **OPTIONS)
