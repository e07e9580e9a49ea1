"""The three kinds of methods: what hosts know, and all that they know."""

from albu_learned.kinds.generate import Generate as Generate
from albu_learned.kinds.mix import Mix as Mix
from albu_learned.kinds.warp import Field as Field
from albu_learned.kinds.warp import Warp as Warp

__all__ = ["Field", "Generate", "Mix", "Warp"]
