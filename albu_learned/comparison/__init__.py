"""Does an augmentation help on these data? The harness of every claim of this package.

The folder is not named `compare`, for `albu_learned.compare` is the function.

`settings`, `arms` (made of `atoms`) and `study` say what shall be compared, `prepare` finds what is
wrong with it. `cells` and `detection` do the work of one cell, with `subsets`, `networks`,
`pipeline` and `train`; `engine` runs many of them, `store` keeps what they return. From `result`
on nothing trains: `statistics`, `conclusion`, `table`, `files`, `plots`, `report`.
"""

from albu_learned.comparison.compare import Comparison as Comparison
from albu_learned.comparison.compare import carry_out as carry_out
from albu_learned.comparison.compare import compare as compare
from albu_learned.comparison.compare import set_up as set_up
from albu_learned.comparison.settings import Settings as Settings

__all__ = ["Comparison", "Settings", "carry_out", "compare", "set_up"]
