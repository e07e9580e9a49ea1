"""The door to Kornia: learned operations, and a container that gives them labels and boxes.

from albu_learned.kornia import LearnedAugmentationSequential, ZetaMixup

augment = LearnedAugmentationSequential(
    K.RandomHorizontalFlip(), ZetaMixup(num_classes=10), data_keys=["input", "class"]
)
images, soft_labels = augment(images, labels)
"""

try:
    import kornia.augmentation
except ModuleNotFoundError as error:
    if error.name is None or error.name.split(".")[0] != "kornia":
        raise
    raise ModuleNotFoundError(
        "albu_learned.kornia needs Kornia, which is not installed. "
        'Install it with: pip install "albu_learned[kornia]"',
        name="kornia",
    ) from error

from albu_learned.kornia.container import (
    LearnedAugmentationSequential as LearnedAugmentationSequential,
)
from albu_learned.kornia.generate import ClassVAE as ClassVAE
from albu_learned.kornia.generate import GenerateTransform as GenerateTransform
from albu_learned.kornia.generate import PSLDInpaint as PSLDInpaint
from albu_learned.kornia.mix import MixTransform as MixTransform
from albu_learned.kornia.mix import ZetaMixup as ZetaMixup
from albu_learned.kornia.warp import PosteriorWarp as PosteriorWarp
from albu_learned.kornia.warp import ThetaWarp as ThetaWarp
from albu_learned.kornia.warp import WarpTransform as WarpTransform

__all__ = [
    "ClassVAE",
    "GenerateTransform",
    "LearnedAugmentationSequential",
    "MixTransform",
    "PSLDInpaint",
    "PosteriorWarp",
    "ThetaWarp",
    "WarpTransform",
    "ZetaMixup",
]

if tuple(int(number) for number in kornia.__version__.split(".")[:2]) < (0, 9):
    raise ImportError(
        f"albu_learned.kornia needs kornia >= 0.9, got {kornia.__version__}: older versions hand "
        'an operation other rows. Install it with: pip install "albu_learned[kornia]"'
    )
