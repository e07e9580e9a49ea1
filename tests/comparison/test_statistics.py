"""Paired statistics against slow references, scipy's own and cases worked by hand."""

import itertools
import math
import random

import pytest
from scipy import stats

from albu_learned.comparison import statistics as s
from albu_learned.comparison.result import PLAIN
from tests.comparison.outcomes import from_values

NAN = float("nan")


def slow_wilcoxon(values):
    """By all the ways to give signs to the ranks of what is not zero."""
    values = [v for v in values if v]
    ranks = stats.rankdata([abs(v) for v in values])
    middle = sum(ranks) / 2
    seen = abs(sum(r for r, v in zip(ranks, values, strict=True) if v > 0) - middle)
    sums = [
        sum(itertools.compress(ranks, signs))
        for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    return sum(abs(each - middle) >= seen - 1e-9 for each in sums) / len(sums)


def drawn(seed, count, ties=False):
    rng = random.Random(seed)
    return [rng.randint(-4, 5) / 100 if ties else rng.gauss(0.3, 1) for _ in range(count)]


@pytest.mark.parametrize("count", [2, 3, 5, 8, 30])
@pytest.mark.parametrize("seed", range(4))
def test_students_t_is_scipys(seed, count):
    values = drawn(seed, count)
    assert s.t_p(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-9)
    assert s.standard_error(values) == pytest.approx(stats.sem(values), rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 12, 25])
@pytest.mark.parametrize("seed", range(4))
def test_wilcoxon_without_ties_is_scipys(seed, count):
    values = drawn(seed, count)
    expected = stats.wilcoxon(values, method="exact").pvalue
    assert s.wilcoxon_p(values) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [1, 3, 6, 9])
@pytest.mark.parametrize("seed", range(6))
def test_wilcoxon_with_ties_and_zeros_is_exact(seed, count):
    values = drawn(seed, count, ties=True)
    assert s.wilcoxon_p(values) == pytest.approx(slow_wilcoxon(values), rel=1e-12)


def test_ties_are_seen_through_rounding():
    assert 0.3 - 0.2 != 0.2 - 0.1
    assert s.wilcoxon_p([0.2 - 0.3, 0.2 - 0.1, 0.5]) == slow_wilcoxon([-1, 1, 5]) == 0.75
    assert s.wilcoxon_p([1e-17, 0.1, 0.2]) == slow_wilcoxon([1, 2]) == 0.5


@pytest.mark.parametrize("count", [1, 2, 5])
def test_differences_of_zero_show_nothing(count):
    values = [0.0] * count
    assert s.wilcoxon_p(values) == 1
    assert s.rank_biserial(values) == 0
    assert s.t_p(values) == (1 if count > 1 else None)


def test_a_single_pair_has_no_error():
    (row, _) = s.paired(from_values({PLAIN: [[0.5]], "a": [[0.6]]}, sizes=(5,)))
    assert (row.pairs, row.error, row.t_p, row.holm_t, row.clear) == (1, None, None, None, False)
    assert row.mean == pytest.approx(0.1)
    assert row.wilcoxon_p == 1


def test_where_differences_do_not_vary_t_is_not_believed():
    steady = [0.3 - 0.2, 0.2 - 0.1, 0.4 - 0.3]  # one image of ten, in each of 3 seeds
    assert s.t_p(steady) == s.wilcoxon_p(steady) == 0.25


@pytest.mark.parametrize("pairs", range(1, 12))
def test_the_least_p_is_that_of_differences_on_one_side(pairs):
    assert s.least_p(pairs) == s.wilcoxon_p(range(1, pairs + 1)) == min(1, 2 / 2**pairs)


@pytest.mark.parametrize(("arms", "seeds"), [(1, 6), (2, 7), (5, 8), (6, 8), (7, 9)])
def test_how_many_seeds_wilcoxon_takes(arms, seeds):
    assert s.seeds_for_wilcoxon(arms) == seeds
    assert arms * s.least_p(seeds) <= 0.05 < arms * s.least_p(seeds - 1)


def test_the_effect_by_hand():
    assert s.rank_biserial([0.1, 0.2, 0.3]) == 1
    assert s.rank_biserial([-0.1, -0.2]) == -1
    # Ranks 1, 2.5, 2.5, 4 without the zero, of which 1 and 2.5 are negative: (6.5 - 3.5) / 10.
    assert s.rank_biserial([-0.1, 0.2, -0.2, 0.0, 0.5]) == pytest.approx(0.3)


def test_holm_by_hand():
    # Sorted .005, .01, .03, .04 times 4, 3, 2, 1: .02, .03, .06 and .04, which may not fall again.
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.6, 0.7]) == [1, 1]
    assert s.holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]
    assert s.holm([]) == []


def test_holm_rejects_what_holms_own_steps_reject():
    rng = random.Random(0)
    for _ in range(300):
        ps = [rng.random() ** 4 for _ in range(rng.randint(1, 7))]
        rejected = set()
        for rank, p in enumerate(sorted(ps)):
            if p > 0.05 / (len(ps) - rank):
                break
            rejected.add(p)
        assert {p for p, c in zip(ps, s.holm(ps), strict=True) if c <= 0.05} == rejected


VALUES = {
    PLAIN: [[0.50, 0.60, 0.70], [0.70, 0.80, 0.85]],
    "smooth": [[0.51, 0.62, 0.70], [0.72, 0.80, 0.86]],
    "mix": [[0.55, 0.64, 0.76], [0.73, 0.81, 0.88]],
    "zeta": [[0.56, 0.66, 0.75], [0.76, 0.83, 0.89]],
    "shift": [[0.40, 0.55, 0.60], [0.70, 0.79, 0.86]],
}
CONTROLS = {"mix": ("smooth",), "zeta": ("smooth", "mix", "absent")}.items()


def rows_of(values=VALUES, **given):
    rows = s.paired(from_values(values, controls=CONTROLS, **given))
    return {(row.arm, row.other, row.size): row for row in rows}


def test_every_comparison_is_there_once():
    rows = rows_of()
    pairs = [(arm, PLAIN) for arm in VALUES if arm != PLAIN]
    pairs += [("mix", "smooth"), ("zeta", "smooth"), ("zeta", "mix")]
    assert set(rows) == {(a, b, size) for a, b in pairs for size in (5, 20, None)}
    assert all(row.pairs == 3 for row in rows.values())


def test_a_seed_is_averaged_over_sizes_not_counted_twice():
    row = rows_of()["mix", PLAIN, None]
    differences = [0.04, 0.025, 0.045]  # of (.05, .03), (.04, .01), (.06, .03)
    assert row.mean == pytest.approx(sum(differences) / 3)
    assert row.error == pytest.approx(stats.sem(differences))
    assert row.t_p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


@pytest.mark.parametrize(("p", "corrected"), [("t_p", "holm_t"), ("wilcoxon_p", "holm_wilcoxon")])
def test_the_three_families(p, corrected):
    rows = rows_of()
    arms = [arm for arm in VALUES if arm != PLAIN]

    def check(keys, ps):
        found = [getattr(rows[key], corrected) for key in keys]
        assert found == pytest.approx(s.holm(ps))

    def of(*key):
        return getattr(rows[key], p)

    average = [(arm, PLAIN, None) for arm in arms]
    check(average, [of(*key) for key in average])
    single = [(arm, PLAIN, size) for arm in arms for size in (5, 20)]
    check(single, [of(*key) for key in single])
    mix = max(of("mix", PLAIN, None), of("mix", "smooth", None))
    zeta = max(of("zeta", other, None) for other in (PLAIN, "smooth", "mix"))
    check([("mix", "smooth", None), ("zeta", "smooth", None)], [mix, zeta])
    assert rows["zeta", "mix", None].holm_t == rows["zeta", "smooth", None].holm_t
    assert all(row.holm_t is None for (_, other, z), row in rows.items() if z and other != PLAIN)


def test_an_arm_that_is_not_better_than_all_its_controls_has_a_p_of_1():
    rows = rows_of({**VALUES, "mix": VALUES["shift"]})
    assert rows["mix", "smooth", None].t_p < 1
    assert rows["mix", "smooth", None].holm_t == 1


def test_to_beat_its_controls_an_arm_has_to_beat_plain_too():
    low = [[v - 0.2 for v in of] for of in VALUES[PLAIN]]
    rows = rows_of({**VALUES, "smooth": low, "mix": VALUES["shift"], "zeta": VALUES["mix"]})
    assert rows["zeta", PLAIN, None].t_p > rows["zeta", "smooth", None].t_p
    rows = rows_of({PLAIN: VALUES[PLAIN], "smooth": low, "mix": VALUES["mix"]})
    assert rows["mix", "smooth", None].holm_t == rows["mix", PLAIN, None].t_p


def test_where_less_is_better_differences_are_turned_round():
    more, less = rows_of(), rows_of(measure="nll")
    for key, row in more.items():
        assert less[key].mean == pytest.approx(-row.mean)
        assert less[key].effect == pytest.approx(-row.effect)
        assert less[key].t_p == pytest.approx(row.t_p)


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_values_that_are_not_numbers_do_not_leave(value):
    rows = rows_of({**VALUES, "shift": [[0.4, value, 0.6], [0.7, 0.7, 0.7]]})
    assert ("shift", PLAIN, 20) in rows
    assert not {("shift", PLAIN, 5), ("shift", PLAIN, None)} & set(rows)
    for row in rows.values():
        known = [row.mean, row.error, row.t_p, row.wilcoxon_p, row.effect]
        assert all(math.isfinite(x) for x in [*known, row.holm_t or 0, row.holm_wilcoxon or 0])


def test_measures_that_only_some_have_are_left_out():
    outcome = from_values(VALUES)
    assert s.measured(outcome) == ["accuracy"]
    for result in outcome.results:
        result.measures["nll"] = 1.0
    outcome.results[3].measures["ece"] = 0.1
    assert s.measured(outcome) == ["accuracy", "nll"]
