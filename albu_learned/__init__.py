"""Learned data augmentation, as a plugin for the tools you already train with."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from albu_learned.artifact import About as About
from albu_learned.batch import Batch as Batch
from albu_learned.batch import Rows as Rows
from albu_learned.families import CPAB as CPAB
from albu_learned.families import Affine as Affine
from albu_learned.families import AffineCPAB as AffineCPAB
from albu_learned.families import Family as Family
from albu_learned.kinds import Field as Field
from albu_learned.kinds import Generate as Generate
from albu_learned.kinds import Mix as Mix
from albu_learned.kinds import Warp as Warp
from albu_learned.method import Method as Method
from albu_learned.method import load as load
from albu_learned.methods.class_vae import ClassVAE as ClassVAE
from albu_learned.methods.psld import LatentDiffusion as LatentDiffusion
from albu_learned.methods.psld import PSLDInpaint as PSLDInpaint
from albu_learned.methods.psld import PSLDPool as PSLDPool
from albu_learned.methods.theta_warp import AlignReport as AlignReport
from albu_learned.methods.theta_warp import ThetaWarp as ThetaWarp
from albu_learned.methods.theta_warp import align as align
from albu_learned.methods.zeta_mixup import ZetaMixup as ZetaMixup
from albu_learned.methods.zeta_mixup import zeta_weights as zeta_weights
from albu_learned.pstn import PSTN as PSTN
from albu_learned.pstn import PosteriorWarp as PosteriorWarp

if _TYPE_CHECKING:
    from albu_learned.comparison import compare as compare

__version__ = "0.1.0"
__all__ = [
    "CPAB",
    "PSTN",
    "About",
    "Affine",
    "AffineCPAB",
    "AlignReport",
    "Batch",
    "ClassVAE",
    "Family",
    "Field",
    "Generate",
    "LatentDiffusion",
    "Method",
    "Mix",
    "PSLDInpaint",
    "PSLDPool",
    "PosteriorWarp",
    "Rows",
    "ThetaWarp",
    "Warp",
    "ZetaMixup",
    "align",
    "compare",
    "load",
    "zeta_weights",
]


def __getattr__(name: str) -> object:
    """`compare` is loaded when it is asked for: a training has no use for it."""
    if name == "compare":
        from albu_learned.comparison import compare

        return compare
    raise AttributeError(f"module 'albu_learned' has no attribute {name!r}")
