"""Learned warps in `--aa` strings."""

import pickle
import random

import numpy as np
import pytest
import torch
from timm.data import auto_augment, create_transform
from timm.data.auto_augment import rand_augment_transform

from albu_learned.timm import policy, use_in_policies
from tests.timm.cases import corner, save_toys, shift, square
from tests.toys import ClassShift

STOCK = {None: 15, "weights": 15, "3aw": 14, "3a": 3}


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    for name in policy._names():
        del auto_augment.NAME_TO_OP[name], auto_augment.LEVEL_TO_ARG[name]


def names(config):
    return [op.name for op in rand_augment_transform(config, {"img_mean": 0}).ops]


def test_the_geometric_slots_go_to_the_warps_in_turn():
    stock = names("rand-m9")
    use_in_policies([shift(), shift(by=(0.0, 0.25))])
    learned = names("rand-m9-mstd0.5-tlearned")
    assert [name for name in learned if name.startswith("Learned")] == [
        *("Learned0", "Learned1", "Learned0", "Learned1", "Learned0")
    ]
    kept = [name for name in stock if name not in policy.GEOMETRIC]
    assert [name for name in learned if not name.startswith("Learned")] == kept
    assert "PosterizeIncreasing" in names("rand-m9-inc1-tlearned")
    assert names("rand-m9-tlearnedonly") == ["Learned0", "Learned1"]


@pytest.mark.parametrize("name", STOCK)
def test_stock_sets_stay_as_they_are(name):
    for increasing in (False, True):
        ours = auto_augment.rand_augment_choices(name or "3a", increasing)
        assert ours == policy._stock(name or "3a", increasing)
    assert len(names("rand-m9" if name is None else f"rand-m9-t{name}")) == STOCK[name]


@pytest.mark.parametrize("how", [pickle.dumps, None])
def test_a_warp_in_a_policy_moves_the_image(tmp_path, how):
    save_toys(tmp_path)
    use_in_policies(tmp_path / "free_shift")
    random.seed(0)
    np.random.seed(0)
    transform = create_transform(
        32, is_training=True, scale=(1, 1), ratio=(1, 1), hflip=0, use_prefetcher=True,
        auto_augment="rand-m9-mstd0.5-n1-p1-tlearnedonly",
    )  # fmt: skip
    transform = pickle.loads(how(transform)) if how else transform
    assert corner(transform(square())) == (16, 8, 64)


def test_the_magnitude_does_not_change_a_fitted_strength():
    use_in_policies(shift())
    for magnitude in (1, 9):
        transform = rand_augment_transform(f"rand-m{magnitude}-n1-p1-tlearnedonly", {"img_mean": 0})
        assert corner(transform(square())) == (16, 8, 64)


def test_a_second_call_replaces_the_first():
    assert use_in_policies([shift(), shift()]) == ["Learned0", "Learned1"]
    assert use_in_policies(shift()) == ["Learned0"]
    assert names("rand-tlearnedonly") == ["Learned0"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("rand-m9-tlearnd", r"got 'learnd'. Did you mean -tlearned\?"),
        ("rand-m9-tweight", r"got 'weight'. Did you mean -tweights\?"),
        ("rand-m9-tother", "must be one of weights, 3a, 3aw, learned, learnedonly, got 'other'"),
        ("rand-m9-tlearned", "-tlearned must be told its learned warps.*use_in_policies first"),
    ],
)
def test_a_set_that_is_not_known_raises(config, words):
    with pytest.raises(ValueError, match=words):
        rand_augment_transform(config)


@pytest.mark.parametrize(
    ("warps", "error", "words"),
    [
        ([], ValueError, "at least one warp, got none"),
        (3, TypeError, "`warps` must be a Warp, a folder or several of them, got int"),
        ([torch.nn.Identity()], TypeError, "`method` must be a Warp"),
        (shift(ClassShift), ValueError, "nothing but the image for RandAugment.*needs labels"),
    ],
)
def test_refusals(warps, error, words):
    with pytest.raises(error, match=words):
        use_in_policies(warps)
