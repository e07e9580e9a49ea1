"""What is sent to other processes: the work of a cell, whichever kind its data are of."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from albu_learned.comparison import cells, detection
from albu_learned.comparison.study import Cell, Study

__all__ = ["test_work", "train_work"]


def train_work(study: Study, cell: Cell) -> dict[str, Any]:
    if study.data.kind == "detection":
        return detection.train_cell(study, cell)
    return cells.train_cell(study, cell)


def test_work(study: Study, trained: tuple[Cell, dict[str, Tensor]]) -> dict[str, Any]:
    if study.data.kind == "detection":
        return detection.test_cell(study, *trained)
    return cells.test_cell(study, *trained)


test_work.__test__ = False  # type: ignore[attr-defined]  # its name is no test's
