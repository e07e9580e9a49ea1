"""The work of a cell: what arms of a seed share, how a strength is chosen, when tests are read."""

import pytest
import torch

from albu_learned.comparison import cells, finish
from albu_learned.comparison.cells import best
from tests.comparison import toy_data

ARMS = ["recipe", "mixup"]


pytestmark = pytest.mark.usefixtures("forget")


def recorded(monkeypatch, study, only=lambda cell: True):
    """By cell, the last of its trainings as it began: images, labels, batches, initial weights."""
    found, begun = {}, []

    def train(runs, settings, rate):
        for run in runs:
            everything = run.feed[torch.arange(len(run.feed))]
            weights = torch.cat([p.detach().flatten() for p in run.network.parameters()])
            begun.append((everything, run.feed.labels, run.batches, weights, run.seed))

    monkeypatch.setattr(cells, "train", train)
    monkeypatch.setattr(cells, "predict", lambda *given: torch.zeros(1, 3))
    monkeypatch.setattr(cells, "measures", lambda *given: {"accuracy": 0.0})
    for cell in filter(only, study.cells()):
        begun.clear()
        cells.train_cell(study, cell)
        found[cell.arm.name, cell.size, cell.seed] = begun[-1]
    return found


def same(one, other):
    return [
        a == b if isinstance(a, int) else torch.equal(a, b) for a, b in zip(one, other, strict=True)
    ]


def test_arms_of_a_seed_share_images_batches_and_initial_weights(monkeypatch):
    found = recorded(monkeypatch, toy_data.study(arms=ARMS, seeds=2, sizes=[2, 4]))
    assert {arm for arm, _, _ in found} == {"plain", "label smoothing", *ARMS}
    for (_, size, seed), begun in found.items():
        assert all(same(begun, found["plain", size, seed]))
    for size in (2, 4):
        differ = same(found["plain", size, 0], found["plain", size, 1])
        assert not any(differ[i] for i in (0, 2, 3, 4))


def test_a_size_does_not_depend_on_what_else_was_asked_for(monkeypatch):
    few = recorded(monkeypatch, toy_data.study(arms=["mixup"], sizes=4))
    asked = toy_data.study(arms=ARMS, seeds=3, sizes=[2, 4, "all"])
    many = recorded(monkeypatch, asked, lambda cell: cell.size == 4 and cell.seed < 2)
    for key, begun in few.items():
        assert all(same(begun, many[key]))


def test_smaller_subsets_lie_in_larger_ones(monkeypatch):
    found = recorded(monkeypatch, toy_data.study(sizes=[2, 5, "all"]))
    rows = [
        {tuple(image.flatten().tolist()) for image in found["plain", size, 0][0]}
        for size in (2, 5, 0)
    ]
    assert [len(part) for part in rows] == [6, 15, 30]
    assert rows[0] < rows[1] < rows[2]


def test_validation_rows_come_from_the_subset_and_groups_stay_together(monkeypatch):
    """Every image of a group is alike, so that images tell their group."""
    groups = torch.arange(36) // 3 // 2  # two rows a class
    given = toy_data.images(train=36, groups=groups)
    given.train.rows[:] = groups.view(-1, 1, 1, 1).to(torch.uint8) * 20
    study = toy_data.study(given, ["mixup"], sizes=8)
    held = []
    monkeypatch.setattr(cells, "train", lambda runs, *_: held.extend(run.feed for run in runs))
    predict = cells.predict
    monkeypatch.setattr(
        cells, "predict", lambda net, feed, *_: (held.append(feed), predict(net, feed, *_))[1]
    )
    cell = next(c for c in study.cells() if c.arm.name == "mixup")
    cells.train_cell(study, cell)
    subset = set(held[-1].numbers.tolist())  # of the last training, on all
    assert len(subset) == 24
    trained, validated = held[0], held[len(cell.arm.candidates)]
    sides = set(trained.numbers.tolist()), set(validated.numbers.tolist())
    assert sides[0] | sides[1] == subset
    assert not sides[0] & sides[1]
    levels = [set(part[torch.arange(len(part))].unique().tolist()) for part in (trained, validated)]
    assert not levels[0] & levels[1]


def test_every_training_takes_as_many_steps(monkeypatch):
    study = toy_data.study(arms=ARMS, sizes=[1, 8], steps=5)
    for (_, size, _), begun in recorded(monkeypatch, study).items():
        assert begun[2].shape == (5, min(8, 3 * size))


def measured(accuracy, nll):
    return {"accuracy": accuracy, "macro_f1": 1 - accuracy, "nll": nll, "ece": nll / 2}


@pytest.mark.parametrize(
    ("tried", "measure", "wanted"),
    [
        ([(0.7, 1.0), (0.8, 2.0), (0.75, 0.1)], "accuracy", 1),
        ([(0.7, 1.0), (0.8, 2.0), (0.75, 0.1)], "macro_f1", 0),
        ([(0.7, 1.0), (0.8, 2.0), (0.75, 0.1)], "nll", 2),
        ([(0.7, 1.0), (0.8, 2.0), (0.75, 0.1)], "ece", 2),
        ([(0.8, 1.0), (0.8, 0.9), (0.7, 0.1)], "accuracy", 1),  # a tie: the likelihood
        ([(0.8, 1.0), (0.8, 1.0), (0.8, 1.0)], "accuracy", 0),  # then the order
        ([(0.7, 1.0), (0.1 + 0.2, 1.0), (0.3, 0.9)], "accuracy", 0),
        ([(0.1 + 0.2, 1.0), (0.3, 0.9)], "accuracy", 1),  # as good as the same
    ],
)
def test_the_rule_of_choice(tried, measure, wanted):
    listed = [({"number": n}, measured(*values)) for n, values in enumerate(tried)]
    assert best(listed, measure) == {"number": wanted}


def test_detectors_have_no_likelihood():
    listed = [({"a": n}, {"map50_95": value}) for n, value in enumerate((0.1, 0.3, 0.3))]
    assert best(listed, "map50_95") == {"a": 1}


def test_a_strength_is_chosen_from_all_that_were_tried():
    study = toy_data.study(arms=["label smoothing"], sizes=8, steps=20)
    cell = next(c for c in study.cells() if c.arm.candidates)
    found = cells.train_cell(study, cell)
    assert [strength for strength, _ in found["tried"]] == list(cell.arm.candidates)
    assert found["strength"] == best(found["tried"], "accuracy")
    tested = cells.test_cell(study, cell, found["weights"])
    assert set(tested["measures"]) == {"accuracy", "macro_f1", "nll", "ece"}
    assert sum(count for count, _, _ in tested["bins"]) == 12


def test_candidates_in_a_stack_validate_as_each_alone():
    """Also where hold-outs differ, and so the figures by which networks standardise."""
    given = toy_data.images()
    given.train.rows[::5] //= 3  # hold-outs are not alike
    tried = []
    for together in (1, 12):
        study = toy_data.study(
            given, ["label smoothing"], sizes=8, steps=6, together=together, holdouts=2
        )
        cell = next(c for c in study.cells() if c.arm.candidates)
        tried.append([m["nll"] for _, m in cells.train_cell(study, cell)["tried"]])
    assert tried[0] == pytest.approx(tried[1], rel=1e-4)


def test_too_few_images_to_hold_some_out():
    study = toy_data.study(arms=["label smoothing"], sizes=1)
    cell = next(c for c in study.cells() if c.arm.candidates)
    found = cells.train_cell(study, cell)
    assert found["strength"] == cell.arm.candidates[0]
    assert found["tried"] == []
    tested = cells.test_cell(study, cell, found["weights"])
    results = [finish._result(cell, {"trained": found, "tested": tested})]
    (note,) = [note for note in finish._notes(study, results) if "too few" in note]
    assert note.startswith("At size 1 there were too few images")


def test_an_entry_that_changes_nothing_stops_the_cell(tmp_path, monkeypatch):
    from albu_learned.spec import Step

    path = toy_data.written(tmp_path, "methods: [{method: ZetaMixup, gamma: 4}]")
    study = toy_data.study(arms=[path], steps=1)  # within the first epoch
    monkeypatch.setattr(Step, "_mix", lambda self, method, batch: (batch, 0))
    cell = next(c for c in study.cells() if c.arm.name == "spec")
    with pytest.raises(RuntimeError, match="ZetaMixup must change rows of the batch"):
        cells.train_cell(study, cell)


def test_a_mix_of_some_batches_trains(tmp_path):
    """An epoch is one batch here, which is left alone half of the time."""
    path = toy_data.written(tmp_path, "methods: [{method: ZetaMixup, gamma: 4, p: 0.5}]")
    study = toy_data.study(arms=[path], steps=12, sizes=8, batch=32)
    cell = next(c for c in study.cells() if c.arm.name == "spec")
    assert cells.train_cell(study, cell)["strength"] == {}


def test_the_test_part_is_read_by_the_test_alone():
    study = toy_data.study(arms=["label smoothing"])
    log = toy_data.log_of(study.data)
    trained = [(cell, cells.train_cell(study, cell)) for cell in study.cells()]
    assert not any(what == "read test" for what, _ in log)
    log.clear()
    for cell, found in trained:
        cells.test_cell(study, cell, found["weights"])
    assert sum(rows for what, rows in log if what == "read test") <= len(trained) * 12


def test_a_cell_is_known_by_all_that_its_result_depends_on():
    def keys(given=None, **settings):
        study = toy_data.study(given, ["label smoothing"], **settings)
        return {study.key(cell) for cell in study.cells()}

    usual = keys()
    assert len(usual) == 2
    assert keys() == usual
    assert keys(sizes=[2, 4], seeds=3) > usual  # which other cells there are
    for other in ({"steps": 4}, {"batch": 4}, {"learning_rate": 0.1}, {"precision": "bfloat16"}):
        assert not keys(**other) & usual
    assert not keys(toy_data.images(train=33)) & usual
