"""Settings: what they become, and what is said of those that cannot be."""

import pytest
import torch

from albu_learned.comparison.settings import Settings

SIZES = [
    (5, (5,)),
    ([50, 5, 10], (5, 10, 50)),
    ("all", (0,)),
    (["all", 3], (3, 0)),
    ((1,), (1,)),
]


@pytest.mark.parametrize(("given", "wanted"), SIZES)
def test_sizes_are_in_order_and_all_comes_last(given, wanted):
    assert Settings(sizes=given).sizes == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sizes": []}, "`sizes` must name at least one size, each once, got \\[\\]"),
        ({"sizes": [5, 5]}, "`sizes` must name at least one size, each once"),
        ({"sizes": [-1]}, '`sizes` must be an integer >= 1, or "all", got -1'),
        ({"sizes": ["every"]}, "`sizes` must be an integer >= 1, or \"all\", got 'every'"),
        ({"sizes": [True]}, "`sizes` must be an integer"),
        ({"sizes": 2.5}, "`sizes` must be an integer"),
        *(
            ({name: 0}, f"`{name}` must be an integer >= 1, got 0")
            for name in ("seeds", "steps", "holdouts", "threads", "image_size", "together")
        ),
        ({"steps": 1.5}, "`steps` must be an integer >= 1, got 1.5"),
        ({"learning_rate": 0}, r"`learning_rate` must be in \(0, 1\], got 0"),
        ({"precision": "bfloat"}, "`precision` must be one of .* Did you mean `bfloat16`"),
        ({"measure": "acuracy"}, "`measure` must be one of accuracy.* Did you mean `accuracy`"),
        ({"model": ""}, "`model` must be the name of one, got ''"),
        ({"model": None}, "`model` must be the name of one, got None"),
        ({"device": "gpu"}, "`device` must be one of torch, such as \"cpu\".*got 'gpu'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Settings(**given)


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Settings().device == "cpu"
    with pytest.raises(ValueError, match=r'`device` must be "cpu" here: .*no GPU, got \'cuda:1\''):
        Settings(device="cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Settings().device == "cuda"
    assert Settings(device=torch.device("cuda", 1)).device == "cuda:1"


@pytest.mark.parametrize(
    ("kind", "measure", "wanted"),
    [
        ("images", None, "accuracy"),
        ("series", "nll", "nll"),
        ("detection", None, "map50_95"),
        ("detection", "map50", "map50"),
    ],
)
def test_a_measure_that_the_data_have(kind, measure, wanted):
    given = Settings(measure=measure, sizes=["all", 4], seeds=2)
    found = given.for_kind(kind)
    assert (found.measure, found.sizes, found.seeds) == (wanted, (4, 0), 2)


@pytest.mark.parametrize(("kind", "measure"), [("images", "map50"), ("detection", "accuracy")])
def test_a_measure_of_other_data(kind, measure):
    with pytest.raises(ValueError, match=f"`measure` must be one of .* for {kind}, got"):
        Settings(measure=measure).for_kind(kind)


def test_seeds_count_from_zero():
    assert Settings(seeds=3).seed_numbers == (0, 1, 2)
