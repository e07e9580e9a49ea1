"""What the arms of one seed share follows from the seed, and from nothing else."""

import hashlib
from itertools import pairwise

import pytest
import torch

from albu_learned.comparison.subsets import batches, derived, subset, validations

LABELS = torch.arange(60) % 3
GROUPS = torch.arange(60) // 6  # six neighbours are a group, which shows every class twice


def test_a_subset_has_so_many_of_every_class():
    rows = subset(LABELS, 5, seed=0)
    assert LABELS[rows].bincount().tolist() == [5, 5, 5]
    assert len(rows.unique()) == 15


def test_smaller_subsets_lie_in_larger_ones():
    every = [set(subset(LABELS, size, seed=2).tolist()) for size in (1, 4, 19, 0)]
    assert all(small < large for small, large in pairwise(every))
    assert every[-1] == set(range(60))  # 0 stands for all


def test_seeds_take_other_images_each_in_its_own_order():
    first, second = subset(LABELS, 5, seed=0), subset(LABELS, 5, seed=1)
    assert set(first.tolist()) != set(second.tolist())
    every = subset(LABELS, 0, seed=0)
    orders = [every[LABELS[every] == c] // 3 for c in (0, 1)]
    assert not torch.equal(*orders)  # nor do classes share an order


def test_nothing_depends_on_the_global_generator():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = subset(LABELS, 5, 0), batches(9, 4, 5, 0), validations(LABELS, None, 5, 0, 1)[0]
        state = torch.get_rng_state()
        torch.manual_seed(2)
        again = subset(LABELS, 5, 0), batches(9, 4, 5, 0), validations(LABELS, None, 5, 0, 1)[0]
        torch.manual_seed(1)
        assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, first, again))


def test_seeds_for_purposes():
    reference = hashlib.sha256(b"weights/3").digest()[:7]
    assert derived("weights", 3) == int.from_bytes(reference, "big")
    every = {derived(what, seed, size) for what in "ab" for seed in range(9) for size in range(9)}
    assert len(every) == 2 * 9 * 9
    assert max(every) < 2**63 - 1  # what a generator takes, with room for a neighbour


def test_a_third_of_the_subset_validates_and_some_of_every_class_on_either_side():
    masks = validations(LABELS, None, 20, seed=0, holdouts=3)
    assert [LABELS[mask].bincount().tolist() for mask in masks] == [[7, 7, 7]] * 3
    assert not torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], validations(LABELS, None, 20, seed=0, holdouts=1)[0])
    assert not torch.equal(masks[0], validations(LABELS, None, 20, seed=1, holdouts=1)[0])


def test_a_group_is_on_one_side():
    for mask in validations(LABELS, GROUPS, 20, seed=0, holdouts=4):
        assert not set(GROUPS[mask].tolist()) & set(GROUPS[~mask].tolist())
        assert 0.2 < mask.float().mean() < 0.5


def test_nothing_validates_where_every_class_has_one_row():
    assert validations(torch.arange(5), None, 1, seed=0, holdouts=2) == []
    alone = validations(torch.tensor([0, 0, 1]), None, 2, seed=0, holdouts=1)[0]
    assert alone[:2].sum() == 1
    assert not alone[2]


@pytest.mark.parametrize(
    ("count", "batch", "steps"), [(10, 4, 9), (7, 7, 3), (3, 8, 4), (64, 5, 2)]
)
def test_batches_show_every_row_as_often_as_any(count, batch, steps):
    rows = batches(count, batch, steps, 0)
    assert rows.shape == (steps, min(batch, count))
    seen = rows.flatten().bincount(minlength=count)
    assert seen.max() - seen.min() <= 1
    for start in range(0, rows.numel() - count + 1, count):  # epoch after epoch
        assert rows.flatten()[start : start + count].unique().numel() == count


def test_batches_by_their_seed():
    assert torch.equal(batches(10, 4, 9, 0, 5, "all"), batches(10, 4, 9, 0, 5, "all"))
    for other in [(1, 5, "all"), (0, 6, "all"), (0, 5, 0)]:
        assert not torch.equal(batches(10, 4, 9, 0, 5, "all"), batches(10, 4, 9, *other))
    longer = batches(10, 4, 20, 0, 5, "all")  # more steps begin alike
    assert torch.equal(longer[:9], batches(10, 4, 9, 0, 5, "all"))
