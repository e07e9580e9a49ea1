"""The training images of a detection set in YOLO's form, with their objects, as they are varied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from albu_learned.data import label_file
from albu_learned.data.files import listed
from albu_learned.data.yolo import FILE, Reader
from albu_learned.synth.objects import Thing, things_in

__all__ = ["DataSet", "Source", "opened", "variant_of"]

_IMAGES = "images"


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
        real: names of all training images whose labels are good.
        empty: names of images without an object.
        errors: what is wrong with images that were left out, by their names.
    """

    reader: Reader
    classes: tuple[str, ...]
    sources: tuple[Source, ...]
    real: tuple[str, ...]
    empty: tuple[str, ...]
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
    paths = reader.images("train")
    errors = {_name(path, reader.root): "is not there" for path in missing}
    sources, real, empty = [], [], []
    for path in paths:
        name = _name(path, reader.root)
        try:
            source = _source(path, name, len(classes))
        except (OSError, ValueError) as error:
            errors[name] = str(error)
            continue
        real.append(name)
        if source.things:
            sources.append(source)
        else:
            empty.append(name)
    _check_apart(sources, file)
    return DataSet(reader, classes, tuple(sources), tuple(real), tuple(empty), errors)


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _source(path: Path, name: str, classes: int) -> Source:
    place = label_file.of(path)
    _, problems = label_file.read(place, classes)
    if problems:
        raise ValueError(f"its labels: {listed(problems, 2)}")
    text = place.read_text(encoding="utf-8") if place.is_file() else ""
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
