"""Detection sets in YOLO's form: a data.yaml that names folders of images, and label files.

Label files lie in a folder `labels` beside the folder `images`; an image without one shows nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from albu_learned.data import groups as grouping
from albu_learned.data import label_file
from albu_learned.data.files import EXTENSIONS, images_below, is_image, listed
from albu_learned.data.rows import Boxes

__all__ = ["FILE", "Reader", "open_boxes"]

FILE = "data.yaml"


def open_boxes(file: Path, groups: Any) -> Boxes:
    """The data set that a data.yaml describes."""
    read = Reader(file)
    classes = read.names()
    tested_on = "test" if read.keys.get("test") else "val"
    train, test = read.images("train"), read.images(tested_on)
    both = sorted(set(train) & set(test))
    if both:
        raise ValueError(
            f"An image of {str(file)!r} must be in train or in {tested_on}, but in both stand "
            f"{listed([repr(str(image)) for image in both])}. Take it out of one."
        )
    numbers: Tensor | None = None
    if groups is not None:
        found = grouping.of_images(groups, [*train, *test], read.root)
        numbers, _ = grouping.without_leak(
            found[: len(train)], found[len(train) :], repr(str(file))
        )
    name = file.parent.name if file.name == FILE else file.stem
    present = _present(train, len(classes), file)
    return Boxes(name, classes, tuple(train), tuple(test), tested_on, numbers, present, str(file))


def _present(images: list[Path], count: int, file: Path) -> Tensor:
    present = torch.zeros(len(images), count, dtype=torch.bool)
    for i, image in enumerate(images):
        shown, _ = label_file.read(label_file.of(image), count)
        present[i, [one.label for one in shown]] = True
    if not present.any():
        raise ValueError(
            f"The train images of {str(file)!r} must have labels, but none has any. The first is "
            f"{str(images[0])!r}, whose labels are looked for in {str(label_file.of(images[0]))!r}."
        )
    return present


class Reader:
    """What a data.yaml says. Paths that it names may not lead out of its data set.

    Args:
        file: the data.yaml.
        missing: takes images that a .txt list names and that are not there; None: that raises.
    """

    def __init__(self, file: Path, missing: list[Path] | None = None) -> None:
        self.file, self.where, self.missing = file, repr(str(file)), missing
        try:
            keys = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
        except (yaml.YAMLError, ValueError) as error:
            raise ValueError(f"{self.where} must be YAML, but {error}.") from error
        if not isinstance(keys, dict):
            raise ValueError(
                f"{self.where} must have the keys train, val or test, and names, got "
                f"{type(keys).__name__}."
            )
        self.keys: dict[Any, Any] = keys
        self.root = self._root()

    def names(self) -> tuple[str, ...]:
        """The names of the classes, from a list or from a mapping of their numbers."""
        given = self.keys.get("names")
        if isinstance(given, dict) and set(given) == set(range(len(given))):
            given = [given[number] for number in range(len(given))]
        good = isinstance(given, list) and all(isinstance(n, (str, int, float)) for n in given)
        if not good or not given or len(set(map(str, given))) < len(given):
            raise ValueError(
                f"`names` of {self.where} must list the classes, each another name, or map the "
                f"numbers from 0 to them, got {given!r}."
            )
        count = self.keys.get("nc", len(given))
        if count != len(given):
            raise ValueError(f"`nc` of {self.where} must be {len(given)}, as `names`, got {count}.")
        return tuple(str(name) for name in given)

    def places(self, part: str) -> list[Path]:
        """The folders and .txt lists that a part names."""
        given: Any = self.keys.get(part)
        places: list[Any] = given if isinstance(given, list) else [given]
        if not given or not all(isinstance(place, str) for place in places):
            raise ValueError(
                f"`{part}` of {self.where} must be a folder, a .txt list of images or a list of "
                f"these, got {given!r}."
            )
        return [self._place(part, place) for place in places]

    def images(self, part: str) -> list[Path]:
        """The images of a part, sorted, each once."""
        found = sorted(set(self.entries(part)))
        if not found:
            raise ValueError(
                f"`{part}` of {self.where} must have images, got none in {self.keys[part]!r}."
            )
        return found

    def entries(self, part: str, extensions: Sequence[str] = EXTENSIONS) -> list[Path]:
        """The images of a part that end so, each as often as it is named."""
        found = []
        for place in self.places(part):
            if place.is_dir():
                found += images_below(place, extensions)
            else:
                found += self._listed(part, place, extensions)
        return found

    def _root(self) -> Path:
        given = self.keys.get("path") or "."
        if not isinstance(given, str):
            raise ValueError(f"`path` of {self.where} must be a folder, got {given!r}.")
        root = Path(given)
        if not root.is_absolute():
            root = self._inside(self.file.parent, self.file.parent, given, "path")
            self._check_elsewhere(given, root)
        if not root.is_dir():
            raise FileNotFoundError(
                f"`path` of {self.where} must be a folder, got {given!r}, and there is no "
                f"{str(root)!r}. Leave `path` out if the images lie beside the file, or make it "
                "absolute."
            )
        return Path(os.path.abspath(root))

    def _check_elsewhere(self, given: str, root: Path) -> None:
        """Raises if Ultralytics, which looks from where it is run, would train on other images."""
        other = Path(os.path.abspath(given))
        train = self.keys.get("train")
        parts = [str(one) for one in (train if isinstance(train, list) else [train]) if one]
        if not self.keys.get("path") or other.resolve() == root.resolve():
            return
        if any(not os.path.isabs(part) and (other / part).exists() for part in parts):
            raise ValueError(
                f"`path` of {self.where} must name one folder, got {given!r}, which is "
                f"{str(root)!r} seen from the file and {str(other)!r} seen from here, where "
                "Ultralytics looks for it. Make it absolute."
            )

    def _place(self, part: str, given: str) -> Path:
        """What one entry of a part stands for."""
        if given.startswith("../") and not Path(os.path.abspath(self.root / given)).exists():
            given = given[3:]  # exports of Roboflow are one folder off; Ultralytics mends it so too
        place = self._inside(self.root, self.root, given, part)
        if place.is_dir() or (place.is_file() and place.suffix == ".txt"):
            return place
        raise FileNotFoundError(
            f"`{part}` of {self.where} must be a folder or a .txt list, got {given!r}, and there "
            f"is no {str(place)!r}."
        )

    def _listed(self, part: str, file: Path, extensions: Sequence[str]) -> list[Path]:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        found = [self._inside(self.root, file.parent, line, part) for line in lines if line]
        missing = [path for path in found if not is_image(path, extensions) or not path.is_file()]
        if missing and self.missing is None:
            raise FileNotFoundError(
                f"{str(file)!r} must list images by their paths from its folder, but these are "
                f"none: {listed([repr(str(path)) for path in missing])}."
            )
        if self.missing is not None:
            self.missing += missing
        return [path for path in found if path not in missing]

    def _inside(self, root: Path, base: Path, given: str, key: str) -> Path:
        found = Path(os.path.abspath(base / given))
        if not found.is_relative_to(root):
            raise ValueError(
                f"`{key}` of {self.where} must stay inside of {str(root)!r}, got {given!r}. Set "
                "`path` to the absolute path of the folder that holds all images."
            )
        return found
