"""The KL in the losses of loops that are not written for it, against the bound made by hand."""

import copy
import threading
import warnings
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from albu_learned.pstn import join
from albu_learned.pstn.joined import _NAMED
from tests.pstn.loops import (
    UNTAKEN,
    assert_same,
    batch,
    by_hand,
    exact,
    gradients,
    hooks,
    made,
    noise_of,
    trained,
)
from tests.pstn.models import CLASSES, labels

SECOND = "its logits were given to a second"
pytestmark = pytest.mark.usefixtures("no_hooks_left")


def test_a_loss_has_the_kl():
    net, (x, y) = made(), batch()
    loss = trained(net, nn.CrossEntropyLoss(), x, y)
    assert hooks() == 0, "gone once the gradient has passed"
    expected = by_hand(net, x, y, noise_of(7, net))
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    assert_same(gradients(net), exact(net, x, y, noise_of(7, net)))
    assert (net.kl(x) > 1).all()


class Smoothed(nn.Module):
    """A loss of two terms, one of which is a module, and not with a weight of 1."""

    def __init__(self):
        super().__init__()
        self.hard = nn.CrossEntropyLoss()

    def forward(self, logits, y):
        return 0.9 * self.hard(logits, y) + 0.1 * F.cross_entropy(logits, torch.zeros_like(y))


class Splits(nn.Module):
    """Called without hooks, as the loss of timm for several splits of a batch is."""

    def __init__(self):
        super().__init__()
        self.first = nn.CrossEntropyLoss()

    def __call__(self, logits, y):
        clean, other = logits.chunk(2)
        loss = self.first(clean, y[: len(clean)])
        return loss + clean.softmax(1).sub(other.softmax(1)).square().mean()


def soft(y):
    return F.one_hot(y, CLASSES).double()


LOSSES = {
    "module": nn.CrossEntropyLoss(),
    "soft targets": lambda z, y: nn.CrossEntropyLoss()(z, soft(y)),
    "by name": lambda z, y: nn.CrossEntropyLoss()(input=z, target=y),
    "weighted": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]).double()),
    "binary": lambda z, y: nn.BCEWithLogitsLoss()(z, soft(y)),
    "two layers": lambda z, y: nn.NLLLoss()(nn.LogSoftmax(dim=1)(z), y),
    "nested": Smoothed(),
    "splits": Splits(),
    "cast": lambda z, y: nn.CrossEntropyLoss()(z.half().float(), y).double(),
    "views": lambda z, y: nn.CrossEntropyLoss()(z[:, None, :].squeeze(1), y),
    "temperature": lambda z, y: nn.CrossEntropyLoss()((z + 1) / 2, y),
    "two ways": lambda z, y: nn.CrossEntropyLoss()(3 * z - 2 * z, y),
    "in place": lambda z, y: nn.CrossEntropyLoss()(z.div_(2), y),
    "in a list": lambda z, y: Listed()([z], y),
    "of each row": lambda z, y: nn.CrossEntropyLoss(reduction="none")(z, y).mean(),
}


class Around(nn.Module):
    def forward(self, logits, y):
        return nn.CrossEntropyLoss()(logits, y)


class Listed(nn.Module):
    def forward(self, logits, y):
        return F.cross_entropy(logits[0], y)


if _NAMED:
    LOSSES["by name around a module"] = lambda z, y: Around()(logits=z, y=y)
else:
    del LOSSES["by name"]


@pytest.mark.parametrize("name", LOSSES)
def test_it_joins_whatever_loss_once(name):
    net, (x, y) = made(), batch()
    torch.manual_seed(7)
    plain = made()
    plain.kl_weight = 0
    expected = LOSSES[name](plain(x), y) + net.kl(x).mean()
    torch.testing.assert_close(trained(net, LOSSES[name], x, y), expected, rtol=1e-6, atol=0)


def test_a_sum_has_the_sum():
    net, (x, y) = made(), batch()
    loss = trained(net, nn.CrossEntropyLoss(reduction="sum"), x, y)
    torch.testing.assert_close(loss, 4 * by_hand(net, x, y, noise_of(7, net)), rtol=1e-6, atol=0)


def test_a_loss_of_each_row_has_the_kl_of_each_row():
    net, (x, y) = made(), batch()
    torch.manual_seed(7)
    loss = nn.CrossEntropyLoss(reduction="none")(net(x), y)
    one = [by_hand(net, x[i : i + 1], y[i : i + 1], noise_of(7, net)[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(loss, torch.stack(one), rtol=1e-6, atol=0)
    loss.mean().backward()


def test_it_has_the_weight_of_the_model():
    net, (x, y) = made(), batch()
    net.kl_weight = 0.3
    trained(net, nn.CrossEntropyLoss(), x, y)
    assert_same(gradients(net), exact(net, x, y, noise_of(7, net), kl_weight=0.3))


@pytest.mark.parametrize("loss", [F.cross_entropy, lambda z, y: z.sum()])
def test_untaken_it_raises(loss):
    net, (x, y) = made(), batch()
    with pytest.raises(RuntimeError, match=UNTAKEN) as caught:
        loss(net(x), y).backward()
    assert all(word in str(caught.value) for word in ("module", "join(loss, logits)", "kl_weight"))
    assert all(part.grad is None for part in net.classifier.parameters())


class Whole(nn.Module):
    """Returns what is no loss."""

    def forward(self, logits, y):
        return {"loss": nn.CrossEntropyLoss()(logits, y)}


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, y: nn.BCEWithLogitsLoss(reduction="none")(z, soft(y)).sum(),
        lambda z, y: Whole()(z, y)["loss"],
        lambda z, y: nn.CrossEntropyLoss()(nn.Linear(CLASSES, 3).double()(z).detach(), y) + z.sum(),
    ],
)
def test_what_is_no_loss_of_the_logits_does_not_take_it(loss):
    net, (x, y) = made(), batch()
    with pytest.raises(RuntimeError, match=UNTAKEN):
        loss(net(x), y).backward()


def test_a_function_s_loss_is_joined_by_hand():
    net, (x, y) = made(), batch()
    trained(net, lambda z, y: join(F.cross_entropy(z, y), z), x, y)
    assert_same(gradients(net), exact(net, x, y, noise_of(7, net)))
    trained(net, lambda z, y: join(F.cross_entropy(z, y, reduction="none"), z).mean(), x, y)
    logits = net.eval()(x)
    loss = F.cross_entropy(logits, y)
    assert join(loss, logits) is loss, "nothing is owed"


@pytest.mark.parametrize("loss", [None, 0.5, torch.tensor(0.5), torch.zeros(3).requires_grad_()])
def test_only_a_loss_can_be_joined(loss):
    net, (x, _) = made(), batch()
    with pytest.raises(ValueError, match="`loss` must be a mean over the rows"):
        join(loss, net(x))


def test_of_two_losses_the_second_raises():
    net, (x, y) = made(), batch()
    criterion = nn.CrossEntropyLoss()
    logits = net(x)
    first = 0.3 * criterion(logits, y)
    with pytest.raises(RuntimeError, match=SECOND):
        criterion(logits, y.flip(0))
    with pytest.raises(RuntimeError, match=SECOND):
        join(F.cross_entropy(logits, y), logits)
    with torch.no_grad():
        shown = criterion(logits, y)
    torch.testing.assert_close(first, 0.3 * (shown + net.kl(x).mean()))
    torch.testing.assert_close(criterion(logits.detach(), y), shown)


def test_what_is_shown_first_takes_nothing():
    net, (x, y) = made(), batch()
    logits = net(x)
    with torch.no_grad():
        shown = nn.CrossEntropyLoss()(logits, y)
    assert nn.Flatten()(logits) is not None
    loss = nn.CrossEntropyLoss()(logits, y)
    torch.testing.assert_close(loss, shown + net.kl(x).mean())
    loss.backward()


class Penalty(nn.Module):
    def forward(self, logits):
        return logits.square().mean()


@pytest.mark.parametrize("first", [True, False])
def test_a_penalty_without_targets_is_not_the_loss(first):
    net, (x, y) = made(), batch()
    terms = [lambda z: 0.1 * Penalty()(z), lambda z: nn.CrossEntropyLoss()(z, y)]
    loss = trained(net, lambda z, y: sum(each(z) for each in terms[:: 1 if first else -1]), x, y)
    plain = made()
    plain.kl_weight = 0
    torch.manual_seed(7)
    logits = plain(x)
    expected = F.cross_entropy(logits, y) + 0.1 * logits.square().mean() + net.kl(x).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_several_forwards_before_a_loss():
    net, (x, y) = made(), batch()
    torch.manual_seed(7)
    parts = [net(x), net(x.flip(-1))]
    nn.CrossEntropyLoss()(torch.cat(parts), y.repeat(2)).backward()
    torch.manual_seed(7)
    noise = torch.randn(2, 4, 1, net.family.dim).double().flatten(0, 1)
    assert_same(gradients(net), exact(net, torch.cat([x, x.flip(-1)]), y.repeat(2), noise))
    net.zero_grad()
    first, second = net(x), net(x)
    (nn.CrossEntropyLoss()(second, y) + nn.CrossEntropyLoss()(first, y)).backward()
    other, dropped = made(), net(x)
    loss = trained(other, nn.CrossEntropyLoss(), x, y)
    torch.testing.assert_close(loss, by_hand(other, x, y, noise_of(7, other)), rtol=1e-6, atol=0)
    assert dropped.requires_grad


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_what_several_models_owe_is_added_up(reduction):
    (one, other), (x, y) = (made(), made()), batch()
    with torch.no_grad():
        other.heads.mean.bias.add_(0.5)
    logits = (one(x) + other(x)) / 2
    criterion = nn.CrossEntropyLoss(reduction=reduction)
    total = criterion(logits, y)
    with torch.no_grad():
        kl = one.kl(x) + other.kl(x)
        kl = kl.mean() if reduction == "mean" else kl.sum() if reduction == "sum" else kl
        torch.testing.assert_close(total, criterion(logits, y) + kl)
    total.sum().backward()


def test_replicas_of_a_model_are_one_and_copies_are_others():
    net, (x, y) = made(), batch()
    twin = copy.copy(net)  # as nn.DataParallel makes replicas
    logits = torch.cat([net(x), twin(x)])
    total = nn.CrossEntropyLoss()(logits, y.repeat(2))
    with torch.no_grad():
        wanted = F.cross_entropy(logits, y.repeat(2)) + net.kl(x).mean()
        torch.testing.assert_close(total, wanted)
    total.backward()
    assert copy.deepcopy(net).debtor is not net.debtor


def test_trainings_in_threads_do_not_disturb_each_other():
    errors = []

    def train():
        try:
            net, (x, y) = made(), batch()
            for _ in range(30):
                nn.CrossEntropyLoss()(net(x), y).backward()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_evaluation_and_forwards_without_gradients_owe_nothing():
    net, (x, y) = made(), batch()
    with torch.no_grad():
        logits = net(x)
        torch.testing.assert_close(nn.CrossEntropyLoss()(logits, y), F.cross_entropy(logits, y))
    F.cross_entropy(net.eval()(x), y).backward()
    stn = made(stn=True)
    F.cross_entropy(stn(x), y).backward()
    net.train().kl_weight = 0
    F.cross_entropy(net(x), y).backward()
    for part in net.train().parameters():
        part.requires_grad_(False)
    F.cross_entropy(net(x), y)
    assert hooks() == 0


def test_nothing_is_kept():
    net, (x, _) = made(), batch()
    logits = net(x)
    assert copy.deepcopy(net)(x).shape == logits.shape
    due = weakref.ref(logits.grad_fn.due)
    assert hooks() == 2
    loss = nn.CrossEntropyLoss()(logits, labels())
    assert not due().rows.requires_grad, "the loss has the graph of the KL alone"
    del logits
    assert due() is not None, "a second loss would still be noticed"
    del loss
    assert due() is None


class Interrupted(nn.Module):
    def forward(self, logits, y):
        raise KeyboardInterrupt


class Wrong(nn.Module):
    def forward(self, logits, y):
        raise ValueError("wrong")


@pytest.mark.parametrize("loss", [Interrupted(), Wrong()])
def test_a_loss_that_failed_is_forgotten(loss):
    net, (x, y) = made(), batch()
    kept = net(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((KeyboardInterrupt, ValueError)):
            loss(kept, y)
    if isinstance(loss, Wrong):  # and another is tried
        torch.testing.assert_close(
            nn.CrossEntropyLoss()(kept, y), F.cross_entropy(kept, y) + net.kl(x).mean()
        )
    trained(net, nn.CrossEntropyLoss(), x, y)
    assert_same(gradients(net), exact(net, x, y, noise_of(7, net)))


class Half(nn.Module):
    """A weight and a sum, of which the module itself says nothing."""

    def __init__(self, reduction="mean"):
        super().__init__()
        self.inner = nn.CrossEntropyLoss(reduction=reduction)

    def forward(self, a, b):
        return 0.5 * self.inner(a, b)


def added(net, x, y, loss, plain):
    """What a loss has over the one without the KL, in means of the KL."""
    torch.manual_seed(7)
    logits = net(x)
    total = loss(logits, y)
    total.backward()
    with torch.no_grad():
        return float((total - plain(logits.detach(), y)) / net.kl(x).mean())


class Distilled(nn.Module):
    """A mean that is made of a sum."""

    def __init__(self):
        super().__init__()
        self.inner = nn.KLDivLoss(reduction="sum")

    def forward(self, a, b):
        return self.inner(a.log_softmax(1), F.one_hot(b, CLASSES).to(a)) / len(a)


def test_a_module_says_whether_its_loss_is_a_sum():
    net, (x, y) = made(), batch()
    for reduction, expected in (("mean", 1), ("sum", len(x))):
        loss = nn.CrossEntropyLoss(reduction=reduction)
        assert added(net, x, y, loss, loss) == pytest.approx(expected)
    for loss in (Distilled(), Half("sum")):
        name = type(loss.inner).__name__
        with pytest.raises(RuntimeError, match=f"in {type(loss).__name__} {name} is a sum.*mean"):
            loss(net(x), y)
        loss.reduction = "sum" if isinstance(loss, Half) else "mean"
        expected = len(x) if isinstance(loss, Half) else 1
        assert added(net, x, y, loss, loss) == pytest.approx(expected)
    loss = Half("mean")
    assert added(net, x, y, loss, loss) == pytest.approx(1)


def test_sums_are_joined_by_hand():
    net, (x, y) = made(), batch()

    def joined(logits, y):
        return join(F.cross_entropy(logits, y, reduction="sum"), logits, "sum")

    def plain(logits, y):
        return F.cross_entropy(logits, y, reduction="sum")

    assert added(net, x, y, joined, plain) == pytest.approx(len(x))
    logits = net(x)
    loss = F.cross_entropy(logits, y)
    with pytest.raises(ValueError, match="`reduction` must be one of"):
        join(loss, logits, "none")
    join(loss, logits).backward()


@pytest.mark.skipif(not _NAMED, reason="this torch does not tell what was given by name")
def test_a_module_that_is_given_logits_by_name_around_another_is_refused():
    net, (x, y) = made(), batch()
    for call in (lambda z: Half()(a=z, b=y), lambda z: Half()(z, b=y)):
        logits = net(x)
        with pytest.raises(
            RuntimeError, match=r"called as loss\(logits, targets\).*Half was given"
        ):
            call(logits)
    trained(net, nn.CrossEntropyLoss(), x, y)


def test_what_is_done_to_a_loss_afterwards_owes_nothing():
    class Weighted(nn.Module):
        def forward(self, loss, factor):
            return factor * loss

    net, (x, y) = made(), batch()
    twice = trained(net, lambda z, y: Weighted()(nn.CrossEntropyLoss()(z, y), 2.0), x, y)
    torch.testing.assert_close(twice, 2 * trained(net, nn.CrossEntropyLoss(), x, y))


def test_a_loss_that_is_nan_is_named():
    class Broken(nn.Module):
        def forward(self, logits, y):
            return logits.sum() * torch.nan

    net, (x, y) = made(), batch()
    with pytest.raises(ValueError, match=r"The loss must be a number, got NaN.*learning rate"):
        Broken()(net(x), y)
    trained(net, nn.CrossEntropyLoss(), x, y)
