"""Generated images as an addition to a data set: written once, or appended to every batch."""

from albu_learned.synth.append import AppendCollate as AppendCollate
from albu_learned.synth.classes import Written as Written
from albu_learned.synth.classes import write_classes as write_classes
from albu_learned.synth.makers import known_classes as known_classes

__all__ = ["AppendCollate", "Written", "known_classes", "write_classes"]
