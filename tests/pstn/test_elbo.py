"""The arithmetic, against torch's distributions, Monte Carlo and the obvious in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

import albu_learned as al
from albu_learned.pstn.elbo import Posterior, divergence, log_mean_exp, minus_log_likelihood
from tests.pstn.models import labels, model, perturbed, rows, seeded


def posterior(count=5, crops=2, dim=3):
    mean = torch.randn(count, crops, dim, dtype=torch.float64, generator=seeded(0))
    return Posterior(mean, 0.1 + torch.rand(mean.shape, dtype=torch.float64, generator=seeded(1)))


def test_kl_is_that_of_torch():
    given = posterior()
    expected = kl_divergence(Normal(*given), Normal(0.0, 1.0)).sum(dim=(1, 2))
    torch.testing.assert_close(divergence(given), expected)
    assert (expected > 1).all()


def test_kl_by_monte_carlo():
    """The mean of log q(z) - log p(z), within five standard errors."""
    given = posterior(count=2)
    draws = 100_000
    z = given.sample(torch.randn(draws, 2, 2, 3, dtype=torch.float64, generator=seeded(2)))
    ratio = Normal(*given).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    ratio = ratio.sum(dim=(2, 3))
    error = ratio.std(dim=0) / draws**0.5
    assert (error < 0.02).all()
    assert ((divergence(given) - ratio.mean(dim=0)).abs() < 5 * error).all()


def test_the_prior_has_no_kl():
    zero = torch.zeros(2, 1, 4)
    assert torch.equal(divergence(Posterior(zero, zero + 1)), torch.zeros(2))


def test_log_mean_exp_is_the_mean_of_probabilities():
    scores = (30 * torch.randn(7, 4, 3, generator=seeded(0))).log_softmax(dim=-1)
    naive = scores.double().exp().mean(dim=0)
    torch.testing.assert_close(log_mean_exp(scores).double().exp(), naive, rtol=1e-5, atol=1e-9)
    # The mean of the logarithms, which is not it, is far away.
    assert (scores.mean(dim=0).exp() - naive).abs().max() > 0.1
    low = torch.full((2, 1, 2), -2000.0)
    assert torch.equal(log_mean_exp(low), low[0])


def test_hard_labels_are_soft_ones_of_one_class():
    scores = torch.randn(4, 6, 3, generator=seeded(0)).log_softmax(dim=-1)
    hard = torch.tensor([0, 1, 2, 2, 1, 0])
    expected = -torch.stack([scores[:, i, c].mean() for i, c in enumerate(hard.tolist())])
    torch.testing.assert_close(minus_log_likelihood(scores, hard), expected)
    torch.testing.assert_close(minus_log_likelihood(scores, F.one_hot(hard, 3).float()), expected)
    half = torch.full((6, 3), 1 / 3)
    expected = -scores.mean(dim=(0, 2))
    torch.testing.assert_close(minus_log_likelihood(scores, half), expected)


def by_hand(made, x, y, draws):
    """(draws, B): log p(y | x, z) of an affine PSTN, by torch's own affine grids."""
    mean, deviation = made.posterior(x)
    z = mean + deviation * torch.randn(draws, len(x), 1, 4, generator=seeded(7))
    scale = 0.1 * made.family.smooth.float().diagonal()
    angle, log_scale, *shift = (scale * z[:, :, 0]).flatten(0, 1).unbind(-1)
    zero = torch.zeros_like(angle)
    top = [
        torch.stack(row, -1)
        for row in ((log_scale, -angle, shift[0]), (angle, log_scale, shift[1]))
    ]
    square = torch.stack([*top, torch.stack([zero] * 3, -1)], dim=1)
    matrix = torch.linalg.matrix_exp(square)[:, :2].clone()
    matrix[:, :, 2] *= 2  # there a side is 2 long
    every = x[None].expand(draws, *x.shape).flatten(0, 1)
    grid = F.affine_grid(matrix, list(every.shape), align_corners=False)
    seen = F.grid_sample(every, grid, padding_mode="border", align_corners=False)
    scores = made.classifier(seen).log_softmax(dim=-1).view(draws, len(x), -1)
    return scores[:, torch.arange(len(x)), y]


@torch.no_grad()
def test_the_loss_is_minus_the_bound():
    draws = 20_000
    made = perturbed(model(prior_std=0.1, samples=draws))
    with torch.no_grad():
        made.classifier[1].weight *= 10  # so that it matters how an image is moved
    x, y = rows(made.family), labels()
    likelihood = by_hand(made, x, y, draws)
    error = likelihood.std(dim=0).mean() / draws**0.5
    assert 1e-4 < error < 5e-3
    kl = kl_divergence(Normal(*made.posterior(x)), Normal(0.0, 1.0)).sum(dim=(1, 2))
    expected = (kl - likelihood.mean(dim=0)).mean()
    assert (made.loss(x, y, seeded(8)) - expected).abs() < 5 * error
    assert likelihood.std(dim=0).max() > 0.1

    made.kl_weight = 0.25
    assert (made.loss(x, y, seeded(8)) - expected + 0.75 * kl.mean()).abs() < 5 * error
    torch.testing.assert_close(made.kl(x), kl)


def test_the_kl_is_weighed_per_image_whatever_the_batch():
    made = perturbed(model())
    x = rows(made.family)
    torch.testing.assert_close(made.kl(x.repeat(3, 1, 1, 1)), made.kl(x).repeat(3))
    made.classifier[1].weight.data.zero_()
    made.classifier[1].bias.data.zero_()
    one, three = (made.loss(x.repeat(n, 1, 1, 1), labels().repeat(n)) for n in (1, 3))
    torch.testing.assert_close(one, three)
    torch.testing.assert_close(one, torch.tensor(3.0).log() + made.kl(x).mean())


@pytest.mark.parametrize("family", [al.Affine(), al.CPAB((2, 2)), al.CPAB(5)], ids=repr)
def test_kl_pulls_to_the_identity(family):
    """Means to 0 and deviations to the prior's: no motion, never a scale of zero."""
    made = perturbed(model(family), size=1.0)
    x = rows(family)
    begin = made.posterior(x)
    assert begin.mean.abs().max() > 1
    features = made.localiser(x).detach()
    optimizer = torch.optim.Adam(made.heads.parameters(), lr=0.02)
    for _ in range(1000):
        optimizer.zero_grad()
        divergence(made.heads(features)).mean().backward()
        optimizer.step()
    assert made.kl(x).max() < 1e-2
    end = made.posterior(x)
    torch.testing.assert_close(end.mean, torch.zeros_like(end.mean), rtol=0, atol=0.05)
    torch.testing.assert_close(end.deviation, torch.ones_like(end.mean), rtol=0, atol=0.05)
    with torch.no_grad():
        moved = made.move(x, made.start + end.mean[None] @ made.factor.mT)
    torch.testing.assert_close(moved[0, :, 0], x, rtol=0, atol=0.02)


def test_a_deterministic_transformer_pays_no_kl():
    made = perturbed(model(stn=True))
    x, y = rows(made.family), labels()
    assert torch.equal(made.kl(x), torch.zeros(4))
    torch.testing.assert_close(made.loss(x, y), F.cross_entropy(made(x), y))
