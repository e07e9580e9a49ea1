"""Variants of the training images of a detection set: new pixels around the same objects."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from albu_learned import checks, engine
from albu_learned.artifact import write_atomically
from albu_learned.data.files import content, listed
from albu_learned.data.pictures import pillow
from albu_learned.fitting import Progress, device_of, told
from albu_learned.methods.psld import LatentDiffusion, PSLDInpaint
from albu_learned.methods.psld.ready import FORMAT, MANIFEST, TYPE
from albu_learned.parts import describe
from albu_learned.synth import sheet
from albu_learned.synth.figures import figures_of, rows_of, warnings_of
from albu_learned.synth.given import check_numbers, check_sources, hands, method_of, weights_of
from albu_learned.synth.pool import DATA, SHEET, Pool, opened
from albu_learned.synth.sources import DataSet, Source
from albu_learned.synth.sources import opened as read_sources
from albu_learned.synth.training import check_place, write_training
from albu_learned.synth.varying import Asked, Made, Varying

__all__ = ["Variants", "write_variants"]

SHOWN = 8  # images on the contact sheet


@dataclass(frozen=True)
class Variants:
    """What is in the folder.

    Args:
        out: the folder.
        images: how many variants there are.
        new: how many were made now.
        rejected: how many the detector has rejected.
        unchanged: how many images were left as they were, because their objects fill them.
        empty: how many images were left out, because they show no object.
        unread: how many have no variants, because files of their kind cannot be read here.
        careful: what is to be said about the data set.
        errors: what was wrong with images that were left out, by name.
        figures: how good they are; see `albu_learned.synth.figures`.
        trained: how many real images and how many variants its data.yaml trains on.
    """

    out: Path
    images: int
    new: int
    rejected: int
    unchanged: int
    empty: int
    unread: int
    careful: Sequence[str]
    errors: Mapping[str, str]
    figures: Mapping[str, float | None]
    trained: tuple[int, int]

    def summary(self) -> str:
        """In plain words."""
        lines = [f"Careful: {text}" for text in (*self.careful, *warnings_of(self.figures))]
        if self.errors:
            texts = [f"{name}: {reason}" for name, reason in sorted(self.errors.items())]
            lines.append(f"Careful: images were left out, {listed(texts, 3)}.")
        for count, why in (
            (
                self.rejected,
                "variants were rejected, as the detector lost objects in them or found others.",
            ),
            (self.unchanged, "variants were left out, as their objects fill the image."),
            (self.empty, "images were left out, as they show no object."),
            (self.unread, "images have no variants, as files of their kind cannot be read here."),
        ):
            lines += [f"{count:,} {why}"] if count else []
        known = [f"{name} {v:.3g}" for name, v in self.figures.items() if v is not None]
        lines += [f"Figures: {', '.join(known)}."] if known else []
        real, made = self.trained
        lines.append(
            f"Wrote {self.images:,} variants to {self.out}, {self.new:,} of them now. Look at "
            f"{SHEET}, then train with {self.out / DATA}: {real:,} real images and {made:,} "
            "variants; what is validated and tested on stays as it was."
        )
        return "\n".join(lines)


def write_variants(
    data: str | os.PathLike[str],
    method: PSLDInpaint | LatentDiffusion | str | os.PathLike[str],
    out: str | os.PathLike[str],
    variants: int = 2,
    *,
    ratio: float | None = None,
    seed: int = 0,
    arguments: Mapping[str, Any] | None = None,
    batch: int = 1,
    detector: str | os.PathLike[str] | None = None,
    device: str | None = None,
    engine: str = "local",
    jobs: int = 1,
    threads: int | None = None,
    gpus: float = 0,
    address: str | None = None,
    progress: Progress = True,
) -> Variants:
    """Writes variants of every training image of a detection set that shows an object, with their
    labels, and a data.yaml that trains on both.

    It may be stopped at any moment: called again with the same arguments, it goes on, and ends with
    the same files. With more `variants` it adds to what is there; another `ratio` writes another
    data.yaml.

    Args:
        data: the data.yaml of boxes or outlines in YOLO's form.
        method: a `PSLDInpaint`, a `LatentDiffusion`, or the folder of one of them.
        out: a new or empty folder, or one that was begun with the same settings.
        variants: of each image.
        ratio: variants for each real image that its data.yaml trains on, in (0, variants]. None
            for all.
        seed: of every random choice. Each variant of each image has its own, made from it.
        arguments: other values of the method's constructor arguments, such as {"steps": 50}.
        batch: variants of an image that are made together, which GPUs need to be busy; `variants`
            must be a multiple of it.
        detector: the weights of a YOLO model. A variant in which it does not find an object any
            more, that it finds in the real image, is rejected; so is one in which it finds an
            object where all was made anew, which would have no label.
        device: where; CUDA if there is one. It changes variants by no more than rounding.
        engine: "local" or "ray"; see `albu_learned.engine`.
        jobs: processes, each with a model of its own.
        threads: CPU threads of each; by default one, or all that torch has if there is one process.
            Another number changes variants by rounding.
        gpus: of each task on Ray.
        address: of the Ray cluster.
        progress: True for a bar, if tqdm is installed and somebody looks; or a function, told how
            many of how many variants are done.

    Example:
        >>> from albu_learned.synth import write_variants
        >>> write_variants("cells/data.yaml", "my/ldm", "varied").trained  # doctest: +SKIP
        (205, 410)
    """
    variants, batch = checks.integer("variants", variants, 1), checks.integer("batch", batch, 1)
    seed = checks.integer("seed", seed, 0)
    check_numbers(variants, batch, ratio)
    how = hands(engine, jobs, threads, gpus, address)
    pillow()  # without it there is no need to begin
    place = Path(os.path.abspath(out))
    given = read_sources(Path(os.path.abspath(data)))
    check_sources(given)
    check_place(given, place)
    maker = method_of(method, {**(arguments or {}), "batch": batch})
    if engine == "local":
        device_of(device)
    weights = None if detector is None else str(weights_of(detector))
    work = Varying(maker, seed, device, weights, given.classes)
    facts = _facts(maker, seed, batch, weights)
    with opened(place, given.sources, facts, variants) as pool:
        before = len(pool.rows)
        broken = _fill(pool, work, variants, batch, how, progress)
        pool.finish(variants)
        return _finished(pool, given, facts, ratio, broken, len(pool.rows) - before)


def _facts(method: PSLDInpaint, seed: int, batch: int, detector: str | None) -> dict[str, Any]:
    """What the variants depend on, but for their sources."""
    arguments = describe(method)["arguments"]
    for name in ("ldm", "batch"):
        arguments.pop(name, None)
    checked = None if detector is None else content(Path(detector))
    return {
        "type": TYPE,
        "format": FORMAT,
        "model": method.identity(),
        "seed": seed,
        **arguments,
        "batch": batch,
        "detector": checked,
    }


def _fill(
    pool: Pool,
    work: Varying,
    variants: int,
    batch: int,
    how: Mapping[str, Any],
    progress: Progress,
) -> dict[str, str]:
    """Makes what is missing; what was wrong with images."""
    errors: dict[str, str] = {}
    blocks = [range(first, first + batch) for first in range(0, variants, batch)]
    shown = _shown(pool)
    wanted = [
        (source, block)
        for block in blocks
        for source in pool.sources.values()
        if not all(pool.has(source.name, number) for number in block)
    ]
    done, total = len(pool.rows), variants * len(pool.sources)
    tasks = [
        engine.Task(
            f"{source.name} {block[0]}", source.name, load=partial(_asked, source, block, shown)
        )
        for source, block in wanted
    ]
    with told(progress, done, total, "varying", "image") as tell:

        def finish(task: engine.Task, result: list[Made] | str) -> None:
            if isinstance(result, str):
                errors[task.what] = result
            else:
                pool.add(task.what, result)
            tell(batch)

        engine.run(tasks, work, finish, bar=False, **how)
    return errors


def _shown(pool: Pool) -> list[str]:
    """The names of the images on the contact sheet."""

    def order(name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest()

    return sorted(pool.sources, key=order)[:SHOWN]


def _asked(source: Source, block: range, shown: Sequence[str]) -> Asked:
    first = source.name in shown and block[0] == 0
    file = source.path.read_bytes()
    return Asked(source.name, file, source.labels, source.things, tuple(block), first)


def _finished(
    pool: Pool,
    data: DataSet,
    facts: Mapping[str, Any],
    ratio: float | None,
    broken: Mapping[str, str],
    new: int,
) -> Variants:
    """Writes what is about all variants."""
    errors = {**data.errors, **broken}
    rows = rows_of(pool)
    figures = figures_of(pool)
    statuses = [row["status"] for row in rows]
    manifest = {
        "settings": {"data": str(data.reader.file), "ratio": ratio, **facts},
        "figures": figures,
        "errors": dict(sorted(errors.items())),
        "empty": list(data.empty),
        "unread": list(data.unread),
        "images": rows,
    }
    write_atomically(pool.out / MANIFEST, json.dumps(manifest, indent=1).encode())
    strips = pool.strips(_shown(pool))
    if strips:
        write_atomically(pool.out / SHEET, sheet.joined(strips))
    real = [name for name in data.real if name not in broken]
    trained = write_training(pool, data, real, ratio)
    return Variants(
        out=pool.out,
        images=statuses.count("written"),
        new=new,
        rejected=statuses.count("rejected"),
        unchanged=statuses.count("unchanged"),
        empty=len(data.empty),
        unread=len(data.unread),
        careful=data.careful,
        errors=errors,
        figures=figures,
        trained=trained,
    )
