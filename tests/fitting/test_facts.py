"""What an unfinished fit depended on, against what is given now."""

import pytest

from albu_learned.fitting import differing


@pytest.mark.parametrize(
    ("kept", "now", "says"),
    [
        ({"seed": 0, "size": [4, 4]}, {"seed": 0, "size": (4, 4)}, ""),
        ({"seed": 0, "most": 9}, {"seed": 1, "most": None}, "seed (0, now 1); most (9, now None)"),
        ({"old": 1}, {"new": 2}, "old (1, now None); new (None, now 2)"),
    ],
)
def test_every_difference_is_named(kept, now, says):
    assert differing(kept, now) == says
