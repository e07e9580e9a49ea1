"""The training images of a detection set in YOLO's form, with their objects, as they are varied."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from albu_learned.data import label_file
from albu_learned.data.files import EXTENSIONS, OTHERS, is_image, listed
from albu_learned.data.yolo import FILE, Reader
from albu_learned.synth.objects import Thing, things_in

__all__ = ["DataSet", "Source", "opened", "variant_of"]

_IMAGES = "images"
_LONGEST = 230  # bytes of a name, which the number of a variant and a temporary name make longer
_PARTS = ("val", "test")
_TRAINED = (*EXTENSIONS, *OTHERS)


@dataclass(frozen=True)
class Source:
    """A real image.

    Args:
        name: its path from the root of the data set, with slashes.
        path: where it is.
        content: what tells the image and its labels from others.
        labels: the content of its label file.
        things: its objects.
    """

    name: str
    path: Path
    content: str
    labels: str
    things: tuple[Thing, ...]

    def variant(self, number: int) -> PurePosixPath:
        return variant_of(self.name, number)


def variant_of(source: str, number: int) -> PurePosixPath:
    """Where a variant of an image of this name goes. Training looks for labels where the last
    folder `images` of a path is called `labels`, so that there must be one."""
    name = PurePosixPath(source)
    folder = name.parent if _IMAGES in name.parent.parts else _IMAGES / name.parent
    return folder / f"{name.name}.v{number}.png"


@dataclass(frozen=True)
class DataSet:
    """What a data.yaml names.

    Args:
        reader: of its other parts.
        classes: their names.
        sources: images that show something.
        real: names of all training images whose labels are good, each as often as it is listed.
        empty: names of images without an object.
        unread: names of images that Ultralytics trains on, and that cannot be read here.
        careful: what is to be said about the data set.
        errors: what is wrong with images that were left out, by their names.
    """

    reader: Reader
    classes: tuple[str, ...]
    sources: tuple[Source, ...]
    real: tuple[str, ...]
    empty: tuple[str, ...]
    unread: tuple[str, ...]
    careful: tuple[str, ...]
    errors: dict[str, str]


def opened(given: Path) -> DataSet:
    """The data set of a data.yaml, or of the folder that holds one."""
    file = given / FILE if given.is_dir() else given
    if not file.is_file():
        raise FileNotFoundError(
            f"`data` must be the data.yaml of a data set in YOLO's form, got {str(given)!r}, and "
            f"there is no {str(file)!r}."
        )
    missing: list[Path] = []
    reader = Reader(file, missing)
    if "kpt_shape" in reader.keys:
        raise ValueError(
            f"`data` must be of boxes or outlines, got {str(file)!r}, which is of key points."
        )
    classes = reader.names()
    paths = Counter(reader.entries("train", _TRAINED))
    errors = {_name(path, reader.root): "is not there" for path in missing}
    sources: list[Source] = []
    real: list[str] = []
    empty: list[str] = []
    unread: list[str] = []
    for path, times in sorted(paths.items()):
        name = _name(path, reader.root)
        try:
            source = _source(path, name, len(classes))
        except (OSError, ValueError) as error:
            errors[name] = str(error)
            continue
        real += [name] * times
        if not is_image(path):
            unread.append(name)
        elif not source.things:
            empty.append(name)
        elif len(os.fsencode(path.name)) <= _LONGEST:
            sources.append(source)
        else:
            errors[name] = f"has too long a name for variants: make it {_LONGEST} bytes at most"
    _check_apart(sources, file)
    careful = (*_without_test(reader), *_in_both(reader, paths))
    return DataSet(reader, classes, (*sources,), (*real,), (*empty,), (*unread,), careful, errors)


def _without_test(reader: Reader) -> list[str]:
    """Leaves out a `test` that is not there, as many a data.yaml names one without having it."""
    try:
        if reader.keys.get("test"):
            reader.places("test")
    except FileNotFoundError as error:
        del reader.keys["test"]
        return [f"{error} It was left out of the new data.yaml."]
    return []


def _in_both(reader: Reader, train: Collection[Path]) -> list[str]:
    """A sentence on images that are not only trained on."""
    tested: set[Path] = set()
    for part in _PARTS:
        if reader.keys.get(part):
            # What else is wrong with them is for those who validate to say.
            with suppress(OSError, ValueError):
                tested.update(reader.entries(part, _TRAINED))
    both = sorted(tested.intersection(train))
    if not both:
        return []
    return [
        f"{len(both):,} of the training images are validated or tested on too, such as "
        f"{_name(both[0], reader.root)}. What is learned of them by heart counts as right: take "
        f"them out of one part of {reader.where}, and make variants anew."
    ]


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _source(path: Path, name: str, classes: int) -> Source:
    place = label_file.of(path)
    _, problems = label_file.read(place, classes)
    if problems:
        raise ValueError(f"its labels: {listed(problems, 2)}")
    text = label_file.text(place)
    content = label_file.digest(path.read_bytes(), text)
    return Source(name, path, content, text, things_in(text))


def _check_apart(sources: list[Source], file: Path) -> None:
    taken: dict[PurePosixPath, str] = {}
    for source in sources:
        place = source.variant(0)
        if place in taken:
            raise ValueError(
                f"Images of {str(file)!r} must differ in name from their folder `images` on, got "
                f"{taken[place]!r} and {source.name!r}. Rename one."
            )
        taken[place] = source.name
