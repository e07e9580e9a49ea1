"""What trains on real images and variants: a data.yaml, and a list of images for a ratio."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import yaml

from albu_learned.artifact import write_atomically
from albu_learned.synth.pool import DATA, LIST, Pool
from albu_learned.synth.sources import DataSet

__all__ = ["check_place", "write_training"]

_PARTS = ("val", "test")


def check_place(data: DataSet, out: Path) -> None:
    """Raises if variants would lie among real images, and be taken for such the next time."""
    for part in ("train", *_PARTS):
        for place in data.reader.places(part) if data.reader.keys.get(part) else ():
            if out.resolve().is_relative_to(Path(place).resolve()):
                raise ValueError(
                    f"`out` must not lie in a folder of real images, got {str(out)!r} in "
                    f"{str(place)!r}, the `{part}` of {data.reader.where}. Choose another."
                )


def write_training(
    pool: Pool, data: DataSet, real: Sequence[str], ratio: float | None
) -> tuple[int, int]:
    """Writes data.yaml, and train.txt if there is a ratio; how many real images and how many
    variants are trained on.

    Args:
        pool: of all variants.
        data: what its data.yaml says.
        real: names of the real images that are trained on, each as often as it is.
        ratio: variants for each real image; None for all of them.
    """
    paths = [pool.path(*key) for key in _in_turn(pool)]
    if ratio is None:
        chosen = paths
        (pool.out / LIST).unlink(missing_ok=True)
        train = [str(place) for place in data.reader.places("train")] + _folders(pool.out, paths)
    else:
        # Beyond what there is, images are listed more than once, which training honours.
        chosen = list(islice(cycle(paths), round(ratio * len(real)))) if paths else []
        lines = [str(data.reader.root / name) for name in real] + sorted(map(str, chosen))
        write_atomically(pool.out / LIST, "".join(f"{line}\n" for line in lines).encode())
        train = [str(pool.out / LIST)]
    keys = _keys(pool.out, data, train)
    text = f"# {len(real)} real images and {len(chosen)} variants of them.\n"
    text += yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)
    write_atomically(pool.out / DATA, text.encode())
    return len(real), len(chosen)


def _in_turn(pool: Pool) -> list[tuple[str, int]]:
    """One variant of each image, in an order without a meaning, then the next of each."""
    written = [key for key, row in pool.rows.items() if row["status"] == "written"]

    def turn(key: tuple[str, int]) -> tuple[int, bytes, str]:
        return key[1], hashlib.sha256(key[0].encode()).digest(), key[0]

    return sorted(written, key=turn)


def _folders(out: Path, paths: Sequence[Path]) -> list[str]:
    """The folders in which variants lie, and nothing else that training takes for an image."""
    return sorted({str(out / path.relative_to(out).parts[0]) for path in paths})


def _keys(out: Path, data: DataSet, train: list[str]) -> dict[str, Any]:
    """Those of the data set's own data.yaml, with absolute paths."""
    given = data.reader.keys
    keys: dict[str, Any] = {"path": os.path.commonpath([data.reader.root, out]), "train": train}
    for part in _PARTS:
        if given.get(part):
            places = [str(place) for place in data.reader.places(part)]
            keys[part] = places if len(places) > 1 else places[0]
    taken = ("path", "train", *_PARTS, "download")
    return keys | {key: value for key, value in given.items() if key not in taken}
