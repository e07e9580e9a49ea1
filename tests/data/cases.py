"""Tiny data sets, written as users have them."""

import numpy as np
import pytest
import yaml


def images(count, size=6, channels=None, seed=0):
    shape = (count, size, size) if channels is None else (count, size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def series(count, length=9, channels=None, seed=0):
    shape = (count, length) if channels is None else (count, channels, length)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def labels(count, classes=3):
    return np.arange(count) % classes


def parts(train=12, test=6, make=images, **kwargs):
    """The four arrays of a data set that has its own test part."""
    return {
        "train_x": make(train, seed=1, **kwargs),
        "train_y": labels(train),
        "test_x": make(test, seed=2, **kwargs),
        "test_y": labels(test),
    }


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def npy(folder, **arrays):
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def picture(path, colour=(200, 30, 60), size=(10, 8), mode="RGB", **options):
    image = pytest.importorskip("PIL.Image")  # no dependency of the base install
    path.parent.mkdir(parents=True, exist_ok=True)
    image.new(mode, size, colour).save(path, **options)
    return path


def folder(root, parts=("train", "test"), classes=("ant", "bee"), each=3):
    """Images whose first channel is their number in their class, times ten."""
    for part in parts:
        for k, name in enumerate(classes):
            for i in range(each):
                picture(root / part / name / f"{part}{k}{i}.png", (10 * i, k, 7))
    return root


def tsv(path, rows):
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def ucr(root, name="Toy", length=4):
    root.mkdir(exist_ok=True)
    for part, count in (("TRAIN", 6), ("TEST", 4)):
        rows = [[(-1, 10)[i % 2], *(i + 0.5 * t for t in range(length))] for i in range(count)]
        tsv(root / f"{name}_{part}.tsv", rows)
    return root


BOX = "0.5 0.5 0.25 0.25"


def yolo(root, parts=("train", "val", "test"), each=3, **keys):
    """Image i of a part shows class 0, and the odd ones class 1 too; the last shows nothing."""
    for part in parts:
        for i in range(each):
            picture(root / "images" / part / f"{part}{i}.png")
            lines = [f"0 {BOX}\n"] + [f"1 {BOX}\n"] * (i % 2)
            if i < each - 1:
                label(root, part, i, "".join(lines))
    given = {"path": ".", "names": {0: "cell", 1: "clot"}, **{p: f"images/{p}" for p in parts}}
    given = {key: value for key, value in (given | keys).items() if value is not None}
    (root / "data.yaml").write_text(yaml.safe_dump(given))
    return root


def label(root, part, i, text):
    path = root / "labels" / part / f"{part}{i}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
