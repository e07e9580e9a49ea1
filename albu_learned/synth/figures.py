"""How good all variants of a folder are, and what is to be warned of."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from albu_learned.data import label_file
from albu_learned.synth import gates
from albu_learned.synth.pool import Pool

__all__ = ["figures_of", "rows_of", "warnings_of"]

MARGIN = 0.1  # by so much objects may be told better by their sharpness than in real images
NEAR = 0.5  # of the usual distance of two real images: nearer to one, variants are copies of it
_HIDDEN = ("thumb", "thumb_real", "sharp", "sharp_real")

Row = dict[str, Any]


def figures_of(pool: Pool) -> dict[str, float | None]:
    """Medians and shares over all variants that were written.

    PSNR is of kept pixels before they are glued in. Sharpness is how well objects are told from
    background by it, 0.5 (not at all) to 1. A nearest distance is that of a tiny grey picture from
    the nearest of another training image, root mean squared, 0 to 1.
    """
    rows = _written(pool)
    distances, _, real = _distances(rows)
    return {
        "PSNR": _median([row["psnr"] for row in rows if row["psnr"] is not None]),
        "changed": _median([row["changed"] for row in rows]),
        "sharpness": _told(rows, "sharp"),
        "sharpness of real images": _told(rows, "sharp_real"),
        "nearest distance": _median([d for d in distances if d is not None]),
        "nearest distance of real images": _median(real),
    }


def rows_of(pool: Pool) -> list[Row]:
    """The variants, as the manifest tells of them."""
    written = _written(pool)
    distances, names, _ = _distances(written)
    near = {
        (row["source"], row["variant"]): (distance, name)
        for row, distance, name in zip(written, distances, names, strict=True)
    }
    rows = []
    for key, row in sorted(pool.rows.items()):
        shown = {name: value for name, value in row.items() if name not in _HIDDEN}
        if key in near:
            path = pool.path(*key)
            shown["file"] = path.relative_to(pool.out).as_posix()
            shown["labels"] = label_file.of(path).relative_to(pool.out).as_posix()
            shown["nearest"], shown["nearest_source"] = near[key]
        rows.append(shown)
    return rows


def warnings_of(figures: Mapping[str, float | None]) -> list[str]:
    """What the user should look at before training."""
    found = []
    sharp, real = figures["sharpness"], figures["sharpness of real images"]
    if sharp is not None and real is not None and sharp > real + MARGIN:
        found.append(
            f"by sharpness alone, objects are told from background with {sharp:.2f} in variants, "
            f"with {real:.2f} in real images; a detector may learn that instead. "
            "`grain=True`, more `decoys` or another model may help."
        )
    near, usual = figures["nearest distance"], figures["nearest distance of real images"]
    if near is not None and usual is not None and near < NEAR * usual:
        found.append(
            f"variants are nearer to other training images ({near:.3f}) than these to one another "
            f"({usual:.3f}): the model may have learned them by heart."
        )
    return found


def _written(pool: Pool) -> list[Row]:
    return [row for _, row in sorted(pool.rows.items()) if row["status"] == "written"]


def _told(rows: Sequence[Row], name: str) -> float | None:
    inside = [value for row in rows for value in row[name][0]]
    around = [value for row in rows for value in row[name][1]]
    found = gates.told_apart(inside, around)
    return None if found is None else round(found, 4)


def _distances(rows: Sequence[Row]) -> tuple[list[float | None], list[str | None], list[float]]:
    """Of each variant from the nearest real image but its own, which that is; and the same of the
    real images."""
    real = {row["source"]: row["thumb_real"] for row in rows}
    if len(real) < 2:
        return [None] * len(rows), [None] * len(rows), []
    names = list(real)
    number = {name: k for k, name in enumerate(names)}
    pictures = gates.unpacked([*real.values()])
    own = [number[row["source"]] for row in rows]
    found, which = gates.nearest(gates.unpacked([row["thumb"] for row in rows]), own, pictures)
    usual, _ = gates.nearest(pictures, range(len(names)), pictures)
    return [round(d, 4) for d in found], [names[k] for k in which], usual


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 4) if values else None
