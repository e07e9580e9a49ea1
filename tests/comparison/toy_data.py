"""Made-up data sets in memory that tell when they are read, and the smallest of comparisons."""

import numpy as np
import torch

from albu_learned.comparison import set_up
from albu_learned.data import Data, Rows

TINY = {"sizes": 4, "seeds": 1, "steps": 3, "batch": 8, "device": "cpu"}
CLASSES = ("ant", "bee", "cow")


class MemoryRows(Rows):
    """Rows in memory. What is asked of them goes into `log`, which other parts may share."""

    def __init__(self, rows, labels, groups=None, part="", log=None):
        self.rows, self.labels, self.groups, self.part = rows, labels, groups, part
        self.log = [] if log is None else log

    def read(self, indices):
        self.log.append((f"read {self.part}", len(indices)))
        return self.rows[indices]

    def check(self):
        self.log.append((f"check {self.part}", len(self)))
        return [row.numpy().tobytes() for row in self.rows]


def data(train, test, labels, groups=None, kind="images", classes=CLASSES, log=None):
    """Data of (train, test) rows and of (train, test) labels."""
    log = [] if log is None else log
    parts = [
        MemoryRows(rows, torch.as_tensor(own), of, name, log)
        for rows, own, of, name in zip(
            (train, test), labels, (groups, None), ("train", "test"), strict=True
        )
    ]
    return Data("toys", kind, classes, *parts, tuple(train.shape[1:]), "/nowhere")


def log_of(data):
    """What was asked of both parts, in order: pairs of "read test" and how many rows."""
    return data.train.log


def stripes(count, seed, size=8, channels=1):
    """Images of a class are bright in their own third, under noise; and their labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    images = random.integers(0, 120, (count, channels, size, size), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        start = label * size // len(CLASSES)
        image[:, :, start : start + 2] += 100
    return torch.from_numpy(images), labels


def images(train=30, test=12, groups=None, **form):
    """Three classes of small images."""
    (train_x, train_y), (test_x, test_y) = stripes(train, 1, **form), stripes(test, 2, **form)
    return data(train_x, test_x, (train_y, test_y), groups)


def series(train=24, test=9, length=32):
    """Series of two channels; a class is a frequency."""

    def part(count, seed):
        random = np.random.default_rng(seed)
        labels = np.arange(count) % len(CLASSES)
        times = np.linspace(0, 6, length) * (1 + labels)[:, None] + random.uniform(0, 6, (count, 1))
        rows = np.stack([np.sin(times), np.cos(times)], axis=1)
        return torch.from_numpy(rows + random.normal(0, 0.1, rows.shape)).float(), labels

    (train_x, train_y), (test_x, test_y) = part(train, 1), part(test, 2)
    return data(train_x, test_x, (train_y, test_y), kind="series")


def wandering(train=40, test=60, size=12):
    """Two classes, a bar that stands and one that lies: in the middle in training, where it likes
    in the test. Only who moves training images can know."""

    def part(count, seed, reach):
        random = np.random.default_rng(seed)
        rows = random.integers(0, 60, (count, 1, size, size), dtype=np.uint8)
        labels = np.arange(count) % 2
        for row, label in zip(rows, labels, strict=True):
            y, x = size // 2 - 1 + random.integers(-reach, reach + 1, 2)
            high, wide = ((4, 1), (1, 4))[label]
            row[0, y - 1 : y - 1 + high, x - 1 : x - 1 + wide] = 220
        return torch.from_numpy(rows), labels

    (train_x, train_y), (test_x, test_y) = part(train, 1, 0), part(test, 2, 3)
    return data(train_x, test_x, (train_y, test_y), classes=("stands", "lies"))


def as_npz(path, given):
    """The file that holds the same as data in memory."""
    arrays = {}
    for name in ("train", "test"):
        rows = getattr(given, name)
        stored = rows.rows.permute(0, 2, 3, 1) if given.kind == "images" else rows.rows
        arrays |= {f"{name}_x": stored.numpy(), f"{name}_y": rows.labels.numpy()}
    np.savez(path, classes=np.array(given.classes), **arrays)
    return path


def written(folder, text, name="spec.yaml"):
    """The path of a spec's file, as a text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return str(folder / name)


def study(given=None, arms=(), **settings):
    """A comparison that is set up and not begun."""
    return set_up(images() if given is None else given, list(arms), **{**TINY, **settings})
