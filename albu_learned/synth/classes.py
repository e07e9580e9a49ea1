"""Generated images of classes, as a folder of images that any training reads.

Image number i of a class depends on the seed, the class and i alone: images are made in blocks of a
fixed size, each from its own seeds, whole even where a part of it is wanted. So it makes no
difference where the work was stopped, or how many images of each class were asked for before.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from albu_learned import checks, resample
from albu_learned.artifact import write_atomically
from albu_learned.data.pictures import encoded, pillow
from albu_learned.fitting import Progress, add_tensor, device_of, seed_for, told
from albu_learned.method import Method
from albu_learned.parts import describe
from albu_learned.synth.makers import TRIES, Maker, class_names, known_classes, maker_of
from albu_learned.synth.names import folders_of
from albu_learned.synth.store import Row, Store, opened

__all__ = ["Written", "write_classes"]

BLOCK = 64  # images of a class that are made together; another number makes other images


@dataclass(frozen=True)
class Written:
    """What is in the folder.

    Args:
        out: the folder.
        images: how many there are, of all classes.
        new: how many of them were made now.
        classes: the names of the classes.
        skipped: the names of classes that the generator cannot make images of.
        renamed: classes whose folder cannot have their name, with its name.
        reject: the share that the filter was set to; None if there was none.
        rejected: the share of all draws that it rejected.
        doubtful: how many images it still doubts, after ten draws.
    """

    out: Path
    images: int
    new: int
    classes: tuple[str, ...]
    skipped: tuple[str, ...]
    renamed: Mapping[str, str]
    reject: float | None
    rejected: float
    doubtful: int

    def summary(self) -> str:
        """In plain words."""
        lines = []
        if self.renamed:
            pairs = [f"{name!r} as {folder!r}" for name, folder in self.renamed.items()]
            lines.append(f"Careful: not every class can name a folder: {', '.join(pairs)}.")
        if self.skipped:
            names = ", ".join(map(repr, self.skipped))
            lines.append(f"Careful: nothing was made of {names}, which the fit has not seen.")
        if self.doubtful:
            lines.append(
                f"Careful: {self.doubtful:,} were still doubtful after {TRIES} draws; manifest.csv "
                "names them."
            )
        filtered = "" if self.reject is None else f" The filter rejected {self.rejected:.1%}."
        number = len(self.classes)
        lines.append(
            f"Wrote {self.images:,} images of {number} {'class' if number == 1 else 'classes'} to "
            f"{self.out}, {self.new:,} of them now.{filtered} Add them to your training images, "
            "say with torch.utils.data.ConcatDataset, and leave them out of validation: "
            f"torchvision.datasets.ImageFolder({str(self.out)!r})."
        )
        return "\n".join(lines)


def write_classes(
    method: Method | str | os.PathLike[str],
    out: str | os.PathLike[str],
    per_class: int = 100,
    *,
    seed: int = 0,
    reject: float | None = None,
    sampler: str | None = None,
    temperature: float | None = None,
    device: torch.device | str | None = None,
    progress: Progress = True,
) -> Written:
    """Writes generated images of every class to a folder, as out/CLASS/CLASS_000000.png, and a line
    about each to out/manifest.csv.

    It may be stopped at any moment: called again with the same arguments, it goes on, and ends with
    the same files. With a larger `per_class` it adds to what is there.

    Args:
        method: a `ClassVAE`, or the folder of its artifact.
        out: a new or empty folder, or one that was begun with the same settings.
        per_class: images of each class.
        seed: of every random choice: the same gives the same images.
        reject: draw again, up to ten times, what the method's filter doubts; see `ClassVAE`. None
            for the method's own setting.
        sampler, temperature: see `ClassVAE`. None for the method's own.
        device: where; CUDA if there is one. It changes images by no more than rounding.
        progress: True for a bar, if tqdm is installed and somebody looks; or a function, told how
            many of how many images are done.

    Example:
        >>> import torch, tempfile, albu_learned as al
        >>> from albu_learned.synth import write_classes
        >>> vae = al.ClassVAE((1, 8, 8), num_classes=2)  # of no data, so its samples mean nothing
        >>> write_classes(vae, tempfile.mkdtemp(), 3).images
        6
    """
    per_class = checks.integer("per_class", per_class, 1)
    seed = checks.integer("seed", seed, 0)
    maker = maker_of(method, {"sampler": sampler, "temperature": temperature}, reject)
    classes, known = class_names(maker.method), known_classes(maker.method)
    folders, place = folders_of(classes), Path(out)
    facts = _facts(maker, seed)
    maker.method.to(device_of(device))
    pillow()  # without it there is no need to begin
    with opened(place, classes, folders, facts, per_class) as store:
        before, total = len(store.rows), per_class * len(known)
        with told(progress, before, total, "writing", "image") as tell:
            for label in known:
                for block in range(-(-per_class // BLOCK)):
                    more = _write(store, maker, seed, label, block, per_class)
                    if more:
                        tell(more)
        store.finish()
    rows = list(store.rows.values())
    rejected = sum(row.tries - 1 + bool(row.doubtful) for row in rows)
    return Written(
        out=place,
        images=len(rows),
        new=len(rows) - before,
        classes=tuple(classes[label] for label in known),
        skipped=tuple(name for label, name in enumerate(classes) if label not in known),
        renamed={classes[k]: folders[k] for k in known if classes[k] != folders[k]},
        reject=maker.reject,
        rejected=rejected / max(1, sum(row.tries for row in rows)),
        doubtful=sum(bool(row.doubtful) for row in rows),
    )


def _write(store: Store, maker: Maker, seed: int, label: int, block: int, per_class: int) -> int:
    """Writes what is missing of a block; how many images that was."""
    first = block * BLOCK
    numbers = range(first, min(first + BLOCK, per_class))
    missing = [number for number in numbers if not store.has(label, number)]
    if not missing:
        return 0
    seeds = [seed_for(f"{seed}/{label}/{block}/{number}") for number in range(TRIES)]
    images, tries, doubtful = maker.block(label, BLOCK, seeds)
    images = resample.to_dtype(images, torch.uint8)
    store.path(label, first).parent.mkdir(exist_ok=True)
    for number in missing:
        write_atomically(store.path(label, number), _png(images[number - first]))
    filtered = maker.reject is not None
    store.add(
        Row(
            label,
            number,
            int(tries[number - first]),
            bool(doubtful[number - first]) if filtered else None,
        )
        for number in missing
    )
    return len(missing)


def _facts(maker: Maker, seed: int) -> dict[str, Any]:
    """What the images depend on; that of the method in parts that a message can name."""
    method = maker.method
    arguments = describe(method)["arguments"]
    digest = hashlib.sha256()
    for name, tensor in sorted(method.state_dict().items()):
        add_tensor(digest, name, tensor)
    told_apart = {name: arguments.pop(name, None) for name in ("sampler", "temperature")}
    rest = json.dumps([arguments, method.about.classes], sort_keys=True).encode()
    digest.update(rest)
    return {
        "type": type(method).__name__,
        "artifact": digest.hexdigest()[:16],
        "seed": seed,
        **told_apart,
        "reject": maker.reject,
        "block": BLOCK,
    }


def _png(image: Tensor) -> bytes:
    """(C, H, W) uint8 as the content of a file."""
    if image.shape[0] not in (1, 3):
        raise ValueError(
            f"`method` must make images of 1 or 3 channels to be written, got {image.shape[0]}. "
            "Use it in a pipeline."
        )
    return encoded((image[0] if image.shape[0] == 1 else image.permute(1, 2, 0)).numpy())
