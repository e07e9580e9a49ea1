"""What `write_variants` is given, checked before any variant is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from albu_learned import checks, engine
from albu_learned.data.files import listed
from albu_learned.method import Method, load
from albu_learned.methods.psld import LatentDiffusion, PSLDInpaint
from albu_learned.methods.psld.folder import INDEX
from albu_learned.synth.sources import DataSet

__all__ = ["check_numbers", "check_sources", "hands", "method_of", "weights_of"]


def method_of(
    given: PSLDInpaint | LatentDiffusion | str | os.PathLike[str], arguments: Mapping[str, Any]
) -> PSLDInpaint:
    """What makes variants, with other values of these arguments."""
    found: Any = given
    if isinstance(given, (str, os.PathLike)):
        pipeline = (Path(given) / INDEX).is_file()
        found = PSLDInpaint(given) if pipeline else load(given)
    elif isinstance(given, LatentDiffusion):
        found = PSLDInpaint(given)
    if not isinstance(found, PSLDInpaint):
        kind = f", which is of the kind {found.kind!r}" if isinstance(found, Method) else ""
        raise TypeError(
            "`method` must be a PSLDInpaint or a LatentDiffusion for a data set of boxes, got a "
            f"{type(found).__name__}{kind}. Images of classes are written without a data set."
        )
    return found.with_arguments(**arguments)


def check_sources(data: DataSet) -> None:
    """Raises if no image has an object around which something could be made."""
    if data.sources:
        return
    texts = [f"{name}: {reason}" for name, reason in sorted(data.errors.items())]
    raise ValueError(
        f"`data` must have training images that show objects, got none in {data.reader.where}: "
        f"{len(data.empty)} show nothing"
        + (f", others cannot be used, {listed(texts, 3)}." if texts else ".")
    )


def check_numbers(variants: int, batch: int, ratio: float | None) -> None:
    """Raises if they do not go together."""
    if variants % batch:
        raise ValueError(f"`variants` must be a multiple of `batch`, got {variants} and {batch}.")
    if ratio is not None:
        checks.between("ratio", ratio, "(0, inf)")
        if ratio > variants:
            raise ValueError(
                f"`ratio` must be at most `variants`, {variants}, got {ratio:g}. Make more "
                "variants of each image."
            )


def hands(
    kind: str, jobs: int, threads: int | None, gpus: float, address: str | None
) -> dict[str, Any]:
    """Who does the work, as arguments of `engine.run`."""
    engine.check(kind)
    jobs = checks.integer("jobs", jobs, 1)
    alone = kind == "local" and jobs == 1
    count = threads if threads is not None else torch.get_num_threads() if alone else 1
    return {"engine": kind, "jobs": jobs, "threads": count, "gpus": gpus, "address": address}


def weights_of(given: str | os.PathLike[str]) -> Path:
    """The file of a detector, absolute."""
    path = Path(os.path.abspath(given))
    if not path.is_file():
        raise FileNotFoundError(
            f"`detector` must be the weights of a YOLO model, got {str(given)!r}, and there is no "
            "such file. Download or train them before."
        )
    return path
