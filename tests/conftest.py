"""Keeps Ultralytics from the network and the user's settings, and processes from taking all
threads, before anything imports it."""

import importlib.util
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # other processes test beside this one
    os.environ.setdefault("OMP_NUM_THREADS", "1")
SETTINGS = tempfile.TemporaryDirectory()
os.environ["YOLO_CONFIG_DIR"] = SETTINGS.name
os.environ["YOLO_OFFLINE"] = "1"
os.environ["YOLO_AUTOINSTALL"] = "0"
os.environ["YOLO_VERBOSE"] = "True"
if importlib.util.find_spec("matplotlib") is not None:
    # The font it would download for every data set that it checks.
    folder = Path(SETTINGS.name, "Ultralytics")
    folder.mkdir()
    fonts = Path(importlib.util.find_spec("matplotlib").submodule_search_locations[0])
    shutil.copy(fonts / "mpl-data/fonts/ttf/DejaVuSans.ttf", folder / "Arial.ttf")


@pytest.fixture(autouse=True, scope="session")
def _interruptible():
    """In the background of a shell interrupts are ignored, here and in processes started here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Small tensors are faster on one thread, and other work shares the cores."""
    import torch

    torch.set_num_threads(1)
