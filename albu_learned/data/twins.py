"""Rows of the test part that the training part has too: what is learned of them by heart counts as
right."""

from __future__ import annotations

from collections.abc import Sequence

from albu_learned.data.rows import Boxes, Data

__all__ = ["check"]


def check(data: Data | Boxes) -> str:
    """Raises if a row cannot be read; a sentence on rows in both parts, empty if there are none.

    Files are the same that are so byte by byte, rows of arrays those of the same numbers.
    """
    train, test = data.check() if isinstance(data, Boxes) else _both(data)
    first: dict[bytes, int] = {}
    for number, content in enumerate(train):
        first.setdefault(content, number)
    both = [number for number, content in enumerate(test) if content in first]
    if not both:
        return ""
    ours, theirs = _name(data, "test", both[0]), _name(data, "train", first[test[both[0]]])
    what = "series" if data.kind == "series" else "images"
    return (
        f"{len(both)} of the {len(test)} test {what} stand in the training part too, such as "
        f"{ours}, which is {theirs}. What is learned of them by heart counts as right: take them "
        "out of one part."
    )


def _both(data: Data) -> tuple[Sequence[bytes], Sequence[bytes]]:
    return data.train.check(), data.test.check()


def _name(data: Data | Boxes, part: str, number: int) -> str:
    rows = data.train if part == "train" else data.test
    return repr(str(rows[number])) if isinstance(rows, tuple) else rows.name(number)
