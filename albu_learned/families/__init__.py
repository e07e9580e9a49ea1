"""What a theta means: families of invertible motions of an image or a series."""

from albu_learned.families.affine import Affine as Affine
from albu_learned.families.composed import AffineCPAB as AffineCPAB
from albu_learned.families.cpab import CPAB as CPAB
from albu_learned.families.family import TOLERANCE as TOLERANCE
from albu_learned.families.family import Family as Family
from albu_learned.families.family import Pace as Pace

__all__ = ["CPAB", "TOLERANCE", "Affine", "AffineCPAB", "Family", "Pace"]
