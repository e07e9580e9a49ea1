"""A spec: the one YAML file that says which methods a training uses, and where in it.

`entry` says what is in the file, `reader` reads it, `step` is one of its methods at work in a host,
`tally` sees to it that the work is done.
"""

from albu_learned.spec.entry import STAGES as STAGES
from albu_learned.spec.entry import Entry as Entry
from albu_learned.spec.entry import Spec as Spec
from albu_learned.spec.reader import VARIABLE as VARIABLE
from albu_learned.spec.reader import as_spec as as_spec
from albu_learned.spec.reader import of_environment as of_environment
from albu_learned.spec.reader import read as read
from albu_learned.spec.step import Given as Given
from albu_learned.spec.step import Step as Step
from albu_learned.spec.step import check_needs as check_needs
from albu_learned.spec.step import steps as steps
from albu_learned.spec.tally import Tally as Tally

__all__ = [
    "STAGES",
    "VARIABLE",
    "Entry",
    "Given",
    "Spec",
    "Step",
    "Tally",
    "as_spec",
    "check_needs",
    "of_environment",
    "read",
    "steps",
]
