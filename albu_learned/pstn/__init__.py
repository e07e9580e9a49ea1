"""The probabilistic spatial transformer: an augmentation learned together with a classifier."""

from albu_learned.pstn.diagnostics import Diagnosis as Diagnosis
from albu_learned.pstn.diagnostics import diagnose as diagnose
from albu_learned.pstn.model import PSTN as PSTN

__all__ = ["PSTN", "Diagnosis", "diagnose"]
