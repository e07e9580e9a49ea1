"""The choice of a prior: the same for all candidates but the prior, resumable, by held-out rows."""

import re

import pytest
import torch
import torch.nn.functional as F

import albu_learned as al
from albu_learned.pstn import tune as module
from tests.pstn.models import CLASSES, FAMILIES, classifier, rows, seeded


def make(prior_std, family=FAMILIES["affine"], **arguments):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(CLASSES))
    return al.PSTN(network, family, prior_std, **arguments)


def data(count=30, family=FAMILIES["affine"]):
    """Classes that are told by their brightness."""
    y = torch.arange(count) % CLASSES
    x = rows(family, count) * 0.2
    return x + 0.4 * y.view(-1, *[1] * (x.ndim - 1)), y


def tuned(folder=None, made=make, given=None, **how):
    x, y = given or data()
    how = {"prior_std": [0.05, 0.2], "steps": 3, "batch": 8, "progress": False, **how}
    return al.PSTN.tune(made, x, y, folder=folder, **how)


@pytest.mark.parametrize("name", ["affine", "cpab-series"])
def test_the_best_is_that_of_the_lowest_nll(name):
    family = FAMILIES[name]
    found = tuned(
        made=lambda std: make(std, family),
        given=data(family=family),
        kl_weight=[1, 0.1],
        holdouts=2,
    )
    assert [(t.prior_std, t.kl_weight) for t in found.trials] == [
        (0.05, 1.0),
        (0.05, 0.1),
        (0.2, 1.0),
        (0.2, 0.1),
    ]
    best = min(found.trials, key=lambda trial: trial.nll)
    assert (found.prior_std, found.kl_weight) == (best.prior_std, best.kl_weight)
    assert len({trial.nll for trial in found.trials}) == 4
    assert all(0 <= trial.accuracy <= 1 for trial in found.trials)
    assert found.bare.nll not in {trial.nll for trial in found.trials}
    lines = str(found).splitlines()
    assert [line.startswith("| no PSTN | |") for line in lines[:7]] == [False] * 6 + [True]
    assert sum("best |" in line for line in lines) == 1
    assert lines[7:] == ([] if found.warning is None else ["", found.warning])


def test_every_row_is_seen_as_often_as_any():
    seen = []

    class Spied(al.PSTN):
        def loss(self, x, y, generator=None):
            seen.extend(row.sum().item() for row in x)
            return super().loss(x, y, generator)

    def spied(std):
        return Spied(classifier(FAMILIES["affine"]), FAMILIES["affine"], std)

    x, y = data()  # of 30 rows 21 train
    tuned(made=spied, given=(x, y), prior_std=[0.1], steps=21, batch=8, share=0.3)
    counts = [seen.count(value) for value in set(seen)]
    assert counts == [8] * 21


def test_by_accuracy_ties_go_to_the_likelier():
    trials = [module.Trial(0.1, 1, 0.5, 0.9), module.Trial(0.2, 1, 0.4, 0.9)]
    trials += [module.Trial(0.3, 1, 0.1, 0.8), module.Trial(0.4, 1, 0.4, 0.9)]
    assert module._best(trials, "accuracy").prior_std == 0.2
    assert module._best(trials, "nll").prior_std == 0.3


def test_candidates_differ_in_their_prior_alone():
    seen = []

    class Spied(al.PSTN):
        def loss(self, x, y, generator=None):
            weights = next(self.classifier.parameters())
            state = generator.get_state()
            seen.append((self.prior_std, x.clone(), state, None if len(x) == 0 else weights))
            return super().loss(x, y, generator)

    def spied(std):
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, CLASSES))
        return Spied(network, FAMILIES["affine"], std)

    firsts = []

    def optimizer(model):
        firsts.append(next(model.classifier.parameters()).detach().clone())
        return torch.optim.SGD(model.parameters(), lr=0.1)

    state = torch.get_rng_state()
    tuned(made=spied, optimizer=optimizer)
    assert torch.equal(torch.get_rng_state(), state)
    one, other = seen[:3], seen[3:]
    assert {row[0] for row in one} == {0.05}
    assert {row[0] for row in other} == {0.2}
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a[1], b[1])
        assert torch.equal(a[2], b[2])
    assert len(firsts) == 4  # the first tells a folder which model it is of, the last is bare
    assert all(torch.equal(first, firsts[0]) for first in firsts)


def test_the_measures_are_those_of_the_rows_that_were_not_trained_on():
    shown = []

    class Spied(al.PSTN):
        def loss(self, x, y, generator=None):
            shown.append(x)
            return super().loss(x, y, generator)

    x, y = data()
    groups = torch.arange(len(x)) // 6
    made = []

    def spied(std):
        made.append(Spied(classifier(FAMILIES["affine"]), FAMILIES["affine"], std))
        return made[-1]

    found = tuned(
        made=spied, given=(x, y), groups=groups, prior_std=[0.05], steps=40, batch=5, share=0.4
    )
    seen = {tuple(row.flatten().tolist()) for batch in shown for row in batch}
    held = torch.tensor([tuple(row.flatten().tolist()) not in seen for row in x])
    assert 0 < held.sum() < len(x)
    assert set(groups[held].tolist()).isdisjoint(groups[~held].tolist())
    *_, model, bare = made  # those before tell a folder which model it is of
    for network, trial in ((model, found.trials[0]), (bare.classifier, found.bare)):
        with torch.no_grad():
            scores = network.eval()(x[held]).log_softmax(dim=1)
        nll = torch.nn.functional.nll_loss(scores.double(), y[held]).item()
        assert trial.nll == pytest.approx(nll, rel=1e-5)
        right = (scores.argmax(1) == y[held]).float().mean().item()
        assert trial.accuracy == pytest.approx(right)


def test_the_bare_classifier_is_trained_like_any_other():
    """The same weights, rows and steps by hand."""
    x, y = data()
    mask = module._mask(module._sample(x, y, None), 0.25, 3, 0)
    torch.manual_seed(3)
    model = make(0.05)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    generator = seeded(3)
    for _ in range(3):  # of which each is a whole epoch
        rows = torch.randperm(int((~mask).sum()), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model.classifier(x[~mask][rows]), y[~mask][rows]).backward()
        optimizer.step()
    wanted = F.cross_entropy(model.classifier(x[mask]), y[mask]).item()
    found = tuned(
        seed=3, batch=100, optimizer=lambda model: torch.optim.SGD(model.parameters(), 0.1)
    )
    assert found.bare.nll == pytest.approx(wanted, rel=1e-5)
    assert (found.bare.prior_std, found.bare.kl_weight) == (0, 0)


def test_candidates_that_share_a_network_are_refused():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, CLASSES))

    def shared(std):
        return al.PSTN(network, FAMILIES["affine"], std)

    with pytest.raises(ValueError, match=r"`make` must make new networks.*'classifier.1.weight'"):
        tuned(made=shared)
    for weight in network.parameters():
        weight.requires_grad_(False)  # as of a backbone that is not trained
    tuned(made=shared, steps=1)


@pytest.mark.parametrize(
    "around",
    [torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16), torch.no_grad],
)
def test_what_is_set_around_it_changes_nothing(around):
    with around():
        found = tuned()
    assert found == tuned()


def test_several_crops_have_no_bare_classifier():
    found = tuned(made=lambda std: make(std, crops=2), steps=1)
    assert found.bare is None
    assert "no PSTN" not in str(found)


T = module.Trial


@pytest.mark.parametrize(
    ("best", "bare", "measure", "words"),
    [
        (T(0.1, 1, 0.5, 0.9), T(0, 0, 0.6, 0.95), "nll", None),
        (T(0.1, 1, 0.5, 0.9), None, "nll", None),
        (T(0.1, 1, 0.5, 0.9), T(0, 0, 0.6, 0.95), "accuracy", "alone .accuracy 0.95.* PSTN.$"),
        (T(0.1, 1, 0.5, 0.9), T(0, 0, 0.4, 0.9), "accuracy", "alone"),
        (T(0.1, 1, 0.5, 0.9), T(0, 0, 0.4, 0.8), "nll", "alone .nll 0.4000.* .0.5000 at best"),
        (T(0.2, 1, 0.5, 0.9), T(0, 0, 0.6, 0.8), "nll", "^0.2 is the largest .* larger ones too"),
        (T(0.05, 1, 0.5, 0.9), T(0, 0, 0.4, 0.8), "nll", "PSTN. 0.05 is the smallest"),
    ],
)
def test_what_a_choice_would_hide_is_said(best, bare, measure, words):
    trials = [T(prior, 1, 0.7, 0.1) for prior in (0.05, 0.1, 0.2)]
    said = module._warning(best, trials, bare, measure)
    assert said is words is None or re.search(words, said)


def test_of_two_candidates_one_is_always_at_the_end():
    trials = [T(0.05, 1, 0.5, 0.9), T(0.1, 1, 0.7, 0.9)]
    assert module._warning(trials[0], trials, None, "nll") is None


def test_it_goes_on_where_it_was(tmp_path):
    def stopping(done, total):
        assert total == 6
        if done == 2:
            raise KeyboardInterrupt

    both = tuned(tmp_path / "both", kl_weight=[1, 0.1])
    assert both == tuned(tmp_path / "both", kl_weight=[1, 0.1]) == tuned(kl_weight=[1, 0.1])
    whole = tuned(holdouts=2)
    assert whole.trials[0].nll != both.trials[0].nll, "other rows are held out"
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path, holdouts=2, progress=stopping)
    made = []

    def counted(std):
        made.append(std)
        return make(std)

    assert tuned(tmp_path, counted, holdouts=2) == whole
    # Two to know the model by, and that they are apart; bare ones in the end.
    assert made == [0.05, 0.05, 0.2, 0.2, 0.05, 0.05]
    assert tuned(tmp_path, counted, holdouts=2) == whole
    assert len(made) == 8
    more = tuned(tmp_path, counted, holdouts=2, prior_std=[0.05, 0.2, 0.3])
    assert more.trials[:2] == whole.trials


@pytest.mark.parametrize(
    ("how", "name"),
    [({"steps": 4}, "steps"), ({"seed": 1}, "model"), ({"given": data(33)}, "images")],
)
def test_a_folder_of_another_tuning_is_refused(tmp_path, how, name):
    tuned(tmp_path)
    with pytest.raises(ValueError, match=f"differs in .*{name}"):
        tuned(tmp_path, **how)


def test_another_network_is_refused(tmp_path):
    tuned(tmp_path)
    with pytest.raises(ValueError, match="differs in model"):
        tuned(tmp_path, lambda std: make(std, samples=2))


HALVES = torch.arange(8) % 2


@pytest.mark.parametrize(
    ("error", "words", "how"),
    [
        (TypeError, "`make` must be a function", {"made": 3}),
        (
            TypeError,
            "`make` must return a PSTN, got Linear",
            {"made": lambda _: torch.nn.Linear(2, 2)},
        ),
        (ValueError, "`make` must return .* got prior_std=0.3", {"made": lambda _: make(0.3)}),
        (ValueError, "without stn=True", {"made": lambda std: make(std, stn=True)}),
        (ValueError, "`prior_std` must list at least one", {"prior_std": []}),
        (ValueError, "`prior_std` must list .* each once", {"prior_std": [0.1, 0.1]}),
        (ValueError, "`prior_std` must be a number > 0", {"prior_std": [0.1, 0]}),
        (ValueError, "`kl_weight` must be in", {"kl_weight": [-1]}),
        (ValueError, "`measure` must be one of", {"measure": "ece"}),
        (ValueError, "`steps` must be an integer >= 1, got 0", {"steps": 0}),
        (ValueError, "`holdouts` must be", {"holdouts": 0}),
        (ValueError, r"`share` must be in \(0, 1\)", {"share": 1.0}),
        (
            TypeError,
            "`x` must be floats",
            {"given": (torch.ones(4, 1, 8, 8).byte(), torch.ones(4))},
        ),
        (
            ValueError,
            "`x` must be finite",
            {"given": (torch.full((4, 1, 8, 8), torch.nan), torch.zeros(4).long())},
        ),
        (
            ValueError,
            r"`y` must be \(4,\) class numbers",
            {"given": (torch.rand(4, 1, 8, 8), torch.zeros(3).long())},
        ),
        (
            ValueError,
            r"`y` .* Of soft labels",
            {"given": (torch.rand(4, 1, 8, 8), torch.rand(4, 2))},
        ),
        (ValueError, "`prior_std` must list", {"prior_std": None}),
        (TypeError, "`optimizer` must be a function", {"optimizer": 0.1}),
        (ValueError, "class with two rows", {"given": (torch.rand(3, 1, 8, 8), torch.arange(3))}),
        (ValueError, "`x` must be images", {"given": (torch.rand(8, 1, 8), HALVES)}),
        (ValueError, "`y` must be in 0", {"given": (torch.rand(8, 1, 8, 8), 7 * HALVES)}),
        (ValueError, "from 0, got -1", {"given": (torch.rand(8, 1, 8, 8), HALVES - 1)}),
        (
            ValueError,
            "`groups` must be two or more in some class",
            {"given": (torch.rand(8, 1, 8, 8), HALVES), "groups": HALVES},
        ),
    ],
)
def test_what_cannot_be_tuned(error, words, how):
    with pytest.raises(error, match=words):
        tuned(**how)


def test_the_better_prior_is_found():
    """Bars that are told by where they are: strong shifts would mix them up."""
    generator = seeded(0)
    y = torch.arange(60) % CLASSES
    x = 0.05 * torch.rand(60, 1, 8, 8, generator=generator)
    for row, label in zip(x, y, strict=True):
        row[0, :, 1 + 2 * label : 3 + 2 * label] += 1

    def adam(model):
        return torch.optim.Adam(model.parameters(), lr=0.02)

    with pytest.warns(UserWarning, match="classifier alone") as told:
        found = tuned(given=(x, y), prior_std=[0.5, 0.02], steps=60, batch=16, optimizer=adam)
    assert found.prior_std == 0.02
    assert found.trials[1].accuracy > 0.9
    assert found.bare.nll < found.trials[1].nll
    assert str(told[0].message) == found.warning
    assert told[0].filename == __file__  # where `tune` was called
