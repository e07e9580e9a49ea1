"""The table in the terminal: the numbers are right, and no name breaks its lines."""

import statistics

import pytest

from albu_learned.comparison import words
from albu_learned.comparison.result import PLAIN
from albu_learned.comparison.table import WIDTH, table
from tests.comparison.outcomes import from_values, study

NAN = float("nan")
LONG = "a learned warp with everything that can be fitted, and then a mix of its samples"


def blocks(outcome):
    """By title, the lines of every block; the last are what stands below them."""
    found = [block.splitlines() for block in table(outcome).split("\n\n")]
    return {block[0]: block[1:] for block in found[:-1]}, found[-1]


def row(block, arm):
    (line,) = (line for line in block if line.startswith(arm + "  "))
    return line.removeprefix(arm).split("  ")


def cells(block, arm):
    return [cell.strip() for cell in row(block, arm) if cell.strip()]


def test_the_numbers_by_hand():
    values = {PLAIN: [[0.70, 0.80], [0.80, 0.82]], "mixup": [[0.72, 0.81], [0.79, 0.88]]}
    found, below = blocks(from_values(values))
    assert list(found) == ["5 images a class", "20 images a class", "Averaged over sizes"]
    assert cells(found["5 images a class"], "plain") == ["75.0 ± 7.1"]
    assert cells(found["5 images a class"], "mixup") == ["76.5 ± 6.4", "+1.5 ± 0.5"]
    assert cells(found["20 images a class"], "mixup") == ["83.5 ± 6.4", "+2.5 ± 3.5"]
    # Of a seed over sizes: .755 and .845, which are .005 and .035 above plain.
    assert cells(found["Averaged over sizes"], "mixup") == ["80.0 ± 6.4", "+2.0 ± 1.5"]
    assert below[0].startswith("± of an arm is the standard deviation over seeds")


def test_all_measures_and_where_a_difference_is_clear():
    outcome = study({"mixup": (0.05, 0.1, 0.0), "zeta": 0.0})
    found, _ = blocks(outcome)
    block = found["5 images a class"]
    assert block[0].split("  ")[-1] == "strength"
    heads = [head.strip() for head in block[0].split("  ") if head.strip()]
    assert heads == ["accuracy, %", "macro F1, %", "NLL", "ECE, %", "to plain", "strength"]
    accuracy, f1, nll, ece, to_plain = cells(block, "mixup")
    assert accuracy.startswith(f"{100 * statistics.mean(outcome.values('mixup', 5)):.1f} ± ")
    assert f1 == f"{100 * statistics.mean(outcome.values('mixup', 5, 'macro_f1')):.1f}"
    assert nll == f"{statistics.mean(outcome.values('mixup', 5, 'nll')):.3f}"
    assert ece == f"{100 * statistics.mean(outcome.values('mixup', 5, 'ece')):.1f}"
    assert to_plain.endswith(" *")
    assert not cells(block, "zeta")[-1].endswith("*")
    assert len(cells(block, "plain")) == 4


def test_a_single_size_has_no_average_and_a_single_seed_no_spread():
    found, below = blocks(study({"zeta": 0.02}, sizes=(0,), seeds=1))
    assert list(found) == ["All images"]
    assert not any("±" in line for line in found["All images"])
    assert "and sizes" not in " ".join(below)


def test_the_strength_chosen_most_often():
    outcome = study({"zeta": 0.0}, chosen=[("zeta", ({"gamma": 4.0, "p": 0.5}, {"gamma": 2.0}))])
    found, _ = blocks(outcome)
    assert cells(found["5 images a class"], "zeta")[-1] == "gamma 4, p 0.5 (5/5)"
    for result in [r for r in outcome.results if r.arm == "zeta"][:3]:
        result.strength.clear()
        result.strength["gamma"] = 2.8
    found, _ = blocks(outcome)
    assert cells(found["5 images a class"], "zeta")[-1] == "gamma 2.8 (3/5)"
    assert cells(found["Averaged over sizes"], "zeta")[-1] == "gamma 4, p 0.5 (7/10)"


@pytest.mark.parametrize("name", ["z", "label smoothing .1", LONG, LONG * 3, "unbroken" * 30])
def test_names_of_any_length_keep_to_the_lines(name):
    strength = {"a_long_name_of_an_argument": 0.123456, "another_one": 2.0}
    outcome = study(
        {name: 0.03, "mixup": 0.0}, chosen=[(name, (strength,))], skipped=[(LONG * 2, LONG * 2)]
    )
    lines = table(outcome).splitlines()
    assert max(map(len, lines)) <= WIDTH == 110
    flat = " ".join(" ".join(lines).split()).replace(" ", "")
    assert name.replace(" ", "") in flat  # nothing of it is lost
    assert f"nottried:{LONG * 2}:{LONG * 2}".replace(" ", "") in flat
    # Columns stand below each other: each row has its accuracy's ± at one place.
    places = {line.index("±") for line in lines if "±" in line and line[0] != "±"}
    assert len(places) == 1


def test_values_that_are_not_numbers_are_a_dash():
    values = {PLAIN: [[0.7, 0.8]], "mixup": [[NAN, 0.8]]}
    found, _ = blocks(from_values(values, sizes=(5,)))
    assert cells(found["5 images a class"], "mixup") == ["-"]


def test_detection_has_its_own_measures():
    values = {PLAIN: [[0.3, 0.4]], "mixup": [[0.31, 0.42]]}
    outcome = from_values(values, sizes=(100,), measure="map50_95", kind="detection")
    for result in outcome.results:
        result.measures["map50"] = 0.5
    found, _ = blocks(outcome)
    assert list(found) == ["100 images"]
    assert "mAP50-95, %  mAP50, %" in found["100 images"][0]
    assert cells(found["100 images"], "mixup") == ["36.5 ± 7.8", "50.0", "+1.5 ± 0.5"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (("accuracy", 0.0214, 0.0041), "+2.1 ± 0.4"),
        (("accuracy", -0.0004, 0.0001), "-0.04 ± 0.01"),  # not "-0.0 ± 0.0"
        (("accuracy", 0.01, 0.0), "+1.0 ± 0.0"),
        (("accuracy", 0.01, None), "+1.0"),
        (("nll", 0.1234, 0.02, False), "0.123 ± 0.020"),
        (("nll", 0.1234, 0.0001), "+0.1234 ± 0.0001"),
    ],
)
def test_how_a_difference_is_said(given, text):
    assert words.amount(*given) == text
