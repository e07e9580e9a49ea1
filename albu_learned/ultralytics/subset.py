"""Some images of a YOLO data set as a data set of their own, in a folder of ours.

Ultralytics writes a cache of labels beside the folder of the labels, and mends broken images where
they are. So images are linked and labels copied into a folder that may be written to.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from ultralytics.data.utils import img2label_paths

from albu_learned.ultralytics.host import YOLODataset

__all__ = ["PLAIN_KEY", "check_all_used", "dilute", "write_subset"]

PLAIN_KEY = "albu_learned_plain"  # of a sample: whether it was given plain
DATA = "data.yaml"


def write_subset(place: Path, images: Sequence[Path], classes: Sequence[str]) -> Path:
    """The data.yaml of the images, in the order of their paths, whatever order they are given in.

    Args:
        place: a folder, which is replaced if an earlier call has written it.
        images: with their labels where Ultralytics looks: the last `images` of the path `labels`.
        classes: their names.
    """
    listed = sorted(Path(image).absolute() for image in images)
    _check(listed, classes)
    _clear(place)
    for part in ("images", "labels"):
        (place / part).mkdir(parents=True)
    boxes = False
    for number, image in enumerate(listed):
        name = f"{number:06d}_{image.stem}"
        _link(image, place / "images" / f"{name}{image.suffix}")
        label = label_of(image)
        if label.is_file():  # an image without is background
            shutil.copyfile(label, place / "labels" / f"{name}.txt")
            boxes = boxes or bool(label.read_text(encoding="utf-8-sig").strip())
    if not boxes:
        raise ValueError(
            f"`images` must have at least one box, but none of {len(listed)} has a label file with "
            f"one: that of the first would be {str(label_of(listed[0]))!r}."
        )
    described = {"path": str(place), "train": "images", "val": "images"}
    described["names"] = dict(enumerate(classes))  # type: ignore[assignment]
    (place / DATA).write_text(yaml.safe_dump(described), encoding="utf-8")
    return place / DATA


def label_of(image: Path) -> Path:
    return Path(img2label_paths([str(image)])[0])


def _check(listed: Sequence[Path], classes: Sequence[str]) -> None:
    if not listed:
        raise ValueError("`images` must be the paths of at least one image, got none.")
    if not classes or isinstance(classes, str):
        raise ValueError(f"`classes` must be a list of at least one name, got {classes!r}.")
    for before, after in pairwise(listed):
        if before == after:
            raise ValueError(f"`images` must name each once, got {str(after)!r} twice.")
    for image in listed:
        if not image.is_file():
            raise FileNotFoundError(f"`images` must be files, but {str(image)!r} is none.")


def _clear(place: Path) -> None:
    if not place.exists():
        return
    if not (place / DATA).is_file():
        raise FileExistsError(
            f"`folder` must be free for {str(place)!r}, which is there and is not of an earlier "
            "training or test. Choose another folder."
        )
    shutil.rmtree(place)


def _link(image: Path, target: Path) -> None:
    try:
        os.symlink(image, target)
    except OSError:  # Windows asks for a privilege
        shutil.copyfile(image, target)


def check_all_used(dataset: Any) -> None:
    """Ultralytics leaves images out that it cannot use, and says so only in its log."""
    given = {path.name for path in Path(dataset.img_path).iterdir()}
    unused = sorted(given - {Path(path).name for path in dataset.im_files})
    if unused:
        raise ValueError(
            f"`images` must all be usable, but Ultralytics leaves out {len(unused)} of "
            f"{len(given)}, the first {unused[0]!r} (numbered by their order): an image that it "
            f"cannot read, or a label that is not `class x y width height` with a class below "
            f"{len(dataset.data['names'])} and the rest from 0 to 1. Mend them or leave them out."
        )


class Diluted(YOLODataset):  # at the top of a module, so that worker processes can name it
    """A training data set that gives a share of its samples plain."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        plain = random.random() < self.plain_share
        if plain:  # read as the host reads it, past whatever else hangs on this object
            sample = self.plain_transforms(YOLODataset.get_image_and_label(self, index))
        else:
            sample = super().__getitem__(index)
        return {**sample, PLAIN_KEY: plain}


def dilute(dataset: Any, share: float, args: Any, plain: dict[str, Any]) -> None:
    """Lets a data set give a share of its samples as the host makes them with other arguments."""
    hyp = copy(args)
    vars(hyp).update(plain)
    dataset.plain_share = share
    dataset.plain_transforms = dataset.build_transforms(hyp)
    dataset.__class__ = Diluted
