"""A training or a test that leaves its process, and the network, as they were.

Ultralytics seeds all random numbers and switches torch to deterministic algorithms, and off again
whatever was set before; it sets threads and environment variables, asks PyPI for a newer version,
downloads a font, installs packages that it misses, and tells its makers what it is used for.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from ultralytics.data import utils as data_utils
from ultralytics.utils import checks, events, plotting

from albu_learned.ultralytics.host import LOGGER

__all__ = ["undisturbed"]

QUIET = 30  # warnings, and neither tables nor progress bars


@contextmanager
def undisturbed() -> Iterator[None]:
    """Everything global is put back afterwards, also if what is inside fails or is interrupted."""
    with ExitStack() as stack:
        for keep in (_environment, _random_numbers, _torch_settings, _quiet, _offline):
            stack.enter_context(keep())
        yield


@contextmanager
def _environment() -> Iterator[None]:
    variables, place = dict(os.environ), os.getcwd()
    try:
        yield
    finally:
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)
        os.chdir(place)


@contextmanager
def _random_numbers() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    # A GPU that nothing has used yet has no numbers to keep, and asking for them would start it.
    started = torch.cuda.is_initialized()
    device = torch.cuda.current_device() if started else 0
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if started else ()):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if started:
            torch.cuda.set_device(device)


@contextmanager
def _torch_settings() -> Iterator[None]:
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    cudnn = torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict, warn_only=warn)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.backends.cudnn.deterministic = cudnn


@contextmanager
def _quiet() -> Iterator[None]:
    level = LOGGER.level
    LOGGER.setLevel(max(level, QUIET))
    try:
        yield
    finally:
        LOGGER.setLevel(level)


@contextmanager
def _offline() -> Iterator[None]:
    """Without its font, Ultralytics draws with the one of Pillow."""
    asking: tuple[tuple[Any, str, Any], ...] = (
        (checks, "check_pip_update_available", _nothing),
        (checks, "AUTOINSTALL", False),
        (data_utils, "check_font", _nothing),
        (plotting, "check_font", _nothing),
        (events.events, "enabled", False),
    )
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in asking]
    try:
        for owner, name, instead in asking:
            setattr(owner, name, instead)
        yield
    finally:
        for owner, name, own in kept:
            setattr(owner, name, own)


def _nothing(*_: Any) -> None:
    pass
