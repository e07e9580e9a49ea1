"""The door to timm: learned methods in loaders, collate functions, policies and `Mixup`'s place.

For a training script that is not edited see `albu_learned.timm.patch`. Importing this makes timm's
RandAugment refuse names of sets that it does not know, see `albu_learned.timm.policy`, and puts the
model "pstn" into timm's registry, see `albu_learned.timm.pstn`.
"""

from albu_learned.timm.compose import AlbumentationsTransform as AlbumentationsTransform
from albu_learned.timm.create import create_loader as create_loader
from albu_learned.timm.mix import MixCollate as MixCollate
from albu_learned.timm.mix import MixTransform as MixTransform
from albu_learned.timm.pil import GenerateTransform as GenerateTransform
from albu_learned.timm.pil import PosteriorWarp as PosteriorWarp
from albu_learned.timm.pil import ThetaWarp as ThetaWarp
from albu_learned.timm.pil import WarpTransform as WarpTransform
from albu_learned.timm.policy import use_in_policies as use_in_policies
from albu_learned.timm.pstn import BackbonePSTN as BackbonePSTN
from albu_learned.timm.zeta_mixup import ZetaCollate as ZetaCollate
from albu_learned.timm.zeta_mixup import ZetaMixup as ZetaMixup

__all__ = [
    "AlbumentationsTransform",
    "BackbonePSTN",
    "GenerateTransform",
    "MixCollate",
    "MixTransform",
    "PosteriorWarp",
    "ThetaWarp",
    "WarpTransform",
    "ZetaCollate",
    "ZetaMixup",
    "create_loader",
    "use_in_policies",
]
