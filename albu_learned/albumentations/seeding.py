"""A random stream of its own for each DataLoader worker.

albumentations 2.0.8 copies one stream into every worker, and again in every epoch: of 8 images of 2
workers only 4 get augmentations of their own, the same ones in each epoch. AlbumentationsX mends
that; seeding it here does no harm.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from albu_learned.albumentations.host import A

__all__ = ["seed_worker"]

_PLAIN = (str, bytes, int, float, complex, bool, np.ndarray, np.generic, torch.Tensor)
_OPAQUE = (type, ModuleType, torch.nn.Module, torch.Generator)
# A longer list holds samples, not transforms; walking a million paths would stall each worker.
_LONGEST = 1000


def seed_worker(worker_id: int) -> None:
    """Seeds every Albumentations transform of a worker's dataset: `worker_init_fn=seed_worker`.

    Workers differ, epochs differ, and `torch.manual_seed` before the loop makes them again; a seed
    given to a Compose is replaced. Transforms are looked for in the dataset's attributes, in
    datasets within it (Subset, ConcatDataset), in lists, dicts, partials and functions, and among
    the globals that its functions name.

    Args:
        worker_id: the number of the worker, as a DataLoader gives it.

    Example:
        >>> from torch.utils.data import DataLoader  # doctest: +SKIP
        >>> DataLoader(dataset, num_workers=2, worker_init_fn=seed_worker)  # doctest: +SKIP
    """
    info = get_worker_info()
    if info is None:
        raise RuntimeError(
            "seed_worker must be called in a DataLoader worker, got the main process. "
            "Pass it as DataLoader(..., worker_init_fn=seed_worker)."
        )
    found = list(_transforms_in(info.dataset))
    if not found:
        raise ValueError(
            f"The dataset must hold an Albumentations transform for worker {worker_id} to seed, "
            f"but none was found in {type(info.dataset).__name__}. Keep it as an attribute of the "
            "dataset, or leave out worker_init_fn."
        )
    for transform in found:
        transform.set_random_seed(torch.initial_seed() % 2**32)


def _transforms_in(root: Any) -> Iterator[Any]:
    """The outermost transforms; a Compose seeds its own children."""
    waiting, seen = [root], {}
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or thing is None or isinstance(thing, _PLAIN + _OPAQUE):
            continue
        seen[id(thing)] = thing  # kept, so that no number is given away twice
        if isinstance(thing, (A.BasicTransform, A.BaseCompose)):
            yield thing
        else:
            waiting.extend(_parts(thing))


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, dict):
        return list(thing.values()) if len(thing) <= _LONGEST else []
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing) if len(thing) <= _LONGEST else []
    if isinstance(thing, FunctionType):
        return _of_function(thing)
    if isinstance(thing, MethodType):
        return [thing.__self__, thing.__func__]
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    slots = [getattr(thing, name, None) for name in _slots(type(thing))]
    return [*getattr(thing, "__dict__", {}).values(), *slots, *_of_class(type(thing))]


def _of_class(kind: type) -> list[Any]:
    """Transforms that are class attributes, and the methods, which may name global ones."""
    members = [value for base in kind.__mro__ for value in vars(base).values()]
    return [m for m in members if isinstance(m, (A.BasicTransform, A.BaseCompose, FunctionType))]


def _of_function(function: FunctionType) -> list[Any]:
    """What it closes over, its defaults, and the global transforms that it names."""
    cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
    named = [function.__globals__.get(name) for name in function.__code__.co_names]
    transforms = [value for value in named if isinstance(value, (A.BasicTransform, A.BaseCompose))]
    return [*cells, *transforms, function.__defaults__, function.__kwdefaults__]


def _filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _slots(kind: type) -> list[str]:
    found = [base.__dict__.get("__slots__", ()) for base in kind.__mro__]
    return [name for slots in found for name in ([slots] if isinstance(slots, str) else slots)]
