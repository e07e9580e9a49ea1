"""A comparison that has been set up: the data, the arms, what they share; and its cells."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch

from albu_learned import __version__
from albu_learned.comparison import networks
from albu_learned.comparison.arms import Arm
from albu_learned.comparison.result import size_name
from albu_learned.comparison.settings import OWN, Settings
from albu_learned.comparison.subsets import derived
from albu_learned.data import Boxes, Data, fingerprint, open_data
from albu_learned.spec import Given

__all__ = ["Cell", "Source", "Study", "forget_data"]


@dataclass(frozen=True)
class Source:
    """Where the data are: plain values, so that other processes can open them too."""

    path: str
    kind: str | None = None
    groups: str | None = None
    test_share: float = 0.3
    image_size: int | None = None
    opened: Data | Boxes | None = None  # where there is no path

    def open(self) -> Data | Boxes:
        return self.opened or _open(self)


@functools.lru_cache(maxsize=1)  # in each process once
def _open(source: Source) -> Data | Boxes:
    return open_data(
        source.path,
        image_size=source.image_size,
        kind=source.kind,
        groups=source.groups,
        test_share=source.test_share,
    )


def forget_data() -> None:
    """Lets go of the open data."""
    _open.cache_clear()


@dataclass(frozen=True)
class Cell:
    """One training and its test: an arm, a size, a seed."""

    arm: Arm
    size: int
    seed: int

    def __str__(self) -> str:
        return f"{self.arm.name}, {size_name(self.size)} images, seed {self.seed}"


@dataclass(frozen=True)
class Study:
    source: Source
    settings: Settings
    arms: tuple[Arm, ...]
    remarks: tuple[str, ...] = ()  # on the data, for people

    @property
    def data(self) -> Data | Boxes:
        return self.source.open()

    def cells(self) -> Iterator[Cell]:
        """Seed by seed, so that what there is of a stopped comparison can be compared."""
        for seed in self.settings.seed_numbers:
            for size in self.settings.sizes:
                yield from (Cell(arm, size, seed) for arm in self.arms if not arm.skipped)

    def key(self, cell: Cell) -> str:
        """By which a finished cell is known again: everything that its result depends on."""
        shared = asdict(self.settings)
        for name in ("sizes", "seeds"):  # which other cells there are
            del shared[name]
        depends = {
            "data": self.fingerprint,
            "options": [self.source.kind, self.source.test_share, self.source.image_size],
            "shape": list(getattr(self.data, "shape", ())),
            "versions": self._versions,
            "settings": shared,
            "arm": cell.arm.described(),
            "size": cell.size,
            "seed": cell.seed,
        }
        text = json.dumps(depends, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def _versions(self) -> list[str]:
        """Of what trains: old results are not mixed with those of other code."""
        model = self.settings.model
        detects = self.data.kind == "detection"
        used = ["torch", *(["ultralytics"] if detects else ["timm"] if model not in OWN else [])]
        return [__version__, *map(version, used)]

    @functools.cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.data)

    def given(self, arm: Arm) -> Given:
        """What an arm gets to see of these data. A spec may name the classes of data that do not
        tell their names."""
        classes = tuple(self.data.classes)
        named = arm.spec and arm.spec.classes
        if named and len(named) != len(classes):
            raise ValueError(f"`classes` must name the {len(classes)} of the data, got {named}.")
        host = "a comparison of classifiers"
        return Given(host, frozenset({"images", "labels"}), tuple(named or classes), len(classes))

    def network(self, rows: torch.Tensor, seed: int) -> torch.nn.Module:
        """The network that all arms of a size and seed start from."""
        data, settings = self.data, self.settings
        assert isinstance(data, Data)
        return networks.build(
            settings.model,
            settings.pretrained,
            data.shape,
            len(data.classes),
            rows,
            derived("weights", seed),
        )

    @property
    def learning_rate(self) -> float:
        given = self.settings.learning_rate
        return given or networks.learning_rate(self.settings.model, self.settings.pretrained)

    def described(self) -> dict[str, Any]:
        """The settings, for results.json."""
        source = {k: v for k, v in vars(self.source).items() if k != "opened" and v is not None}
        return {**asdict(self.settings), "learning_rate": self.learning_rate, **source}
