"""Training: side by side is one after another, from memory is from disk, and all arms do equal
work."""

import functools

import pytest
import torch

import albu_learned as al
from albu_learned.comparison import subsets, train
from albu_learned.comparison.settings import Settings
from albu_learned.comparison.train import Feed, Run, predict, state_of, together
from tests.comparison import toy_data

CPU = torch.device("cpu")


def settings(**given):
    return Settings(**{**toy_data.TINY, **given})


def feed(given=None):
    given = toy_data.images() if given is None else given
    return Feed(given.train, torch.arange(len(given.train)), CPU)


def run(arm="mixup", strength=None, seed=0, steps=12, given=None, fed=None, seen=None):
    """A training as a cell would set it up."""
    study = toy_data.study(given, [arm])
    fed = feed(study.data) if fed is None else fed
    arm = next(a for a in study.arms if a.name == arm)
    pipeline = arm.pipeline(strength or {}, study.given(arm))
    network = study.network(fed[torch.arange(len(fed))], seed)
    batches = subsets.batches(len(fed), 8, steps, seed)
    made = Run(network, fed, batches, pipeline, subsets.derived("augmentation", seed))
    if seen is not None:
        change = pipeline.__call__

        def spy(*given):
            seen.append(change(*given))
            return seen[-1]

        made.pipeline = Spied(spy, pipeline.close)
    return made


class Spied:
    def __init__(self, call, close):
        self.call, self.close = call, close

    def __call__(self, *given):
        return self.call(*given)


def trained(runs, **given):
    train.train(runs, settings(**given), 4e-3)
    return [state_of(run.network) for run in runs]


STRENGTHS = [{"alpha": 0.2}, {"alpha": 0.4}, {"alpha": 1.0}]


def test_side_by_side_is_one_after_another():
    """What is drawn is the same to the last bit; weights up to the order of sums, which AdamW's
    division blows up where a gradient is close to nothing."""
    seen = {"stack": [[], [], []], "alone": [[], [], []]}
    stack = [run(strength=s, seen=own) for s, own in zip(STRENGTHS, seen["stack"], strict=True)]
    alone = [run(strength=s, seen=own) for s, own in zip(STRENGTHS, seen["alone"], strict=True)]
    found = trained(stack)
    for number, one in enumerate(alone):
        (wanted,) = trained([one])
        for name, weight in wanted.items():
            torch.testing.assert_close(found[number][name], weight, rtol=1e-3, atol=1e-4)
        pairs = zip(seen["stack"][number], seen["alone"][number], strict=True)
        assert all(torch.equal(a, b) for x, y in pairs for a, b in zip(x, y, strict=True))
    assert not torch.equal(seen["stack"][0][0][0], seen["stack"][2][0][0])  # strengths do differ


def test_neighbours_in_a_stack_do_not_change_a_training():
    two = trained([run(seed=1), run(seed=2)])
    (alone,) = trained([run(seed=1)])
    for name, weight in alone.items():
        torch.testing.assert_close(two[0][name], weight, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(two[1][name], weight)


def test_rows_that_are_read_batch_by_batch_train_the_same(monkeypatch):
    given = toy_data.images()
    kept = feed(given)
    assert kept.kept is not None
    monkeypatch.setattr(train, "KEPT", 100)
    streamed = feed(given)
    assert streamed.kept is None
    mask = torch.arange(30) % 3 > 0
    for one, other in [(kept, streamed), (kept.part(mask), streamed.part(mask))]:
        chosen = torch.tensor([5, 0, 5])
        assert torch.equal(one[chosen], other[chosen])
        assert torch.equal(one.labels, other.labels)
        assert len(one) == len(other)
    (first,), (second,) = trained([run(fed=kept)]), trained([run(fed=streamed)])
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(
        predict(run().network, kept, settings()), predict(run().network, streamed, settings())
    )


def test_a_part_of_a_feed_reads_nothing_again():
    given = toy_data.images()
    whole = feed(given)
    toy_data.log_of(given).clear()
    mask = torch.arange(30) < 7
    part = whole.part(mask)
    assert torch.equal(part[torch.arange(7)], whole[torch.arange(7)])
    assert torch.equal(part.labels, whole.labels[:7])
    assert toy_data.log_of(given) == []


def test_images_are_floats_from_zero_to_one():
    rows = feed()[torch.arange(30)]
    assert rows.dtype == torch.float32
    assert 0 <= rows.min() < rows.max() <= 1


@pytest.mark.parametrize("arm", ["plain", "recipe", "mixup", "zeta-mixup", "label smoothing"])
def test_every_arm_takes_as_many_steps(arm, monkeypatch):
    counted = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a, **k: (counted.append(1), step(self, *a, **k))[1]
    )
    trained([run(arm, steps=7)])
    assert len(counted) == 7


def test_training_learns_and_says_how_sure_it_is():
    fed = feed()
    one = run("plain", steps=40, fed=fed)
    before = predict(one.network, fed, settings())
    trained([one])
    after = predict(one.network, fed, settings(), batch=7)
    torch.testing.assert_close(after.exp().sum(dim=1), torch.ones(30))
    torch.testing.assert_close(after, predict(one.network, fed, settings()), atol=1e-5, rtol=1e-4)
    right = [(logs.argmax(1) == fed.labels).float().mean() for logs in (before, after)]
    assert right[1] > max(0.9, right[0])


@functools.cache
def in_float32():
    reference = run("plain", steps=40)
    trained([reference])
    return reference


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_the_same(precision, count):
    fed = feed()
    runs = [run("plain", steps=40, fed=fed) for _ in range(count)]
    trained(runs, precision=precision)
    wanted = predict(in_float32().network, fed, settings()).exp()
    found = predict(runs[-1].network, fed, settings(precision=precision)).exp()
    assert (found - wanted).abs().max() < 0.1
    assert next(runs[-1].network.parameters()).dtype == torch.float32


def test_the_global_generator_is_let_be():
    one = run("recipe")
    torch.manual_seed(3)
    state = torch.get_rng_state()
    (first,) = trained([one])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)  # nor does it matter
    (again,) = trained([run("recipe")])
    assert all(torch.equal(first[name], again[name]) for name in first)


def with_body(body, steps=12):
    made = run("plain", steps=steps)
    made.network = torch.nn.Sequential(made.network[0], body)
    return made


def transformer(prior_std=0.2, **arguments):
    torch.manual_seed(5)
    bare = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    return al.PSTN(bare, prior_std=prior_std, example=(1, 8, 8), **arguments)


def test_the_loss_of_a_pstn_is_its_own():
    """What a loop that called `loss` would have come to; cross-entropy alone leaves the KL out."""
    one = with_body(transformer(samples=2))
    expected = transformer(samples=2)
    by_hand = torch.nn.Sequential(one.network[0], expected)
    (found,) = trained([one])
    optimizer = torch.optim.AdamW(by_hand.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=13)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(one.seed + 1)  # of networks
        for rows in one.batches:
            optimizer.zero_grad()
            expected.loss(one.network[0](one.feed[rows]), one.feed.labels[rows]).backward()
            optimizer.step()
            schedule.step()
    for name, wanted in state_of(by_hand).items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-5)


def test_predictions_of_a_pstn_are_averaged_over_motions():
    one = with_body(transformer())
    logs = predict(one.network, one.feed, settings())
    x = one.network[0](one.feed[torch.arange(len(one.feed))])
    with torch.no_grad():
        torch.testing.assert_close(logs, one.network[1].eval()(x), rtol=1e-4, atol=1e-5)


def test_epochs_count_images():
    made = run(steps=12)  # 8 of 30 images a step
    assert [made.epoch(step) for step in range(12)] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("given", "shape", "wanted"),
    [
        ({}, (1, 8, 8), 12),
        ({}, (3, 16, 16), 12),
        ({}, (3, 32, 32), 1),
        ({}, (1, 200), 12),
        ({"together": 3}, (3, 32, 32), 3),
        ({"model": "resnet18"}, (1, 8, 8), 1),
        ({"model": "resnet18", "together": 3}, (1, 8, 8), 1),
    ],
)
def test_how_many_are_trained_in_one_go(given, shape, wanted):
    assert together(settings(**given), shape) == wanted
