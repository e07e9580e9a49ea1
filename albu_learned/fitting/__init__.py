"""What the fits of all methods share: what they are given, what they keep, what they tell."""

from albu_learned.fitting.checkpoint import UNFINISHED, Checkpoint, folder_of, opened, unfinished
from albu_learned.fitting.facts import add_tensor, device_of, differing, facts_of, versions
from albu_learned.fitting.inputs import collect
from albu_learned.fitting.optimising import diverged, in_precision, isolated, restore, state_of
from albu_learned.fitting.progress import Progress, told
from albu_learned.fitting.sample import Sample
from albu_learned.fitting.seeds import seed_for, seeded

__all__ = [
    "UNFINISHED",
    "Checkpoint",
    "Progress",
    "Sample",
    "add_tensor",
    "collect",
    "device_of",
    "differing",
    "diverged",
    "facts_of",
    "folder_of",
    "in_precision",
    "isolated",
    "opened",
    "restore",
    "seed_for",
    "seeded",
    "state_of",
    "told",
    "unfinished",
    "versions",
]
