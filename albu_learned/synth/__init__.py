"""Generated images as an addition to a data set: written once, or appended to every batch; and
variants of the images of a detection set."""

from albu_learned.synth.append import AppendCollate as AppendCollate
from albu_learned.synth.classes import Written as Written
from albu_learned.synth.classes import write_classes as write_classes
from albu_learned.synth.makers import known_classes as known_classes
from albu_learned.synth.variants import Variants as Variants
from albu_learned.synth.variants import write_variants as write_variants

__all__ = [
    "AppendCollate",
    "Variants",
    "Written",
    "known_classes",
    "write_classes",
    "write_variants",
]
