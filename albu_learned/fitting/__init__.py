"""What the fits of all methods share: what they are given, what they keep, what they tell."""

from albu_learned.fitting.checkpoint import UNFINISHED, Checkpoint, folder_of, opened, unfinished
from albu_learned.fitting.facts import device_of, facts_of, versions
from albu_learned.fitting.inputs import collect
from albu_learned.fitting.progress import Progress, told
from albu_learned.fitting.sample import Sample
from albu_learned.fitting.seeds import seeded

__all__ = [
    "UNFINISHED",
    "Checkpoint",
    "Progress",
    "Sample",
    "collect",
    "device_of",
    "facts_of",
    "folder_of",
    "opened",
    "seeded",
    "told",
    "unfinished",
    "versions",
]
