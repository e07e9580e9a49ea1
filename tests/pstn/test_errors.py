"""Errors name the argument, the rule, the value and the remedy."""

import pytest
import torch
from torch import nn

import albu_learned as al
import albu_learned.pstn.model
from albu_learned.pstn import diagnose
from tests.pstn.models import FAMILIES, classifier, labels, model, rows

IMAGES, SERIES = FAMILIES["affine"], FAMILIES["cpab-series"]
X, Y = rows(IMAGES), labels()


def made(**arguments):
    return al.PSTN(classifier(IMAGES), **arguments)


def around(body):
    return al.PSTN(body, IMAGES)


def diverged():
    """Means that a matrix exponential cannot take, from which torch's sampler would crash."""
    model = made(example=X)
    with torch.no_grad():
        model.heads.mean.bias.fill_(1e3)
    return model


class Returns(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value


CONSTRUCTION = [
    (lambda: al.PSTN(len), TypeError, r"`classifier` must be an nn.Module.*got <built-in"),
    (lambda: made(family="affine"), TypeError, r"`family` must be a Family.*Affine.*got 'affine'"),
    (lambda: made(prior_std=0), ValueError, r"`prior_std` must be a number > 0.*0.05.*got 0"),
    (lambda: made(prior_std=-1), ValueError, r"`prior_std` must be a number > 0.*got -1"),
    (lambda: made(prior_std=float("nan")), ValueError, r"`prior_std`.*got nan"),
    (lambda: made(prior_std="0.1"), TypeError, r"`prior_std`.*got '0.1' \(str\)"),
    (lambda: made(samples=0), ValueError, r"`samples` must be an integer >= 1, got 0"),
    (lambda: made(samples=1.5), TypeError, r"`samples` must be an integer >= 1, got 1.5"),
    (lambda: made(crops=0), ValueError, r"`crops` must be an integer >= 1, got 0"),
    (lambda: made(crops=True), TypeError, r"`crops`.*got True"),
    (lambda: made(localiser="small"), TypeError, r"`localiser` must be an nn.Module.*'small'"),
    (lambda: made(stn=1), TypeError, r"`stn` must be True or False, got 1"),
    (lambda: made(start=[0.0] * 4), TypeError, r"`start` must be a tensor.*got \[0.0"),
    (
        lambda: made(start=torch.zeros(2, 4)),
        ValueError,
        r"`start` must be floats of the shape \(1, 4\).*\(2, 4\)",
    ),
    (lambda: made(start=torch.full((1, 4), torch.nan)), ValueError, r"`start` must be finite"),
    (lambda: made(example="28"), TypeError, r"`example` must be a batch, or a shape.*'28'"),
    (lambda: made(example=28), TypeError, r"`example` must be.*\(1, 28, 28\), got 28"),
    (
        lambda: made(example=(28, 28)),
        ValueError,
        r"`example` must be images \(B, C, H, W\).*\(28, 28\)",
    ),
    (lambda: made(example=(1, 0, 28)), ValueError, r"`example` must be an integer >= 1.*got 0"),
]
CALLS = [
    (lambda: made().loss(X[0], Y), ValueError, r"`x` must be images.*\(1, 8, 8\).*x\[None\]"),
    (
        lambda: made().loss(rows(SERIES), Y),
        ValueError,
        r"`x` must be images \(B, C, H, W\), which the `family`.*CPAB\(10\)",
    ),
    (
        lambda: al.PSTN(classifier(SERIES), SERIES)(X),
        ValueError,
        r"`x` must be series \(B, C, T\), which the `family`.*\(4, 1, 8, 8\).*Affine\(\)",
    ),
    (lambda: made()(X.numpy()), TypeError, r"`x` must be a tensor, got ndarray.*as_tensor"),
    (lambda: made()(X.byte()), TypeError, r"`x` must be floats, got torch.uint8.*/ 255"),
    (lambda: made()(X[:0]), ValueError, r"`x` must have at least one row.*\(0, 1, 8, 8\)"),
    (lambda: made().loss(X, [0, 1, 2, 0]), TypeError, r"`y` must be a tensor, got list"),
    (
        lambda: made().loss(X, Y[:3]),
        ValueError,
        r"`y` must be class numbers of the shape \(4,\).*\(4, 3\).*\(3,\)",
    ),
    (lambda: made().loss(X, Y.float()), ValueError, r"`y` must be.*torch.float32"),
    (lambda: made().loss(X, torch.rand(4, 5)), ValueError, r"`y` must be.*\(4, 3\).*\(4, 5\)"),
    (lambda: made().loss(X, Y + 1), ValueError, r"`y` must be in 0..2.*got 3"),
    (lambda: made().predict(X, samples=0), ValueError, r"`samples` must be.*>= 1, got 0"),
    (lambda: made().predict(X, chunk=0), ValueError, r"`chunk` must be.*>= 1, got 0"),
    (lambda: made().predict(X, generator=3), TypeError, r"`generator` must be.*got int"),
    (lambda: made().theta(X, samples=0), ValueError, r"`samples` must be.*>= 1, got 0"),
    (
        lambda: around(nn.Identity()).loss(X, Y),
        ValueError,
        r"`classifier` must return logits \(B, K\).*\(4, K\), got torch.float32 of the shape"
        r" \(4, 1, 8, 8\)",
    ),
    (
        lambda: around(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))(X),
        ValueError,
        r"`classifier` must.*K >= 2.*\(4, 1\).*two classes",
    ),
    (lambda: around(Returns((1, 2)))(X), ValueError, r"`classifier` must.*got a tuple"),
    (lambda: around(Returns(torch.zeros(3, 2)))(X), ValueError, r"`classifier`.*\(3, 2\)"),
    (
        lambda: around(Returns(torch.full((4, 3), torch.nan))).loss(X, Y),
        ValueError,
        r"`classifier` must return numbers, got NaN.*learning rate",
    ),
    (
        lambda: around(Returns(torch.full((4, 3), torch.inf))).loss(X, Y),
        ValueError,
        r"`classifier` must return numbers, got NaN or infinity.*learning rate",
    ),
    (
        lambda: around(Returns(torch.full((4, 3), -torch.inf))).loss(X, Y),
        ValueError,
        r"`classifier` must return numbers, got NaN or infinity",
    ),
    (
        lambda: around(Returns(torch.tensor([[0.0, 0.0, -torch.inf]] * 4))).loss(
            X, torch.tensor([[0.5, 0.5, 0.0]] * 4)
        ),
        ValueError,
        r"loss must be a number, got NaN.*infinity",
    ),
    (
        lambda: around(Returns(torch.zeros(4, 3))).loss(X, torch.full((4, 3), 5.0)),
        ValueError,
        r"`y` must be soft labels that are >= 0 and sum to 1",
    ),
    (lambda: made().eval()(X[:0]), ValueError, r"`x` must have at least one row"),
    (lambda: diverged().loss(X, Y), ValueError, r"Motions must stay below 3 sides.*diverged"),
    (lambda: diverged().predict(X), ValueError, r"Motions must stay below 3 sides"),
    (
        lambda: made(localiser=nn.Identity()).loss(X, Y),
        ValueError,
        r"`localiser` must return \(B, features\).*\(4, 1, 8, 8\).*nn.Flatten",
    ),
    (
        lambda: made(localiser=Returns(torch.zeros(3, 5))).loss(X, Y),
        ValueError,
        r"`localiser` must return \(B, features\), here \(4, features\), got.*\(3, 5\)",
    ),
    (
        lambda: made().loss(X * torch.nan, Y),
        ValueError,
        r"`localiser` must lead to finite numbers.*NaN in the images",
    ),
    (lambda: diagnose(nn.Identity(), X), TypeError, r"`model` must be a PSTN, got Identity"),
]


@pytest.mark.parametrize(("make", "error", "message"), CONSTRUCTION + CALLS)
def test_wrong_things_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("value", [-1, float("nan"), "1", None])
def test_a_wrong_weight_of_the_kl_is_refused(value):
    wrong = model()
    wrong.kl_weight = value
    with pytest.raises((ValueError, TypeError), match="`kl_weight` must be"):
        wrong.loss(X, Y)


def test_wild_motions_take_no_more_work_than_strong_ones(monkeypatch):
    paces = []
    real = albu_learned.pstn.model.ThetaField

    def field(family, theta, pace):
        paces.append(pace)
        return real(family, theta, pace)

    monkeypatch.setattr(albu_learned.pstn.model, "ThetaField", field)
    model = al.PSTN(classifier(IMAGES), al.CPAB((4, 4)), example=X)
    model.loss(X, Y)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        model.heads.mean.bias.normal_(0, 20, generator=generator)  # motions of a side
    model.loss(X, Y)
    assert paces[0] == model.pace
    assert model.family.pace(model.theta(X).flatten(0, 2)).rush > 2 * model.most.rush
    assert paces[1] == model.most
    assert model.most.rush == pytest.approx(36 * model.pace.rush)  # .3 of the side is six times .05
