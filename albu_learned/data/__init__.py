"""Data sets as users have them: arrays, folders of images, series, and boxes in YOLO's form.

`opening` finds out what a path is; `arrays`, `folder`, `series` and `yolo` read one form each.
What they return is in `rows`: labels in memory, images read when they are asked for.
"""

from albu_learned.data.fingerprint import fingerprint as fingerprint
from albu_learned.data.opening import open_data as open_data
from albu_learned.data.rows import Boxes as Boxes
from albu_learned.data.rows import Data as Data
from albu_learned.data.rows import Rows as Rows
from albu_learned.data.split import hold_out as hold_out
from albu_learned.data.twins import check as check_rows

__all__ = ["Boxes", "Data", "Rows", "check_rows", "fingerprint", "hold_out", "open_data"]
