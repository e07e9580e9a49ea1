"""The probabilistic spatial transformer: an augmentation learned together with a classifier."""

from albu_learned.pstn.diagnostics import Diagnosis as Diagnosis
from albu_learned.pstn.diagnostics import diagnose as diagnose
from albu_learned.pstn.joined import join as join
from albu_learned.pstn.model import PSTN as PSTN
from albu_learned.pstn.tune import Trial as Trial
from albu_learned.pstn.tune import Tuned as Tuned
from albu_learned.pstn.warp import PosteriorWarp as PosteriorWarp

__all__ = ["PSTN", "Diagnosis", "PosteriorWarp", "Trial", "Tuned", "diagnose", "join"]
