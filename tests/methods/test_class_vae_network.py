"""Networks side by side, each as if it were alone; the loss against torch's own distributions."""

import pytest
import torch
from torch import distributions

from albu_learned.fitting import seeded
from albu_learned.methods.class_vae import pca
from albu_learned.methods.class_vae.layers import Many
from albu_learned.methods.class_vae.loss import divergence, misfit
from albu_learned.methods.class_vae.network import NAMES, Networks

LEARNED = [name for name in NAMES if name != "pca"]


def begun(name, count, shape, first=0, **how):
    networks = Networks(name, count, shape, 3, **how).double()
    networks.begin([seeded("first", first + i) for i in range(count)])
    return networks


def rand(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14), (1, 28, 28), (3, 33, 40), (2, 128, 64)])
def test_any_size_comes_out_as_it_went_in(name, shape):
    if name == "garay-2018" and shape[1] % 2:
        return
    networks = begun(name, 2, shape)
    mean, log_variance = networks.encode(rand(3, 2, *shape))
    assert mean.shape == log_variance.shape == (3, 2, 3)
    pixels = networks.pixels(mean)
    assert pixels.shape == (3, 2, *shape)
    assert pixels.min() >= 0
    assert pixels.max() <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("labels", [0, 2])
def test_a_network_is_the_same_alone_and_among_others(name, labels):
    together = begun(name, 3, (1, 12, 12), labels=labels)
    alone = begun(name, 1, (1, 12, 12), first=1, labels=labels)
    images, told = rand(4, 3, 1, 12, 12), torch.tensor([[0, 1, 0]] * 4)
    own = (images[:, 1:2], told[:, 1:2])
    for wide, one in zip(together.encode(images, told), alone.encode(*own), strict=True):
        torch.testing.assert_close(wide[:, 1:2], one)
    z = rand(4, 3, 3)
    one = alone.pixels(z[:, 1:2], told[:, 1:2])
    torch.testing.assert_close(together.pixels(z, told)[:, 1:2], one)
    which = torch.tensor([2, 1])
    chosen = together.pixels(z[:, which], told[:, which], which)
    torch.testing.assert_close(chosen[:, 1:], one)


@pytest.mark.parametrize("name", LEARNED)
def test_no_gradient_goes_from_one_network_to_another(name):
    networks = begun(name, 3, (1, 12, 12))
    mean, _ = networks.encode(rand(4, 3, 1, 12, 12))
    networks.pixels(mean)[:, 1].sum().backward()
    for parameter in networks.parameters():
        if parameter.grad is not None:
            assert not parameter.grad[[0, 2]].any()
    assert any(p.grad is not None and p.grad[1].any() for p in networks.parameters())


@pytest.mark.parametrize("name", LEARNED)
def test_a_shared_network_is_told_the_class(name):
    networks = begun(name, 1, (1, 12, 12), labels=3)
    z, images = rand(1, 1, 3).repeat(3, 1, 1), rand(1, 1, 1, 12, 12).repeat(3, 1, 1, 1, 1)
    labels = torch.arange(3)[:, None]
    for found in (networks.pixels(z, labels), networks.encode(images, labels)[0]):
        assert (found[0] - found[1]).abs().max() > 1e-6
        assert (found[1] - found[2]).abs().max() > 1e-6


def test_rows_are_decoded_by_the_network_of_their_class():
    networks = begun("convolutional", 4, (1, 10, 10), labels=2)
    network, member = torch.tensor([3, 0, 3, 1, 3]), torch.tensor([0, 1, 1, 0, 0])
    z = rand(5, 3)
    found = networks.made(z, network, member)
    for row in range(5):
        own = networks.pixels(z[row].view(1, 1, 3), member[row].view(1, 1), network[row].view(1))
        torch.testing.assert_close(found[row], own[0, 0])


def test_decoders_begin_with_the_mean_of_their_images():
    means = rand(2, 1, 12, 12)
    networks = Networks("convolutional", 2, (1, 12, 12), 3).double()
    networks.begin([seeded(0), seeded(1)], means)
    for layer in networks.modules():
        if isinstance(layer, Many):
            torch.nn.init.zeros_(layer.weight)
    torch.testing.assert_close(networks.pixels(rand(1, 2, 3))[0], means.clamp(0.02, 0.98))


def test_garay_has_the_sizes_of_the_paper_and_refuses_odd_ones():
    networks = Networks("garay-2018", 1, (1, 28, 28), 8)
    sizes = {name: tuple(p.shape[1:]) for name, p in networks.named_parameters() if p.ndim > 2}
    assert sizes["features.0.weight"] == (1, 1, 2, 2)
    assert sizes["features.2.weight"] == (64, 1, 2, 2)
    assert sizes["decoder.2.weight"] == (128, 12544)
    with pytest.raises(ValueError, match="even sides"):
        Networks("garay-2018", 1, (1, 27, 28), 8)


def test_divergence_is_that_of_torch():
    mean, log_variance = rand(5, 3) * 4 - 2, rand(5, 3, seed=1) * 6 - 3
    own = distributions.Normal(mean, (0.5 * log_variance).exp())
    unit = distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(
        divergence(mean, log_variance), distributions.kl_divergence(own, unit)
    )


def test_misfit_is_minus_the_log_likelihood_of_torch():
    logits, images = rand(4, 2, 1, 3, 3) * 8 - 4, rand(4, 2, 1, 3, 3, seed=1)
    binary = (images > 0.5).double()
    wanted = -distributions.Bernoulli(logits=logits).log_prob(binary).flatten(2).sum(2)
    torch.testing.assert_close(misfit(logits, binary), wanted)
    log_scale = torch.tensor([-1.0, 0.3], dtype=torch.float64)
    scale = log_scale.exp().view(1, 2, 1, 1, 1)
    wanted = -distributions.Normal(logits.sigmoid(), scale).log_prob(images).flatten(2).sum(2)
    torch.testing.assert_close(misfit(logits, images, log_scale), wanted)


def test_pca_samples_have_the_mean_and_covariance_of_their_class():
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(3, 36, generator=generator, dtype=torch.float64) * 0.03
    images = (0.5 + torch.randn(40, 3, generator=generator, dtype=torch.float64) @ directions).view(
        40, 1, 6, 6
    )
    networks = Networks("pca", 2, (1, 6, 6), 5).double()
    pca.solve(networks, images, [torch.arange(20), torch.arange(20, 40)])
    for number, own in enumerate(images.split(20)):
        weight = networks.decoder[0].weight[number]
        flat = own.flatten(1)
        torch.testing.assert_close(networks.decoder[0].bias[number], flat.mean(dim=0))
        torch.testing.assert_close(weight.T @ weight, flat.T.cov())
        which = torch.tensor([number])
        again = networks.pixels(networks.encode(own[:, None], None, which)[0], None, which)
        torch.testing.assert_close(again[:, 0], own)
