"""Rows set aside: shares, whole groups, every class."""

import itertools

import pytest
import torch

from albu_learned.data import hold_out


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_labels(seed):
    g = generator(seed)
    classes = int(torch.randint(2, 8, (), generator=g))
    count = int(torch.randint(classes, 120, (), generator=g))
    # Numbers with gaps, and some classes with a row or two.
    return (torch.rand(count, generator=g) ** 2 * classes).long() * 3, g


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_rows_are_about_a_share_of_every_class(share):
    for seed in range(40):
        labels, g = random_labels(seed)
        held = hold_out(labels, None, share, g)
        assert held.dtype == torch.bool
        assert held.shape == labels.shape
        for label in labels.unique():
            own = held[labels == label]
            if len(own) == 1:
                assert not own.any()
            else:
                assert 1 <= own.sum() <= len(own) - 1
                inside = min(max(share * len(own), 1), len(own) - 1)
                assert abs(int(own.sum()) - inside) <= 0.5 + 1e-6


def possible(labels, groups):
    """Whether some choice of whole groups holds some and keeps some of every class, by trying all;
    a class of one group is kept."""
    names = groups.unique().tolist()
    of = [set(groups[labels == label].tolist()) for label in labels.unique()]
    for size in range(len(names)):
        for held in map(set, itertools.combinations(names, size)):
            if all(own - held and (own & held or len(own) == 1) for own in of):
                return True
    return False


def test_groups_stay_whole_and_every_class_has_its_share():
    refused = 0
    for seed in range(150):
        labels, g = random_labels(seed)
        count = int(torch.randint(2, 9, (), generator=g))
        groups = torch.randint(0, count, labels.shape, generator=g) * 5 - 7
        if not possible(labels, groups):
            refused += 1
            with pytest.raises(ValueError, match="`groups` must let some rows of every class"):
                hold_out(labels, groups, 0.3, g)
            continue
        held = hold_out(labels, groups, 0.3, g)
        for group in groups.unique():
            assert len(held[groups == group].unique()) == 1
        for label in labels.unique():
            own = held[labels == label]
            assert not own.all()
            assert own.any() or len(groups[labels == label].unique()) == 1
    assert 0 < refused < 75


def test_many_groups_come_near_to_the_share():
    g = generator(3)
    groups = torch.randint(0, 400, (3000,), generator=g)
    labels = (groups % 4 + (torch.rand(3000, generator=g) < 0.1).long()) % 4
    held = hold_out(labels, groups, 0.25, g)
    for label in range(4):
        assert held[labels == label].float().mean() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_generator_decides(grouped):
    labels = torch.arange(90) % 3
    groups = torch.arange(90) // 2 if grouped else None
    first = hold_out(labels, groups, 0.3, generator(1))
    assert torch.equal(first, hold_out(labels, groups, 0.3, generator(1)))
    assert not torch.equal(first, hold_out(labels, groups, 0.3, generator(2)))


@pytest.mark.parametrize(
    ("labels", "groups", "share", "message"),
    [
        (torch.zeros(4), None, 0.3, r"`labels` must be \(N,\) int64, got \(4,\) torch.float32"),
        (torch.zeros(4).long(), torch.zeros(3).long(), 0.3, r"`groups` must be \(4,\)"),
        (torch.zeros(4).long(), None, 1.0, r"`share` must be in \(0, 1\), got 1"),
        (
            torch.tensor([0, 0, 1, 1, 2, 2]),  # three groups, each pair of them a class
            torch.tensor([0, 1, 1, 2, 0, 2]),
            0.3,
            r"no such choice of whole groups was found \(classes",
        ),
    ],
)
def test_refusals(labels, groups, share, message):
    with pytest.raises(ValueError, match=message):
        hold_out(labels, groups, share, generator())
