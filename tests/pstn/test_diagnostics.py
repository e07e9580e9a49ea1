"""Figures of models whose posterior is known."""

import math
import warnings

import pytest
import torch

from albu_learned.pstn import diagnose
from tests.pstn.models import CLASSES, FAMILIES, model, perturbed, rows, seeded


def of(family=FAMILIES["affine"], deviation=1.0, mean=0.0, **arguments):
    """A model with the same posterior for every row."""
    made = model(family, **arguments)
    with torch.no_grad():
        made.heads.mean.bias.fill_(mean)
        if made.heads.deviation is not None:
            made.heads.deviation.bias.fill_(math.log(math.expm1(deviation)))
    return made


def figures(made, count=200):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return diagnose(made, rows(made.family, count=count), seeded(0))


@pytest.mark.parametrize("name", ["affine", "cpab", "cpab-series"])
def test_figures_of_a_known_posterior(name):
    family = FAMILIES[name]
    found = figures(of(family, deviation=0.4, mean=0.3, prior_std=0.05, crops=2))
    shape = (2, family.dim)
    torch.testing.assert_close(found.deviation, torch.full(shape, 0.4), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.mean, torch.full(shape, 0.3), rtol=1e-4, atol=1e-5)
    each = 0.5 * (0.3**2 + 0.4**2 - 1) - math.log(0.4)
    torch.testing.assert_close(
        found.kl, torch.full((200,), 2 * family.dim * each), rtol=1e-3, atol=0
    )
    assert found.warning is None
    assert "deviation 0.4 to 0.4" in str(found)


def test_figures_are_means_over_the_images():
    made = perturbed(model(crops=2))
    found = figures(made)
    mean, deviation = (part.detach().double() for part in made.posterior(rows(made.family, 200)))
    torch.testing.assert_close(found.mean.double(), (mean**2).mean(0) ** 0.5)
    torch.testing.assert_close(found.deviation.double(), deviation.mean(0))
    assert (found.mean > mean.mean(0).abs() + 1e-3).any(), "means tell images apart"


def test_it_looks_as_when_it_predicts():
    """A localiser with batch statistics and dropout, in training."""
    layers = [torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten()]
    layers += [torch.nn.LazyLinear(8), torch.nn.Dropout()]
    made = perturbed(model(localiser=torch.nn.Sequential(*layers))).train()
    x, y = rows(made.family, 30), torch.arange(30) % CLASSES
    before = {name: value.clone() for name, value in made.state_dict().items()}
    one, other = (diagnose(made, x, seeded(0), y, warn=False) for _ in range(2))
    assert torch.equal(one.kl, other.kl)
    assert one.moved == other.moved
    assert one.measures == other.measures
    assert all(part.training for part in made.modules())
    for name, value in made.state_dict().items():
        assert torch.equal(value, before[name]), name
    torch.testing.assert_close(one.kl, made.eval().kl(x))


def test_how_far_points_move():
    assert figures(of(deviation=0.5, prior_std=0.08)).moved == pytest.approx(0.04, rel=0.15)
    assert figures(of(deviation=0.5, prior_std=0.02)).moved == pytest.approx(0.01, rel=0.15)
    start = torch.tensor([[0.0, 0.0, 0.25, 0.0]])
    assert figures(of(deviation=0.2, start=start)).moved == pytest.approx(0.25, rel=0.02)
    assert figures(model(stn=True)).moved == 0


@pytest.mark.parametrize("deviation", [0.95, 1.05])
def test_a_posterior_that_is_the_prior_is_told(deviation):
    with pytest.warns(UserWarning, match="posterior of this PSTN is its prior") as caught:
        found = diagnose(of(deviation=deviation), rows(FAMILIES["affine"]))
    assert caught[0].filename == __file__
    assert found.warning == str(caught[0].message)


def test_a_posterior_without_spread_is_told():
    with pytest.warns(UserWarning, match="deterministic transformer"):
        diagnose(of(deviation=0.01, mean=1.0), rows(FAMILIES["affine"]))


def test_what_is_neither_is_not_told():
    assert figures(of(deviation=1.0, mean=0.5)).warning is None, "means tell images apart"
    assert figures(of(deviation=0.3)).warning is None
    assert figures(perturbed(model())).warning is None
    stn = figures(of(stn=True, mean=0.2))
    assert stn.warning is None
    assert not stn.kl.any()
    assert not stn.deviation.any()
    one = of(deviation=1.0)  # all but one latent are as in the prior
    with torch.no_grad():
        one.heads.deviation.bias[2] = math.log(math.expm1(0.1))
    assert figures(one).warning is None
