"""Seeds that facts decide. Their numbers are in files that were written: they may not change."""

import torch

from albu_learned.comparison.subsets import derived
from albu_learned.fitting import seed_for, seeded
from albu_learned.synth.varying import seed_of


def test_numbers_stay_what_they_were():
    assert seed_for("0/2/0/0") == 1181084067889766474
    assert seed_for("3/1/4/1") == 5526666204762141735
    assert derived("subset", 0, 3) == 31489401909234393
    assert derived("fit", "a", 2.5, None) == 61839542739953455
    assert seed_of(0, "images/a.png", 3) == 565662155355786128
    assert seeded(0, "x").initial_seed() == 2543342955221442604
    assert seeded(1, torch.arange(3), "y", 2.5).initial_seed() == 5142659520882840587
