"""Made-up comparisons: what `compare` would leave behind, without training anything."""

import random

from albu_learned.comparison.result import ArmFacts, Outcome, Result

SIZES = (5, 20)


def study(gains, sizes=SIZES, seeds=5, noise=0.004, controls=(), skipped=(), chosen=(), **changes):
    """Plain training, and arms that gain so much in accuracy: one number, or one for each size.

    Args:
        gains: by arm; a tuple of three is the gain in accuracy, in NLL and in ECE (+ is better).
        controls: pairs of an arm and the names of its controls.
        skipped: pairs of an arm and why it did not run.
        chosen: pairs of an arm and its candidates, of which the first is always chosen.
    """
    rng = random.Random(0)
    controls, chosen = dict(controls), dict(chosen)
    arms = [ArmFacts("plain", "nothing")]
    for arm in gains:
        arms.append(ArmFacts(arm, f"{arm}.", controls.get(arm, ()), chosen.get(arm, ())))
    arms += [ArmFacts(arm, f"{arm}.", skipped=why) for arm, why in skipped]
    results = []
    for i, size in enumerate(sizes):
        for seed in range(seeds):
            level = 0.7 + 0.05 * i + rng.gauss(0, 0.02)
            for arm in ("plain", *gains):
                every = gains.get(arm, 0.0)
                every = every if isinstance(every, tuple) else (every, 0.0, 0.0)
                each = [gain[i] if isinstance(gain, list) else gain for gain in every]
                wobble = [0.0 if arm == "plain" else rng.gauss(0, noise) for _ in each]
                accuracy, nll, ece = (a + b for a, b in zip(each, wobble, strict=True))
                measures = {
                    "accuracy": level + accuracy,
                    "macro_f1": level + accuracy - 0.01,
                    "nll": 2 * (1 - level) - nll,
                    "ece": 0.1 - ece,
                }
                strength = dict(chosen[arm][0]) if arm in chosen else {}
                tried = tuple((dict(c), {"accuracy": 0.5}) for c in chosen.get(arm, ()))
                results.append(Result(arm, size, seed, measures, strength, tried))
    given = {"data": "toys", "kind": "images", "measure": "accuracy", **changes}
    return Outcome(
        arms=tuple(arms), sizes=sizes, seeds=tuple(range(seeds)), results=tuple(results), **given
    )


def from_values(values, sizes=SIZES, controls=(), measure="accuracy", **changes):
    """A comparison of one measure from its values: by arm, lists over sizes of lists over seeds."""
    controls = dict(controls)
    results = [
        Result(arm, size, seed, {measure: value})
        for arm, by_size in values.items()
        for size, of in zip(sizes, by_size, strict=True)
        for seed, value in enumerate(of)
    ]
    arms = tuple(ArmFacts(arm, "", controls.get(arm, ())) for arm in values)
    seeds = tuple(range(len(values["plain"][0])))
    given = {"data": "toys", "kind": "images", "measure": measure, **changes}
    return Outcome(arms=arms, sizes=tuple(sizes), seeds=seeds, results=tuple(results), **given)
