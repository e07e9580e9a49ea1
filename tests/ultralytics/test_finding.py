"""Which known objects a detector finds."""

import io
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("ultralytics", reason="the extra `ultralytics` is not installed")
from ultralytics import YOLO
from ultralytics.utils import checks, events, patches

from albu_learned.data import pictures
from albu_learned.ultralytics.finding import Finder

BOXES = torch.tensor([[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    model = YOLO("yolo11n.yaml", verbose=False)
    model.model.names = {0: "clot", 1: "cell"}
    model.save(path)
    return path


def finds(finder, monkeypatch, boxes, numbers):
    """What it shall find from now on, and what it was shown."""
    shown = []

    def predict(pixels, **how):
        shown.append(pixels)
        found = SimpleNamespace(xyxyn=torch.tensor(boxes), cls=torch.tensor(numbers))
        return [SimpleNamespace(boxes=found)]

    monkeypatch.setattr(finder.model, "predict", predict)
    return shown


def test_by_class_and_place(weights, monkeypatch):
    finder = Finder(weights, ("cell", "clot", "other"))
    near = [[0.1, 0.1, 0.3, 0.29], [0.5, 0.5, 0.9, 0.6]]
    finds(finder, monkeypatch, near, [1.0, 0.0])
    pixels = torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()
    assert finder(pixels, BOXES, [0, 1]).tolist() == [True, False]  # too little overlap
    assert finder(pixels, BOXES, [1, 1]).tolist() == [False, False]  # another class
    assert finder(pixels, BOXES, [2, 2]).tolist() == [True, False]  # a class it does not know


def test_what_it_is_shown(weights, monkeypatch):
    finder = Finder(weights, ("cell",))
    shown = finds(finder, monkeypatch, [[0.0, 0.0, 1.0, 1.0]], [1.0])
    pixels = torch.arange(12, dtype=torch.uint8).view(2, 2, 3).numpy()
    finder(pixels, BOXES, [0, 0])
    assert (shown[0] == pixels[..., ::-1]).all()


def test_a_detector_that_has_learned_nothing_finds_nothing(weights):
    finder = Finder(weights, ("cell", "clot"))
    pixels = torch.zeros(32, 32, 3, dtype=torch.uint8).numpy()
    assert finder(pixels, BOXES, [0, 1]).tolist() == [False, False]


def test_other_models(tmp_path):
    path = tmp_path / "cls.pt"
    YOLO("yolo11n-cls.yaml", verbose=False).save(path)
    with pytest.raises(ValueError, match=r"`detector` must find boxes or outlines, got .*classify"):
        Finder(path, ("cell",))


@pytest.fixture
def installed(monkeypatch):
    """What would have been installed."""
    asked = []

    def check(*given, **how):
        asked.append((*given, checks.AUTOINSTALL))
        raise ModuleNotFoundError("pi_heif")

    monkeypatch.setattr(checks, "check_requirements", check)
    monkeypatch.setattr(checks, "AUTOINSTALL", True)
    monkeypatch.setattr(patches, "_pil_plugins_registered", False)
    return asked


def test_a_broken_image_installs_nothing(installed):
    """Ultralytics' own `open` would: it takes what Pillow does not know for HEIF."""
    broken = b"\x89PNG\r\n\x1a\nnothing"
    with pytest.raises(ValueError, match="no known image format"):
        pictures.decoded(broken)
    assert installed == []
    with pytest.raises(ModuleNotFoundError):
        patches.image_open(io.BytesIO(broken))
    assert installed == [("pi-heif", True)]


def test_a_detector_installs_and_tells_nothing(weights, installed, monkeypatch):
    monkeypatch.setattr(events.events, "enabled", True)
    told = []
    monkeypatch.setattr(events, "SETTINGS", {"uuid": ""})
    finder = Finder(weights, ("cell",))
    predict = finder.model.predict

    def watched(*given, **how):
        told.append((events.events.enabled, checks.AUTOINSTALL))
        return predict(*given, **how)

    monkeypatch.setattr(finder.model, "predict", watched)
    finder(torch.zeros(32, 32, 3, dtype=torch.uint8).numpy(), BOXES, [0, 0])
    assert told == [(False, False)]
    assert (events.events.enabled, checks.AUTOINSTALL) == (True, True)
    assert not [name for name, *_ in installed if "pi-heif" in str(name)]
