"""Learned data augmentation, as a plugin for the tools you already train with."""

from albu_learned.artifact import About as About
from albu_learned.batch import Batch as Batch
from albu_learned.batch import Rows as Rows
from albu_learned.kinds import Field as Field
from albu_learned.kinds import Generate as Generate
from albu_learned.kinds import Mix as Mix
from albu_learned.kinds import Warp as Warp
from albu_learned.method import Method as Method
from albu_learned.method import load as load
from albu_learned.methods.zeta_mixup import ZetaMixup as ZetaMixup
from albu_learned.methods.zeta_mixup import zeta_weights as zeta_weights

__version__ = "0.1.0"
__all__ = [
    "About",
    "Batch",
    "Field",
    "Generate",
    "Method",
    "Mix",
    "Rows",
    "Warp",
    "ZetaMixup",
    "load",
    "zeta_weights",
]
