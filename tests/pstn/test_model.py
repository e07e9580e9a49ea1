"""The model: where it starts, what it draws, what it returns, how it is kept."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import albu_learned as al
from tests.pstn.models import (
    CLASSES,
    FAMILIES,
    classifier,
    labels,
    model,
    perturbed,
    rows,
    seeded,
    still,
)

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


class Counted(nn.Module):
    """Counts how many rows it was asked for."""

    def __init__(self, body):
        super().__init__()
        self.body = body
        self.calls = []

    def forward(self, x):
        self.calls.append(len(x))
        return self.body(x)


@every_family
def test_it_starts_as_the_bare_classifier(family):
    made, x = model(family), rows(family)
    bare = made.classifier(x)
    posterior = made.posterior(x)
    assert posterior.mean.shape == (4, 1, family.dim)
    assert torch.equal(posterior.mean, torch.zeros_like(posterior.mean))
    torch.testing.assert_close(posterior.deviation, torch.full_like(posterior.mean, 0.5))
    assert (made(x) - bare).abs().mean() < 0.3 * bare.std()
    torch.testing.assert_close(still(made)(x), bare, rtol=0, atol=2e-5)


@every_family
def test_without_noise_predictions_are_the_classifiers_too(family):
    made, x = still(model(family)), rows(family)
    expected = made.classifier(x).log_softmax(dim=1)
    torch.testing.assert_close(made.predict(x), expected.exp(), rtol=0, atol=2e-5)
    torch.testing.assert_close(made.eval()(x), expected, rtol=0, atol=2e-5)


@every_family
def test_gradcheck_from_theta_to_pixels(family):
    """In float64, on the lattice that images are moved by."""
    made = model(family).double()
    x = rows(family, count=2, side=6).double().requires_grad_()
    z = torch.randn(2, 2, 1, family.dim, dtype=torch.float64, generator=seeded(1))
    theta = (0.05 * z @ family.smooth).requires_grad_()
    moved = made.move(x, theta)
    assert moved.shape == (2, 2, 1, *x.shape[1:])
    assert (moved[0, :, 0] - x).abs().max() > 0.01
    assert torch.autograd.gradcheck(made.move, (x, theta), eps=1e-7, atol=1e-5, fast_mode=True)


@every_family
@pytest.mark.parametrize("stn", [True, False])
def test_everything_learns_from_the_first_step_on(family, stn):
    """At the identity, too, where every velocity is zero."""
    made = model(family, stn=stn)
    made.loss(rows(family), labels(), seeded(0)).backward()
    for name in ("mean", "deviation"):
        head = getattr(made.heads, name)
        if head is not None:
            assert head.weight.grad.isfinite().all()
            assert head.weight.grad.abs().max() > 1e-5
    made = perturbed(made)
    made.zero_grad()
    made.loss(rows(family), labels(), seeded(0)).backward()
    grads = [p.grad for p in made.parameters()]
    assert all(g.isfinite().all() and g.any() for g in grads)


@every_family
@torch.no_grad()
def test_the_images_move_by_the_prior(family):
    """A posterior that is the prior moves points by prior_std."""
    made = model(family, prior_std=0.03)
    made.heads.deviation.bias.fill_(torch.tensor(1.0).expm1().log())
    theta = made.theta(rows(family), samples=500, generator=seeded(0))
    assert theta.shape == (500, 4, 1, family.dim)
    points = torch.rand(2000, 20, family.ndim, generator=seeded(1))
    way = family.transform(theta.flatten(0, 2), points) - points
    assert way.square().sum(dim=-1).mean().sqrt() == pytest.approx(0.03, rel=0.1)


def test_borders_are_continued():
    made = model(prior_std=0.3)
    x = torch.ones(2, 1, 8, 8)
    moved = made.move(x, made.theta(x, 5, seeded(0)))
    torch.testing.assert_close(moved, torch.ones(5, 2, 1, 1, 8, 8))


def test_samples_share_the_localiser_and_go_through_the_classifier_at_once():
    made = perturbed(model(samples=5))
    made.localiser, made.classifier = Counted(made.localiser), Counted(made.classifier)
    x = rows(made.family)
    made.loss(x, labels(), seeded(0))
    assert made.localiser.calls == [4]
    assert made.classifier.calls == [20]
    made(x)
    assert made.classifier.calls == [20, 4], "one motion of each image where a host has its loss"
    made.predict(x, samples=7)
    assert made.localiser.calls == [4, 4, 4]
    assert made.classifier.calls == [20, 4, 28]


def test_predictions_are_the_mean_of_probabilities():
    made, x = perturbed(model(prior_std=0.1)), rows(FAMILIES["affine"])
    found, spread = made.predict(x, samples=6, generator=seeded(0), return_spread=True)
    theta = made.theta(x, 6, seeded(0))
    each = torch.stack([made.classifier(seen[:, 0]).softmax(1) for seen in made.move(x, theta)])
    torch.testing.assert_close(found, each.double().mean(0).float())
    torch.testing.assert_close(spread, each.double().std(0, correction=0).float())
    assert (spread > 1e-3).all()
    assert not found.requires_grad
    torch.testing.assert_close(found.sum(1), torch.ones(4))
    _, none = made.predict(x, samples=1, return_spread=True)
    assert torch.equal(none, torch.zeros(4, CLASSES))


@pytest.mark.parametrize("chunk", [1, 4, 9, 30])
def test_chunks_bound_the_memory_and_change_nothing(chunk):
    for crops in (1, 2):
        made = perturbed(model(FAMILIES["cpab"], crops=crops))
        x = rows(made.family, count=5)
        expected = made.predict(x, samples=6, generator=seeded(0), return_spread=True)
        made.classifier = Counted(made.classifier)
        found = made.predict(x, samples=6, generator=seeded(0), return_spread=True, chunk=chunk)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=2e-3)
        assert max(made.classifier.calls) <= chunk
        assert sum(made.classifier.calls) == 30


def test_evaluation_is_the_same_from_call_to_call_and_in_any_batch():
    made, x = perturbed(model(FAMILIES["cpab"], prior_std=0.1)).eval(), rows(FAMILIES["cpab"])
    scores = made(x)
    assert torch.equal(made(x), scores)
    torch.testing.assert_close(made(x[2:3]), scores[2:3], rtol=0, atol=2e-3)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(4))
    twin = model(FAMILIES["cpab"], prior_std=0.1, seed=8).eval()
    twin.load_state_dict(made.state_dict())
    assert torch.equal(twin(x), scores)
    # Over many draws it is what is predicted; it is not one draw.
    assert (scores.exp() - made.predict(x, samples=400, generator=seeded(0))).abs().max() < 0.1
    made.train()
    assert not torch.equal(made(x), made(x))


@pytest.mark.parametrize("name", ["cpab", "both"])
def test_an_image_moves_as_it_would_alone(name):
    """Whichever others are beside it, as long as they move as in the prior."""
    made = model(FAMILIES[name], prior_std=0.1)
    x = rows(made.family)
    z = torch.randn(1, 4, 1, made.family.dim, generator=seeded(0))
    theta = torch.tensor([0.1, 0.3, 1.0, 0.5]).view(4, 1, 1) * z @ made.factor.mT
    together = made.move(x, theta)
    for i in range(4):
        alone = made.move(x[i : i + 1], theta[:, i : i + 1])
        torch.testing.assert_close(together[:, i : i + 1], alone, rtol=0, atol=1e-5)


def test_a_posterior_never_loses_its_logarithm():
    made = still(model())
    x = rows(made.family)
    assert made.kl(x).isfinite().all()
    assert (made.kl(x) > 10).all()


def test_predict_leaves_modes_as_they_were():
    made = model()
    made.classifier = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(1), made.classifier)
    made.classifier[1].eval()
    x = rows(made.family)
    a, b = (made.predict(x, generator=seeded(0)) for _ in range(2))
    assert torch.equal(a, b), "no dropout"
    assert made.training
    assert made.classifier[0].training
    assert not made.classifier[1].training
    with pytest.raises(ValueError, match="`x`"):
        made.predict(x[0])
    assert made.training


def test_noise_is_the_generators():
    made, x = model(), rows(FAMILIES["affine"])
    torch.manual_seed(0)
    state = torch.get_rng_state()
    a, b, c = (made.loss(x, labels(), seeded(s)) for s in (0, 0, 1))
    made.predict(x, generator=seeded(0))
    assert torch.equal(torch.get_rng_state(), state)
    assert a == b
    assert a != c
    assert made.loss(x, labels()) != made.loss(x, labels())


def test_the_deterministic_transformer():
    made = perturbed(model(stn=True), size=2.0)
    x = rows(made.family)
    scores = made(x)
    assert torch.equal(made(x), scores)
    assert made.heads.deviation is None
    theta = made.theta(x, samples=9)
    assert theta.shape == (1, 4, 1, 4), "they would all be alike"
    torch.testing.assert_close(theta[0], made.posterior(x).mean @ made.factor.mT)
    torch.testing.assert_close(scores, made.classifier(made.move(x, theta)[0, :, 0]))
    assert (scores - made.classifier(x)).abs().max() > 0.01
    found, spread = made.predict(x, samples=9, return_spread=True)
    torch.testing.assert_close(found, scores.softmax(1))
    assert torch.equal(spread, torch.zeros_like(found))
    torch.testing.assert_close(made.eval()(x), scores.log_softmax(1))
    torch.testing.assert_close(made.loss(x, labels()), F.cross_entropy(scores, labels()))


def test_crops_are_channels_and_start_where_they_are_told():
    """Two crops of half of the side, of the left and the right part."""
    family = al.Affine()
    half = torch.tensor(0.5).log()
    # A matrix exponential scales what it shifts by.
    shift = 0.25 * half / (half.exp() - 1)
    start = torch.stack([torch.stack([0 * half, half, way * shift, 0 * half]) for way in (-1, 1)])
    made = still(model(family, crops=2, channels=2, start=start, prior_std=0.2))
    x = rows(family, channels=2)
    posterior = made.posterior(x)
    assert posterior.mean.shape == (4, 2, 4)
    seen = made.move(x, made.theta(x))[0]
    assert seen.shape == (4, 2, 2, 8, 8)
    for crop, left in ((0, 0), (1, 4)):
        part = F.interpolate(x[:, :, 2:6, left : left + 4], (8, 8), mode="bilinear")
        torch.testing.assert_close(seen[:, crop, :, 1:-1, 1:-1], part[..., 1:-1, 1:-1])
    torch.testing.assert_close(made(x), made.classifier(seen.flatten(1, 2)), rtol=0, atol=1e-4)
    first, second = seen.flatten(1, 2).chunk(2, dim=1)
    assert torch.equal(first, seen[:, 0])
    assert torch.equal(second, seen[:, 1])
    # The KL draws them there, and not to the whole image.
    with torch.no_grad():
        made.heads.deviation.bias.fill_(torch.tensor(1.0).expm1().log())
    torch.testing.assert_close(made.kl(x), torch.zeros(4), rtol=0, atol=1e-5)


def test_crops_move_apart():
    made = perturbed(model(crops=3))
    theta = made.theta(rows(made.family), generator=seeded(0))
    assert theta.shape == (1, 4, 3, 4)
    assert not torch.isclose(theta[:, :, 0], theta[:, :, 1]).any()


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 9, 30), (3, 100, 70), (2, 5), (1, 700)])
def test_any_size_and_channels(shape):
    family = FAMILIES["affine" if len(shape) == 3 else "cpab-series"]
    pool = nn.AdaptiveAvgPool2d(2) if family.ndim == 2 else nn.AdaptiveAvgPool1d(4)
    body = nn.Sequential(pool, nn.Flatten(), nn.Linear(4 * shape[0], CLASSES))
    made = al.PSTN(body, family)
    x = torch.rand(4, *shape)
    made.loss(x, labels()).backward()
    assert made.predict(x).shape == (4, CLASSES)


def test_of_large_images_a_small_one_is_looked_at():
    sizes = {}
    for name, shape in (("affine", (200, 30)), ("cpab-series", (5000,))):
        made = model(FAMILIES[name])
        first = made.localiser.layers[0]
        first.register_forward_hook(lambda _, given, __, name=name: sizes.update({name: given[0]}))
        x = torch.rand(2, 1, *shape, generator=seeded(0))
        made.posterior(x)
    assert sizes["affine"].shape[2:] == (64, 30)
    assert sizes["cpab-series"].shape[2:] == (256,)
    torch.testing.assert_close(sizes["cpab-series"].mean(), x.mean(), rtol=0, atol=2e-3)


def test_an_optimizer_made_before_the_first_batch_holds_everything():
    family = FAMILIES["affine"]
    made = al.PSTN(classifier(family), family)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for _ in range(2):
        optimizer.zero_grad()
        made.loss(rows(family), labels(), seeded(0)).backward()
        before = {name: p.detach().clone() for name, p in made.named_parameters()}
        optimizer.step()
    assert {id(p) for p in made.parameters()} == held
    assert all(not torch.equal(before[name], p) for name, p in made.named_parameters())


def test_an_example_gives_sizes_at_once():
    family = FAMILIES["affine"]
    lazy = al.PSTN(classifier(family), family)
    with pytest.raises(ValueError, match="uninitialized parameter"):
        sum(p.numel() for p in lazy.parameters())
    counts = []
    for example in (rows(family), (1, 8, 8), [4, 1, 8, 8], torch.Size([1, 8, 8])):
        made = al.PSTN(classifier(family), family, example=example)
        counts.append(sum(p.numel() for p in made.parameters()))
        assert made.training
    assert len(set(counts)) == 1
    made.loss(rows(family), labels())
    assert sum(p.numel() for p in made.parameters()) == counts[0]


def test_a_localiser_of_ones_own():
    family = FAMILIES["affine"]
    own = nn.Sequential(nn.Flatten(), nn.LazyLinear(6), nn.BatchNorm1d(6), nn.Tanh())
    made = al.PSTN(classifier(family), family, localiser=own, example=rows(family))
    assert made.heads.mean.in_features == 6
    assert torch.equal(own[2].running_mean, torch.zeros(6)), "an example is no training"
    assert made.loss(rows(family), labels()).isfinite()


def test_copies_and_states():
    for lazy in (True, False):
        made = model(crops=2, **({"example": None} if lazy else {}))
        x = rows(made.family)
        made.loss(x, labels()).backward()
        perturbed(made).eval()
        other = model(crops=2, seed=9, example=None)
        other.load_state_dict(copy.deepcopy(made.state_dict()))
        for twin in (other, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert torch.equal(twin.eval()(x), made(x))


def test_weights_of_another_prior_are_refused():
    made = model(prior_std=0.1)
    with pytest.raises(RuntimeError, match=r"`family` and `prior_std` must.*0\.5 times as strong"):
        made.load_state_dict(model(prior_std=0.05).state_dict())
    with pytest.raises(RuntimeError, match="size mismatch"):
        made.load_state_dict(model(FAMILIES["cpab"]).state_dict())
    made.half().load_state_dict(model(prior_std=0.1).state_dict())


def test_a_first_look_in_inference_mode_leaves_it_trainable():
    made = al.PSTN(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)))
    x = rows(made.family)
    with torch.inference_mode():
        made.predict(x)
    made.loss(x, labels(), seeded(0)).backward()
    assert all(part.grad is not None for part in made.parameters())


def test_other_channels_are_refused():
    made = al.PSTN(torch.nn.Flatten(), example=(3, 8, 8))
    with pytest.raises(ValueError, match=r"`x` must have 3 channels.*got 1"):
        made.posterior(torch.rand(2, 1, 8, 8))


def test_mixed_precision():
    made = perturbed(model())
    x = rows(made.family)
    expected = made.loss(x, labels(), seeded(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made.loss(x, labels(), seeded(0))
        posterior = made.posterior(x)
        theta = made.theta(x, generator=seeded(0))
    assert found.dtype == theta.dtype == torch.float32
    z = posterior.sample(torch.randn(1, 4, 1, 4, generator=seeded(0)))
    torch.testing.assert_close(theta, z @ made.factor.mT, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    found.backward()
    half = made.to(torch.bfloat16).loss(x.bfloat16(), labels(), seeded(0))
    torch.testing.assert_close(half, expected, rtol=0.05, atol=0.05)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@every_family
def test_cuda_gives_what_the_cpu_gives(family):
    made, x = perturbed(model(family)), rows(family)
    expected = made.loss(x, labels(), seeded(0)).item()
    there = copy.deepcopy(made).cuda()
    found = there.loss(x.cuda(), labels().cuda(), seeded(0))
    assert found.item() == pytest.approx(expected, rel=1e-3)
    torch.testing.assert_close(
        there.predict(x.cuda(), generator=seeded(0)).cpu(),
        made.predict(x, generator=seeded(0)),
        rtol=0,
        atol=1e-3,
    )


@pytest.fixture
def _doubles():
    """As where somebody has torch make doubles."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_doubles")
@pytest.mark.parametrize("family", ["affine", "both"])
def test_it_learns_and_is_kept_where_torch_makes_doubles(family, tmp_path):
    made, x = model(FAMILIES[family]), rows(FAMILIES[family])
    optimizer = torch.optim.SGD(made.parameters(), 0.1)
    made.loss(x, labels()).backward()
    optimizer.step()
    F.cross_entropy(made.eval()(x), labels())
    assert made.predict(x).dtype == torch.float64
    found = al.PSTN.tune(
        lambda std: model(FAMILIES[family], prior_std=std), rows(FAMILIES[family], 8), labels(8),
        [0.05], steps=1, progress=False,
    )  # fmt: skip
    assert found.prior_std == 0.05
    for name, how in {"looks": {"example": x}, "marginal": {"marginal": x}}.items():
        warp = made.as_warp(**how)
        moved = warp(x, generator=seeded(0))
        warp.save_pretrained(tmp_path / name)
        again = al.load(tmp_path / name)
        assert torch.equal(again(x, generator=seeded(0)), moved)
        assert {tensor.dtype for tensor in again.state_dict().values()} == {torch.float32}
