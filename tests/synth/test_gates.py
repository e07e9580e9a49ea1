"""The figures of variants, alone and all together; objects and pictures."""

import os
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("PIL", reason="the extra `cli` is not installed")
from PIL import Image

from albu_learned.data import pictures
from albu_learned.synth import figures, gates, objects
from tests.synth import sets


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_psnr_is_of_kept_pixels_alone():
    original = noise(3, 4, 4)
    made, keep = original.clone(), torch.zeros(1, 4, 4, dtype=torch.bool)
    assert gates.psnr(made, original, keep) is None
    keep[:, :2] = True
    made[:, 2:] = 5.0
    assert gates.psnr(made, original, keep) == pytest.approx(100)
    made[:, :2] = original[:, :2] - 0.1
    made = torch.where(keep, (original + 0.1).clamp(max=1), made)
    error = (made - original)[keep.expand_as(made)].square().mean()
    assert gates.psnr(made, original, keep) == pytest.approx(-10 * error.log10().item(), abs=1e-4)


def test_auc_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    inside, around = draw.integers(0, 9, 40) / 4, draw.integers(2, 12, 30) / 4
    found = metrics.roc_auc_score([1] * 40 + [0] * 30, np.concatenate([inside, around]))
    assert gates.auc(inside.tolist(), around.tolist()) == pytest.approx(found)
    assert gates.told_apart(inside.tolist(), around.tolist()) == pytest.approx(1 - found)
    assert gates.auc([], [1.0]) is None


def test_patches_of_background_are_as_large_and_apart_from_objects():
    boxes = [(0.1, 0.1, 0.4, 0.3), (0.5, 0.6, 0.7, 0.9), (0.9, 0.9, 0.92, 0.92)]
    inside, around = gates.patches(boxes, (40, 60), torch.Generator().manual_seed(0))
    assert inside == [(slice(4, 12), slice(6, 24)), (slice(24, 36), slice(30, 42))]
    sizes = [[(s.stop - s.start) for s in place] for place in around]
    assert sizes == [[8, 18], [12, 12]]
    for rows, columns in around:
        for other_rows, other_columns in inside:
            apart = rows.stop <= other_rows.start or other_rows.stop <= rows.start
            apart |= columns.stop <= other_columns.start or other_columns.stop <= columns.start
            assert apart
            assert 0 <= rows.start < rows.stop <= 40
            assert 0 <= columns.start < columns.stop <= 60


def test_softer_places_are_less_sharp():
    image = noise(3, 20, 40)
    image[..., 20:] = F.avg_pool2d(image[..., 20:], 5, 1, 2)
    places = [(slice(2, 18), slice(2, 18)), (slice(2, 18), slice(23, 37))]
    sharp, soft = gates.sharpness(image, places)
    assert sharp > 4 * soft


def test_the_nearest_is_another():
    images = [noise(3, 20, 24, seed=seed) for seed in range(3)]
    thumbs = gates.unpacked([gates.thumb(image) for image in images])
    assert thumbs.shape == (3, 256)
    distances, numbers = gates.nearest(thumbs, [0, 1, 2], thumbs, rows=2)
    assert numbers[0] in (1, 2)
    apart = (thumbs[0] - thumbs[numbers[0]]).square().mean().sqrt().item()
    assert distances[0] == pytest.approx(apart, abs=1e-4)
    same, which = gates.nearest(thumbs[:1], [1], thumbs)
    assert (same[0], which) == (pytest.approx(0, abs=1e-3), [0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"sharpness": 0.71}, ["told from background with 0.71 in variants"]),
        ({"nearest distance": 0.04}, ["learned them by heart"]),
        ({"sharpness": None, "nearest distance": None}, []),
    ],
)
def test_what_is_warned_of(change, words):
    usual = {"sharpness": 0.69, "sharpness of real images": 0.6}
    usual |= {"nearest distance": 0.06, "nearest distance of real images": 0.1}
    found = figures.warnings_of(usual | change)
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_objects_of_a_label_file():
    box, outline = objects.things_in("0 0.5 0.5 1.2 0.2\n\n1 0.1 0.2 0.5 0.2 0.1 0.8\n")
    assert box.box == pytest.approx((0.0, 0.4, 1.0, 0.6))
    assert (outline.label, outline.box) == (1, (0.1, 0.2, 0.5, 0.8))
    masks = objects.outlines([box, outline], (10, 20))
    assert masks.shape == (2, 10, 20)
    assert masks[0, 4:6].all()
    assert not masks[0, :3].any()
    assert masks[1, 3, 3:7].all()
    assert not masks[1, 7:, 7:].any()
    assert objects.outlines([], (10, 20)).shape == (0, 10, 20)


def test_labels_stay_but_where_masks_do_not_look_at_objects():
    text = "0 0.25 0.5 0.3 0.4\n1 0.75 0.5 0.3 0.4\n"
    things = objects.things_in(text)
    keep = torch.zeros(10, 20, dtype=torch.bool)
    keep[:, :10] = True
    for mask in ("gaussian-blobs", "gaussian-outside", "outside", "inside-random"):
        assert objects.kept_lines(mask, text, things, keep) == text
    assert objects.kept_lines("random", text, things, keep) == "0 0.25 0.5 0.3 0.4\n"


@pytest.mark.parametrize("kind", ["grey", "colour", "grey 16", "colour 16"])
def test_pictures_come_back_bit_by_bit(kind):
    if kind == "colour 16":
        pytest.importorskip("cv2")
    image = sets.image(0, (5, 7), kind)
    found = pictures.decoded(pictures.encoded(image))
    assert found.dtype == image.dtype
    assert (found == image).all()


def test_pictures_in_other_modes(tmp_path):
    colours = Image.fromarray(sets.image(0, (6, 4)))
    for mode, shape in (("P", (6, 4, 3)), ("RGBA", (6, 4, 3)), ("LA", (6, 4)), ("1", (6, 4))):
        colours.convert(mode).save(tmp_path / "a.png")
        assert pictures.decoded((tmp_path / "a.png").read_bytes()).shape == shape
    turned = Image.Exif()
    turned[274] = 6
    colours.save(tmp_path / "a.jpg", exif=turned)
    assert pictures.decoded((tmp_path / "a.jpg").read_bytes()).shape == (4, 6, 3)
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="32 bits, has no range"):
        pictures.decoded((tmp_path / "a.tif").read_bytes())


def test_a_tiff_of_sixteen_bits(tmp_path):
    cv2 = pytest.importorskip("cv2")
    image = sets.image(1, (5, 6), "colour 16")
    cv2.imwrite(str(tmp_path / "a.tif"), image[..., ::-1])
    found = pictures.decoded((tmp_path / "a.tif").read_bytes())
    assert found.dtype == np.uint16
    assert (found == image).all()


def test_a_detector_is_imported_as_if_there_were_no_network(monkeypatch):
    told = []

    class Finder:
        def __init__(self, *given):
            told.append(given)

    def here(name):
        if name != "Finder":
            raise AttributeError(name)
        told.append((os.environ["YOLO_OFFLINE"], os.environ["YOLO_AUTOINSTALL"]))
        return Finder

    finding = ModuleType("finding")
    finding.__getattr__ = here
    for name, module in (("", ModuleType("ultralytics")), (".finding", finding)):
        monkeypatch.setitem(sys.modules, f"albu_learned.ultralytics{name}", module)
    monkeypatch.setenv("YOLO_OFFLINE", "no")
    monkeypatch.delenv("YOLO_AUTOINSTALL", raising=False)
    assert isinstance(gates.finder("best.pt", ("cell",), "cpu"), Finder)
    assert told == [("true", "false"), ("best.pt", ("cell",), "cpu")]
    assert os.environ["YOLO_OFFLINE"] == "no"
    assert "YOLO_AUTOINSTALL" not in os.environ
