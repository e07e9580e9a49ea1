"""Which known objects a detector finds, and which others."""

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


def finds(finder, monkeypatch, boxes, numbers, sure=0.9):
    """What it shall find from now on, and what it was shown."""
    shown = []

    def predict(pixels, **how):
        shown.append(pixels)
        conf = torch.full((len(boxes),), sure)
        found = SimpleNamespace(
            xyxyn=torch.tensor(boxes).view(-1, 4), cls=torch.tensor(numbers), conf=conf
        )
        return [SimpleNamespace(boxes=found)]

    monkeypatch.setattr(finder.model, "predict", predict)
    return shown


def test_by_class_and_place(weights, monkeypatch):
    finder = Finder(weights, ("cell", "clot", "other"))
    near = [[0.1, 0.1, 0.3, 0.29], [0.5, 0.5, 0.9, 0.6]]
    finds(finder, monkeypatch, near, [1.0, 0.0])
    pixels = torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()
    found = finder(pixels)
    assert finder.known(found, BOXES, [0, 1]).tolist() == [True, False]  # too little overlap
    assert finder.known(found, BOXES, [1, 1]).tolist() == [False, False]  # another class
    assert finder.known(found, BOXES, [2, 2]).tolist() == [True, False]  # a class it does not know


NEW = [0.6, 0.1, 0.8, 0.3]


@pytest.mark.parametrize(
    ("boxes", "number", "sure", "before", "kept", "count"),
    [
        ([NEW], 1.0, 0.9, [], 0.0, 1),
        ([NEW, [0.1, 0.6, 0.3, 0.8]], 1.0, 0.9, [], 0.0, 2),
        ([NEW], 0.0, 0.9, [], 0.0, 0),  # of a class that has no labels here
        ([NEW], 1.0, 0.4, [], 0.0, 0),  # not sure
        ([NEW], 1.0, 0.9, [[0.62, 0.1, 0.8, 0.3]], 0.0, 0),  # it was there, without a label
        ([[0.15, 0.15, 0.3, 0.3]], 1.0, 0.9, [], 0.0, 0),  # some of an object
        ([NEW], 1.0, 0.9, [], 0.75, 0),  # it is where little is new
        ([], 1.0, 0.9, [], 0.0, 0),
    ],
)
def test_what_is_invented(weights, monkeypatch, boxes, number, sure, before, kept, count):
    finder = Finder(weights, ("cell",))
    pixels = torch.zeros(20, 20, 3, dtype=torch.uint8).numpy()
    finds(finder, monkeypatch, before, [1.0] * len(before))
    there = finder(pixels)
    finds(finder, monkeypatch, boxes, [number] * len(boxes), sure)
    keep = torch.zeros(20, 20, dtype=torch.bool)
    keep[:, : 12 + round(4 * kept)] = kept > 0
    assert finder.invented(finder(pixels), there, BOXES, keep) == count


def test_what_it_is_shown(weights, monkeypatch):
    finder = Finder(weights, ("cell",))
    shown = finds(finder, monkeypatch, [[0.0, 0.0, 1.0, 1.0]], [1.0])
    pixels = torch.arange(12, dtype=torch.uint8).view(2, 2, 3).numpy()
    finder(pixels)
    assert (shown[0] == pixels[..., ::-1]).all()


def test_a_detector_that_has_learned_nothing_finds_nothing(weights):
    finder = Finder(weights, ("cell", "clot"))
    pixels = torch.zeros(32, 32, 3, dtype=torch.uint8).numpy()
    found = finder(pixels)
    assert finder.known(found, BOXES, [0, 1]).tolist() == [False, False]
    assert finder.invented(found, found, BOXES, torch.zeros(32, 32, dtype=torch.bool)) == 0


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
    finder(torch.zeros(32, 32, 3, dtype=torch.uint8).numpy())
    assert told == [(False, False)]
    assert (events.events.enabled, checks.AUTOINSTALL) == (True, True)
    assert not [name for name, *_ in installed if "pi-heif" in str(name)]
