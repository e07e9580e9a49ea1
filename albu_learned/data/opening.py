"""Finds out which form of data set a path is, and opens it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from albu_learned import checks
from albu_learned.data.arrays import has_arrays, open_arrays
from albu_learned.data.files import folders_in
from albu_learned.data.folder import open_folder
from albu_learned.data.rows import Boxes, Data
from albu_learned.data.series import open_series, pairs
from albu_learned.data.yolo import FILE, open_boxes

__all__ = ["KNOWN", "open_data"]

KNOWN = """\
  a .npz file, or a folder of .npy files, with train_x, train_y, test_x, test_y, or with x and y
  a folder of images, train/CLASS/* and test/CLASS/* (or val), or CLASS/*
  a pair NAME_TRAIN.tsv, NAME_TEST.tsv of the UCR archive, or the folder with it
  a data.yaml of YOLO, or the folder with it"""
_KINDS = {
    "arrays": ("images", "series"),
    "boxes": ("detection",),
    "series": ("series",),
    "folder": ("images",),
}


def open_data(
    path: str | os.PathLike[str],
    *,
    image_size: int | None = None,
    kind: str | None = None,
    groups: Any = None,
    test_share: float = 0.3,
) -> Data | Boxes:
    """Opens a data set: labels are read, images and series are not.

    Args:
        path: a .npz file or a folder of .npy files; a folder of images by class; series of the UCR
            archive; or a data.yaml of YOLO. Of train, test and val folders, val is ignored.
        image_size: the side of square images: files are cropped to it (unless given 64, or less
            where all are smaller), arrays are resized to it (or keep their size). For images by
            class alone.
        kind: "images", "series" or "detection", where the path leaves a doubt.
        groups: which rows are of one patient or scene: a CSV file with the columns `image` and
            `group` for image files, one value a row for arrays x and y. Arrays may hold them too.
        test_share: of every class, where the data set has no parts of its own. The split is always
            the same. 0 leaves nothing for testing: for a fit of which no test will be made.

    Raises:
        FileNotFoundError: there is no such path, or a file that belongs to it is missing.
        ValueError: it is no data set that is known, or something is wrong with it.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"`path` must be the path of a data set, got {type(path).__name__}.")
    if kind not in (None, "images", "series", "detection"):
        raise ValueError(f'`kind` must be "images", "series", "detection" or None, got {kind!r}.')
    if image_size is not None:
        image_size = checks.integer("image_size", image_size, 1)
    test_share = checks.between("test_share", test_share, "[0, 1)")
    place = Path(os.path.abspath(path))
    if not place.exists():
        raise FileNotFoundError(
            f"`path` must be a data set, got {os.fspath(path)!r}, which does not exist."
        )
    form = _form(place, kind)
    if form == "arrays":
        return open_arrays(place, kind, image_size, groups, test_share)
    if form == "folder":
        return open_folder(place, image_size, groups, test_share)
    if image_size is not None:
        raise ValueError(
            f"`image_size` must be None but for images by class, got {image_size} for {form}."
        )
    if form == "boxes":
        return open_boxes(place / FILE if place.is_dir() else place, groups)
    if groups is not None:
        raise ValueError("`groups` must be None for series of the UCR archive, which has none.")
    return open_series(place)


def _form(place: Path, kind: str | None) -> str:
    """The first form that a path can be, of the kind that is wanted."""
    if place.is_dir():
        forms = {
            "arrays": has_arrays(place),
            "boxes": (place / FILE).is_file(),
            "series": bool(pairs(place)),
            "folder": bool(folders_in(place)),
        }
    else:
        ending = place.suffix.lower()
        forms = {
            "arrays": ending == ".npz",
            "boxes": ending in (".yaml", ".yml"),
            "series": bool(pairs(place)),
        }
    found = [form for form, there in forms.items() if there]
    fitting = [form for form in found if kind is None or kind in _KINDS[form]]
    if fitting:
        return fitting[0]
    if found:
        raise ValueError(
            f'`kind` must be None or "{_KINDS[found[0]][0]}" for {str(place)!r}, got "{kind}".'
        )
    raise ValueError(f"`path` must be a data set, got {str(place)!r}. What is known:\n{KNOWN}")
