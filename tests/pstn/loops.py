"""Steps of training loops that know no PSTN, and the bound and its gradient by hand."""

import copy

import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence
from torch.nn.modules import module as modules

import albu_learned as al
from tests.pstn.models import labels, model, perturbed, rows, seeded

UNTAKEN = "gradient came back to logits whose KL no loss has taken"


def made(**arguments):
    return perturbed(model(**arguments)).double().train()


def batch(seed=0):
    return rows(al.Affine(), seed=seed).double(), labels()


def by_hand(net, x, y, noise, kl_weight=1.0):
    """Minus the bound with one motion of each row."""
    posterior = net.posterior(x)
    theta = 0.05 * (posterior.mean + posterior.deviation * noise) @ net.family.smooth.mT
    logits = net.classifier(net.move(x, theta[None]).flatten(0, 2))
    kl = kl_divergence(Normal(*posterior), Normal(0.0, 1.0)).sum(dim=(1, 2))
    return F.cross_entropy(logits, y) + kl_weight * kl.mean()


def noise_of(seed, net, count=4):
    return torch.randn(1, count, net.crops, net.family.dim, generator=seeded(seed))[0].double()


def gradients(net):
    return {name: part.grad.clone() for name, part in net.named_parameters()}


def exact(net, x, y, noise, **how):
    net = copy.deepcopy(net)
    by_hand(net, x, y, noise, **how).backward()
    return gradients(net)


def assert_same(found, expected, rtol=1e-6):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=rtol, atol=1e-8, msg=name)


def hooks():
    """How many there are; none, if torch is as fast as it was."""
    count = len(modules._global_forward_hooks) + len(modules._global_forward_pre_hooks)
    any_is_known = getattr(modules, "_has_any_global_hook", lambda: count)
    assert bool(any_is_known()) == (count > 0)
    return count


def trained(wrapped, criterion, x, y, seed=7):
    """One step of a loop; motions come from the global generator."""
    torch.manual_seed(seed)
    loss = criterion(wrapped(x), y)
    loss.backward()
    return loss
