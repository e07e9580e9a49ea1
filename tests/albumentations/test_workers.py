"""DataLoader workers: different streams, different epochs, and torch's seed makes them again."""

import functools

import albumentations as A
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from albu_learned.albumentations import WarpTransform, ZetaCollate, seed_worker
from albu_learned.albumentations.seeding import _transforms_in
from tests.albumentations.cases import Noisy, X, shift

FOUND_BY_NAME = A.Compose([A.NoOp()])


def transform():
    return A.Compose([WarpTransform(shift(0, 0, noise=0.2), p=1)], seed=11)


def loader(data, context="fork", seeded=True, **options):
    start = {"worker_init_fn": seed_worker} if seeded else {}
    return DataLoader(
        data, batch_size=2, num_workers=2, multiprocessing_context=context, **start, **options
    )


def epoch(batches):
    return torch.cat([batch["image"] for batch in batches])


def distinct(images):
    return len({image.numpy().tobytes() for image in images})


def test_workers_and_epochs_differ_and_torch_s_seed_makes_them_again():
    batches = loader(Noisy(transform()))
    torch.manual_seed(0)
    first, second = epoch(batches), epoch(batches)
    assert distinct(first) == 8
    assert distinct(torch.cat([first, second])) == 16
    torch.manual_seed(0)
    assert torch.equal(epoch(batches), first)
    torch.manual_seed(1)
    assert not torch.equal(epoch(batches), first)


@pytest.mark.skipif(X, reason="AlbumentationsX gives workers streams of their own")
def test_without_seeding_2_0_8_repeats_itself():
    """Why `seed_worker` exists: if this fails, the host has been mended."""
    batches = loader(Noisy(transform()), seeded=False)
    first = epoch(batches)
    assert distinct(first) == 4
    assert torch.equal(epoch(batches), first)


def test_spawned_workers_with_a_mix():
    torch.manual_seed(0)
    collate = ZetaCollate(2, top_k=2)
    batches = list(loader(Noisy(transform(), 4), "spawn", collate_fn=collate))
    assert distinct(epoch(batches)) == 4
    assert torch.cat([batch["label"] for batch in batches]).shape == (4, 2)
    assert sorted(torch.cat([batch["worker"] for batch in batches]).tolist()) == [0, 0, 1, 1]


def test_mixes_of_workers_differ_without_any_seeding():
    def epoch():
        torch.manual_seed(0)
        options = {"batch_size": 6, "num_workers": 2, "collate_fn": ZetaCollate(2)}
        return [images for images, _ in DataLoader(Basis(), **options)]

    first = epoch()
    assert distinct(first) == len(first) == 4
    assert torch.equal(torch.stack(epoch()), torch.stack(first))


class Basis(Dataset):
    """Unit vectors: a mixed batch of six shows the matrix of its weights."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        return torch.eye(6)[i % 6], i % 2


class Holding(Dataset):
    def __init__(self, **things):
        self.__dict__.update(things)


class Slotted:
    __slots__ = ("inner",)


def closing_over(thing):
    return lambda image: thing(image=image)


def slotted(thing):
    holder = Slotted()
    holder.inner = thing
    return holder


def as_class_attribute(thing):
    return type("WithClassAttribute", (Holding,), {"augment": thing})()


class NamesAGlobal(Dataset):
    def __getitem__(self, i):
        return FOUND_BY_NAME(image=i)


PLACES = {
    "attribute": lambda t: Holding(transform=t),
    "bare": lambda t: Holding(aug=t.transforms[0]),
    "list": lambda t: Holding(all=[None, (t,)]),
    "dict": lambda t: Holding(by_name={"train": {"weak": t}}),
    "subset": lambda t: Subset(Holding(transform=t), [0]),
    "concat": lambda t: ConcatDataset([Noisy(A.NoOp()), Subset(Noisy(t), [0])]),
    "closure": lambda t: Holding(transform=closing_over(t)),
    "method": lambda t: Holding(transform=Noisy(t).__getitem__),
    "partial": lambda t: Holding(transform=functools.partial(print, t)),
    "slots": lambda t: Holding(inner=slotted(t)),
    "class": as_class_attribute,
    "cycle": lambda t: _cycle(t),
}


def _cycle(thing):
    data = Holding(transform=thing)
    data.itself = data
    return data


@pytest.mark.parametrize("place", PLACES)
def test_transforms_are_found(place):
    wanted = transform()
    found = list(_transforms_in(PLACES[place](wanted)))
    assert (wanted.transforms[0] if place == "bare" else wanted) in found


def test_a_transform_that_a_function_names_is_found_and_samples_are_not_walked():
    inline = Holding(f=lambda image: FOUND_BY_NAME(image=image))
    assert list(_transforms_in(inline)) == [FOUND_BY_NAME]
    assert list(_transforms_in(NamesAGlobal())) == [FOUND_BY_NAME]
    assert not list(_transforms_in(Holding(samples=[A.NoOp()] * 1001)))


def test_a_compose_is_found_once_without_its_children():
    one = transform()
    assert list(_transforms_in(Holding(a=one, b=[one]))) == [one]


def test_a_dataset_without_one_raises_in_words():
    with pytest.raises(ValueError, match="must hold an Albumentations transform for worker 0"):
        list(loader(Noisy(print)))


def test_outside_of_a_worker_it_raises_in_words():
    with pytest.raises(RuntimeError, match="worker_init_fn=seed_worker"):
        seed_worker(0)
