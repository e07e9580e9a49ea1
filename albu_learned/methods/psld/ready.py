"""A pool of variants, as `albu-learned synth` writes it, open for reading.

An image is found by what it is and not by its name: as a file by its bytes, read once, or by its
pixels, hashed every time. So data may be moved, renamed and linked, and an image of another data
set with the same name is never taken for it. But one that was resized, cropped or saved anew is
another image.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from albu_learned.data import label_file
from albu_learned.data.files import listed
from albu_learned.data.pictures import Pixels, decoded_png, digest

__all__ = ["FORMAT", "MANIFEST", "NONE", "TYPE", "Original", "Ready"]

MANIFEST, FACTS = "manifest.json", ".synth.json"
TYPE, FORMAT = "PSLDInpaint variants", 3
NONE = -1  # the key of an image that the pool does not have
_KINDS = {"source": str, "variant": int, "status": str, "content": str, "pixels": str, "bytes": str}
_KINDS |= {"shape": list, "bits": int, "objects": str}
_ARTIFACTS = ("config.json", "model_index.json")
_ANOTHER = "it is another than the pool had when it was opened; if it was made anew, begin again"


class File(NamedTuple):
    """A variant, and what tells its content from others."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Original:
    """A real image, and its variants.

    Args:
        name: its path in its data set.
        content: what tells the file and its labels from others; `bytes` the file, `pixels`
            these, `objects` the labels.
        shape: (H, W) or (H, W, 3).
        bits: of a pixel.
        files: the variants by their numbers.
    """

    name: str
    content: str
    bytes: str
    pixels: str
    objects: str
    shape: tuple[int, ...]
    bits: int
    files: dict[int, File] = field(default_factory=dict)

    @property
    def key(self) -> int:
        """A number of its own, the same in every process, and after more variants were made."""
        return int(self.content[:15], 16)


class Ready:
    """The variants of a folder that can be shown in the place of their originals.

    Args:
        folder: what `albu-learned synth` wrote for a data set of boxes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        told = _manifest(folder)
        self.originals = _originals(folder, told["images"])
        names = {row["source"] for row in told["images"]}
        self.total = len(names.union(told["empty"], told["unread"], told["errors"]))
        self.shapes: dict[tuple[int, ...], set[tuple[int, int]]] = {}
        same: dict[str, list[Original]] = {}
        self._bytes: dict[str, list[Original]] = {}
        for original in self.originals.values():
            forms = self.shapes.setdefault(original.shape[:2], set())
            forms.add((len(original.shape), original.bits))
            self._bytes.setdefault(original.bytes, []).append(original)
            same.setdefault(original.pixels, []).append(original)
        # With the same pixels and other labels nobody knows which labels an image has.
        self._pixels = {
            pixels: found[-1].key  # the first, as they come in reverse
            for pixels, found in same.items()
            if len({original.objects for original in found}) == 1
        }
        self._paths: dict[str, int] = {}
        self._labelled: dict[str, bool] = {}

    def of_file(self, path: str) -> int:
        """The key of the image that was read from a file. A file is read once."""
        if path not in self._paths:
            self._paths[path] = self._of_file(Path(os.path.abspath(path)))
        return self._paths[path]

    def has_labels(self, path: str) -> bool:
        """Whether a file of labels belongs to the image of this file."""
        if path not in self._labelled:
            self._labelled[path] = label_file.of(Path(os.path.abspath(path))).is_file()
        return self._labelled[path]

    def of_pixels(self, image: Pixels) -> int:
        """The key of the image with these pixels: (H, W) or (H, W, C) of integers, or of floats in
        [0, 1]."""
        for dimensions, bits in self.shapes.get(image.shape[:2], ()):
            given = _in_form(image, dimensions, bits)
            found = NONE if given is None else self._pixels.get(digest(given), NONE)
            if found != NONE:
                return found
        return NONE

    def pick(self, key: int, share: float) -> int:
        """One of the variants of an image, all of them equally often, by a number in [0, 1)."""
        numbers = sorted(self.originals[key].files)
        return numbers[min(int(share * len(numbers)), len(numbers) - 1)]

    def read(self, key: int, variant: int) -> Pixels:
        """The pixels of a variant, of the shape and dtype of its original."""
        original = self.originals.get(key)
        if original is None or variant not in original.files:
            raise ValueError(
                f"`pool` must hold the variants that a plan was made of, but {str(self.folder)!r} "
                f"has no variant {variant} of this image. Give the pool that it was made with."
            )
        path, known = original.files[variant]
        try:
            content = path.read_bytes()
            if label_file.digest(content) != known:
                raise ValueError(_ANOTHER)
            pixels = decoded_png(content)
        except (OSError, ValueError) as error:
            raise ValueError(_broken(path, str(error))) from error
        if pixels.shape != original.shape or 8 * pixels.itemsize != original.bits:
            raise ValueError(_broken(path, f"its shape is {pixels.shape}, not {original.shape}"))
        return pixels

    def _of_file(self, path: Path) -> int:
        try:
            file = path.read_bytes()
        except OSError:  # a name within an archive, say
            return NONE
        found = self._bytes.get(label_file.digest(file), [])
        labels = label_file.of(path)
        if not found or not labels.is_file():
            return found[0].key if len(found) == 1 else NONE
        content = label_file.digest(file, label_file.text(labels))
        for original in found:
            if original.content == content:
                return original.key
        raise ValueError(
            f"The labels of images must be those that variants were made for, but {str(labels)!r} "
            f"is another now than that of {found[0].name!r} was. Run `albu-learned synth` again, "
            f"which makes the variants of {str(self.folder)!r} anew whose labels have changed."
        )


def _in_form(image: Pixels, dimensions: int, bits: int) -> Pixels | None:
    """The image as one of so many dimensions and bits would be; None if it is none."""
    if dimensions == 2 and image.ndim == 3:
        first = image[..., 0]
        grey = image.shape[2] == 1 or all(
            np.array_equal(first, image[..., k]) for k in range(1, image.shape[2])
        )
        if not grey:
            return None
        image = first
    elif dimensions != image.ndim or (dimensions == 3 and image.shape[2] != 3):
        return None
    wanted = np.uint8 if bits == 8 else np.uint16
    if image.dtype.kind == "f":
        whole: Pixels = np.rint(image * np.iinfo(wanted).max).astype(wanted)
        return whole
    return image if image.dtype == wanted else None


def _manifest(folder: Path) -> dict[str, Any]:
    """What the manifest of a finished pool says, with the keys it has to have."""
    file = folder / MANIFEST
    if not file.is_file():
        raise FileNotFoundError(_no_manifest(folder))
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        settings = told["settings"]
        kind, version = settings["type"], settings.get("format")
        lists = [told["images"], told["empty"], told["unread"], [*told["errors"]]]
        good = all(isinstance(one, list) for one in lists) and isinstance(kind, str)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(_not_as_written(file, f"{type(error).__name__}: {error}")) from error
    if not good or kind != TYPE:
        raise ValueError(_not_as_written(file, f"it is of {kind!r}"))
    if version != FORMAT:
        raise ValueError(
            f"`pool` must be of the format {FORMAT} that this version reads, got {str(folder)!r}, "
            f"of the format {version}. Make it anew with `albu-learned synth`, in another folder."
        )
    return dict(told)


def _no_manifest(folder: Path) -> str:
    rule = "`pool` must be a folder of variants that `albu-learned synth` has written for a "
    rule += f"data.yaml, got {str(folder)!r}, "
    if not folder.is_dir():
        return rule + "and there is no such folder."
    if (folder / FACTS).is_file():
        if TYPE in (folder / FACTS).read_text(encoding="utf-8"):
            return rule + "which is not finished. Run the same `albu-learned synth` again."
        return rule + "which holds images of classes. Train on them as they are."
    if any((folder / name).is_file() for name in _ARTIFACTS):
        return rule + (
            "which is a model. Make a pool with it first: `albu-learned synth DATA.yaml "
            f"--artifact {folder!s} -o POOL`."
        )
    return rule + f"which has no {MANIFEST}."


def _not_as_written(file: Path, why: str) -> str:
    return (
        f"`pool` must have its {MANIFEST} as `albu-learned synth` wrote it, but {str(file)!r} is "
        f"another ({why}). Run the same `albu-learned synth` again, which writes it anew."
    )


def _broken(path: Path, why: str) -> str:
    return (
        f"`pool` must have its variants as they were written, but {str(path)!r} is broken ({why}). "
        "Delete that file and run the same `albu-learned synth` again, which makes it anew."
    )


def _originals(folder: Path, rows: list[Any]) -> dict[int, Original]:
    """The real images that have variants, by their keys. Of images that are the same, labels and
    all, the first stands for all."""
    found: dict[str, Original] = {}
    for row in rows:
        _check_row(folder, row)
        if row["status"] != "written" or row["relabelled"]:
            continue  # objects were erased, and who is shown a variant keeps all labels
        name = row["source"]
        if name not in found:
            facts = {key: row[key] for key in ("content", "bytes", "pixels", "objects", "bits")}
            found[name] = Original(name, shape=tuple(row["shape"]), **facts)
        found[name].files[row["variant"]] = File(folder / row["file"], row["digest"])
    if not found:
        raise ValueError(
            f"`pool` must have variants with all labels of their originals, got {str(folder)!r}, "
            'which has none. With mask="random" objects are erased: train on its data.yaml.'
        )
    _check_there(folder, [file.path for one in found.values() for file in one.files.values()])
    return {original.key: original for original in reversed(found.values())}


def _check_row(folder: Path, row: Any) -> None:
    kinds = dict(_KINDS)
    if isinstance(row, dict) and row.get("status") == "written":
        kinds |= {"file": str, "relabelled": bool, "digest": str}
    if not isinstance(row, dict) or any(type(row.get(k)) is not t for k, t in kinds.items()):
        raise ValueError(_not_as_written(folder / MANIFEST, f"an image of it is {row!r:.80}"))
    for name in ("content", "pixels", "bytes", "objects", "digest"):
        if name in kinds and not re.fullmatch("[0-9a-f]{16}", row[name]):
            raise ValueError(_not_as_written(folder / MANIFEST, f"`{name}` is {row[name]!r:.40}"))
    sides = [isinstance(side, int) and side > 0 for side in row["shape"]]
    if row["bits"] not in (8, 16) or len(sides) not in (2, 3) or not all(sides):
        form = f"a shape is {row['shape']!r:.40}, of {row['bits']} bits"
        raise ValueError(_not_as_written(folder / MANIFEST, form))
    inside = PurePosixPath(row.get("file", "."))
    if inside.is_absolute() or ".." in inside.parts or "\\" in str(inside):
        raise ValueError(
            f"`pool` must name files inside of its own folder, but {str(folder / MANIFEST)!r} "
            f"names {row['file']!r}. Do not use it."
        )


def _check_there(folder: Path, paths: list[Path]) -> None:
    """Names what is missing, at the price of a list of each folder."""
    folders = {path.parent for path in paths}
    there = {one: set(os.listdir(one)) if one.is_dir() else set() for one in folders}
    missing = [repr(str(p.relative_to(folder))) for p in paths if p.name not in there[p.parent]]
    if missing:
        raise FileNotFoundError(
            f"`pool` must have the files that its {MANIFEST} names, but in {str(folder)!r} "
            f"{listed(missing, 3)} are missing. Copy the folder as a whole, or run the same "
            "`albu-learned synth` again."
        )
