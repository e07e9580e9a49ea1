"""What trainings share: they go on with the same bits, and say it if they diverged."""

import pytest
import torch

from albu_learned.fitting import diverged, in_precision, restore, state_of


def begun(make):
    """Weights, an average of them, and their optimizer."""
    weights = [torch.ones(2, 3, requires_grad=True), torch.zeros(4, requires_grad=True)]
    return weights, [torch.zeros(2, 3), torch.zeros(4)], make(weights)


def step(weights, average, optimizer, number):
    loss = sum(((w - number) ** 3).sum() for w in weights)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        torch._foreach_lerp_(average, weights, 0.3)


@pytest.mark.parametrize(
    "make",
    [
        lambda weights: torch.optim.AdamW(weights, 0.1),
        lambda weights: torch.optim.Adam(weights, 0.1, fused=True),
        lambda weights: torch.optim.RMSprop([{"params": [w]} for w in weights], 0.1),
        lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.5),
    ],
)
def test_a_training_goes_on_with_the_same_bits(make):
    weights, average, optimizer = begun(make)
    for number in range(6):
        if number == 3:
            now = {"average": average, "now": weights}
            kept = {name: t.clone() for name, t in state_of(optimizer, now).items()}
        step(weights, average, optimizer, number)
    others, other_average, other = begun(make)
    restore(other, {"average": other_average, "now": others}, kept)
    assert all(w.requires_grad for w in others)
    for number in range(3, 6):
        step(others, other_average, other, number)
    assert all(map(torch.equal, [*weights, *average], [*others, *other_average]))


def test_what_is_kept_is_named_and_can_be_written():
    weights, average, optimizer = begun(lambda weights: torch.optim.Adam(weights, 0.1))
    step(weights, average, optimizer, 0)
    kept = state_of(optimizer, {"best": average, "now": weights})
    moments = ("exp_avg", "exp_avg_sq", "step")
    names = [f"{name}.{i}" for name in ("best", "now") for i in range(2)]
    assert set(kept) == {*names, *(f"optimizer.{i}.{name}" for i in range(2) for name in moments)}
    assert not any(tensor.requires_grad for tensor in kept.values())


def test_precision():
    a = torch.ones(2, 2)
    with in_precision("float32", a.device):
        assert (a @ a).dtype == torch.float32
    with in_precision("bfloat16", a.device):
        assert (a @ a).dtype == torch.bfloat16


def test_a_diverged_training_names_the_rate():
    assert str(diverged(float("nan"), 24, 0.5)) == (
        "`learning_rate` must let the training stay finite, but its loss is nan at step 25, got "
        "0.5. Take a third of it."
    )
