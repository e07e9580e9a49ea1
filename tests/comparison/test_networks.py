"""Networks: what they start from, what they take in, and that they can be stacked."""

import pytest
import torch

from albu_learned.comparison.networks import build, default_size, learning_rate, small


def built(shape=(1, 8, 8), seed=0, model="small", sample=None):
    sample = torch.rand(9, *shape) if sample is None else sample
    return build(model, False, shape, 3, sample, seed)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_initial_weights_follow_from_the_seed():
    state = torch.get_rng_state()
    rows = torch.zeros(2, 1, 8, 8)
    first, again, other = (weights(built(seed=s, sample=rows)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


SHAPES = [(1, 8, 8), (3, 12, 20), (1, 28, 28), (3, 64, 64), (1, 224, 224), (1, 5, 5)]
SHAPES += [(1, 24), (2, 100), (9, 1000), (1, 6)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_of_any_shape_become_logits(shape):
    network = built(shape)
    assert network(torch.rand(2, *shape)).shape == (2, 3)
    count = sum(p.numel() for p in network.parameters())
    assert 5e3 < count < 2e5


def test_long_sides_are_halved_until_they_are_short():
    for side in (8, 16, 64, 224):
        body = small((1, side, side), 2)[:-3]  # up to the pooling
        assert 2 <= body(torch.rand(1, 1, side, side)).shape[-1] <= 4


def test_a_small_network_has_weights_and_nothing_else():
    """So that several can be trained as a stack, and be stored as their weights."""
    network = built()
    assert list(network.buffers()) == []
    assert network.state_dict().keys() == dict(network.named_parameters()).keys()
    rows = torch.rand(4, 1, 8, 8)
    with torch.no_grad():  # nothing is random, nor does a row depend on others
        torch.testing.assert_close(network.train()(rows), network.eval()(rows))
        torch.testing.assert_close(network(rows)[:2], network(rows[:2]))


@pytest.mark.parametrize("shape", [(3, 6, 6), (2, 30)], ids=str)
def test_channels_are_standardised_by_the_sample(shape):
    sample = 0.2 + 0.1 * torch.rand(50, *shape)
    sample[:, 1] *= 3
    rows = built(shape, sample=sample)[0](sample).transpose(0, 1).flatten(1)
    torch.testing.assert_close(rows.mean(dim=1), torch.zeros(shape[0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows.std(dim=1), torch.ones(shape[0]), atol=1e-2, rtol=0)


def test_a_channel_without_contrast_stays_finite():
    network = built(sample=torch.full((4, 1, 8, 8), 0.5))
    assert network(torch.rand(2, 1, 8, 8)).isfinite().all()


def test_defaults():
    assert default_size("small") == 64
    small, new, tuned = (learning_rate(*given) for given in (("small", 0), ("x", 0), ("x", 1)))
    assert small > new > tuned


def test_models_of_timm():
    pytest.importorskip("timm")
    network = built((1, 32, 32), model="test_resnet")
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 3)
    assert torch.equal(weights(network), weights(built((1, 32, 32), model="test_resnet")))
    assert default_size("test_resnet") == 160
