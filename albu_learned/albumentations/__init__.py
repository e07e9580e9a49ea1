"""The door to Albumentations: learned methods as transforms and collate functions.

Import this before `albumentations.from_dict` or `albumentations.load` read a saved pipeline with
one of its classes: the host finds classes by name among those that have been imported.
"""

from albu_learned.albumentations.class_vae import ClassVAE as ClassVAE
from albu_learned.albumentations.collate import MixCollate as MixCollate
from albu_learned.albumentations.generate import GenerateTransform as GenerateTransform
from albu_learned.albumentations.mix import MixTransform as MixTransform
from albu_learned.albumentations.posterior_warp import PosteriorWarp as PosteriorWarp
from albu_learned.albumentations.psld import PSLDInpaint as PSLDInpaint
from albu_learned.albumentations.seeding import seed_worker as seed_worker
from albu_learned.albumentations.theta_warp import ThetaWarp as ThetaWarp
from albu_learned.albumentations.warp import WarpTransform as WarpTransform
from albu_learned.albumentations.zeta_mixup import ZetaCollate as ZetaCollate
from albu_learned.albumentations.zeta_mixup import ZetaMixup as ZetaMixup

__all__ = [
    "ClassVAE",
    "GenerateTransform",
    "MixCollate",
    "MixTransform",
    "PSLDInpaint",
    "PosteriorWarp",
    "ThetaWarp",
    "WarpTransform",
    "ZetaCollate",
    "ZetaMixup",
    "seed_worker",
]
