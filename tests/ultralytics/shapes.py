"""Tiny data sets: one grey rectangle an image on black, at a known place, for each task."""

import cv2
import numpy as np
import yaml

SIZE = 64
COUNT = 8
NAMES = ["low", "high"]  # classes, by the rectangle's brightness
BOX = {"train": (16, 16, 48, 40), "val": (20, 24, 44, 52)}  # x1, y1, x2, y2 in pixels
POINTS = ((24, 24), (40, 32))  # keypoints of the training images


def picture(split, number):
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    x1, y1, x2, y2 = BOX[split]
    image[y1:y2, x1:x2] = 120 if number % 2 == 0 else 240
    return image


def row(task, split, number):
    """The line of the label file."""
    x1, y1, x2, y2 = (value / SIZE for value in BOX[split])
    corners = [x1, y1, x2, y1, x2, y2, x1, y2]
    box = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    points = [value for x, y in POINTS for value in (x / SIZE, y / SIZE, 2)]
    values = {"detect": box, "segment": corners, "obb": corners, "pose": box + points}[task]
    return " ".join(str(value) for value in (number % 2, *values))


def make(task, folder):
    """What `data=` wants."""
    return _folders(folder) if task == "classify" else _labelled(task, folder)


def _folders(folder):
    for split in BOX:
        for number in range(COUNT):
            place = folder / split / NAMES[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{number}.png"), picture(split, number))
    return str(folder)


def _labelled(task, folder):
    for split in BOX:
        for part in ("images", "labels"):
            (folder / part / split).mkdir(parents=True)
        for number in range(COUNT):
            image = str(folder / "images" / split / f"{number}.png")
            cv2.imwrite(image, picture(split, number))
            text = row(task, split, number)
            (folder / "labels" / split / f"{number}.txt").write_text(text + "\n")
    described = {"path": str(folder), "train": "images/train", "val": "images/val"}
    described["names"] = dict(enumerate(NAMES))
    if task == "pose":
        described |= {"kpt_shape": [2, 3], "flip_idx": [0, 1]}
    (folder / "data.yaml").write_text(yaml.safe_dump(described))
    return str(folder / "data.yaml")
