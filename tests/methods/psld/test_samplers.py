"""Samplers against posteriors that are known: Gaussian latents with a linear decoder."""

import itertools

import pytest
import torch

from albu_learned.methods.psld import operators
from albu_learned.methods.psld.problem import Problem, RowNoise, levels
from albu_learned.methods.psld.samplers import SAMPLERS, blending, decoder_only, psld
from albu_learned.methods.psld.samplers.agree import Agreement
from albu_learned.methods.psld.samplers.psld import psld_step, published_loss, squared_loss
from tests.methods.psld.gaussian import (
    ALPHAS,
    F64,
    GaussianModel,
    distance,
    problem_of,
    seeded,
    smooth,
)

MEAN = 0.3


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def mixing(pixels, latents, seed=0):
    """A decoder in which every pixel depends on every latent."""
    return normal(pixels, latents, seed=seed) / pixels**0.5


def apart(latents, seed=1):
    """A decoder of two pixels for each latent, all of different contrast."""
    decoder = torch.zeros(2 * latents, latents, dtype=F64)
    for i, weights in enumerate(normal(latents, 2, seed=seed)):
        decoder[2 * i : 2 * i + 2, i] = torch.tensor([1.0, 0.5]) + 0.5 * weights
    return decoder


def model_of(covariance, decoder):
    return GaussianModel(torch.full((len(covariance),), MEAN, dtype=F64), covariance, decoder)


def images_of(model, count, seed=5):
    """Latents drawn from the prior (N, n), and their images (N, m)."""
    factor = torch.linalg.cholesky(model.covariance)
    latents = model.mean + normal(count, len(model.mean), seed=seed) @ factor.T
    return latents, latents @ model.decoder.T + 0.5


def drawn(sampler, model, pixels, rows, steps, **settings):
    return sampler(model, problem_of(pixels, rows), seeded(1), steps, **settings)[:, 0, 0]


def far(found, latents):
    """The error of each row, as a share of the latents."""
    return (found - latents).norm(dim=1) / latents.norm(dim=1)


# Where the measurement determines the latents


@pytest.mark.parametrize("guidance", [1, 3])
def test_decoder_only_finds_latents_that_are_determined(guidance):
    model = model_of(smooth(12), mixing(36, 12))
    latents, pixels = images_of(model, 64)
    rows = torch.arange(36)[torch.arange(36) % 3 != 0]
    found = drawn(decoder_only, model, pixels, rows, 50, guidance=guidance)
    assert far(found, latents).max() < 1e-6  # 3 % is what is asked for


def test_decoder_only_finds_what_a_poor_decoder_shows():
    """With directions that hardly change the image, as real decoders have: 1 in 100."""
    left, right = torch.linalg.qr(mixing(90, 30))[0], torch.linalg.qr(normal(30, 30, seed=3))[0]
    decoder = left * torch.logspace(0, -2, 30, dtype=F64) @ right.T
    model = model_of(smooth(30), decoder)
    latents, pixels = images_of(model, 16)
    found = drawn(decoder_only, model, pixels, torch.arange(70), 50)
    assert far(found @ decoder.T, latents @ decoder.T).mean() < 0.03


@pytest.mark.parametrize("steps", [20, 100])
def test_psld_comes_nearer_than_as_published(steps):
    model = model_of(smooth(12), mixing(36, 12))
    latents, pixels = images_of(model, 16)
    rows = torch.arange(36)[torch.arange(36) % 3 != 0]
    ours, theirs = (
        far(drawn(psld, model, pixels, rows, steps, published=how), latents).mean()
        for how in (False, True)
    )
    assert ours < 0.9 * theirs
    assert ours < (0.25 if steps == 20 else 0.1)


@pytest.mark.parametrize(
    "operator",
    [operators.Downsample((1, 36), 2), operators.GaussianBlur((1, 36), 0.7)],
    ids=["downsample", "blur"],
)
def test_decoder_only_solves_other_problems(operator):
    model = model_of(smooth(12), mixing(36, 12))
    latents, pixels = images_of(model, 16)
    found = decoder_only(model, Problem(operator, pixels[:, None, None]), seeded(0), 50)
    assert far(found[:, 0, 0], latents).max() < 0.03


# Where it does not


def independent():
    """Latents 4 to 7 are unknown, of different deviations, and independent of the others."""
    covariance = torch.diag(torch.linspace(0.7, 1.3, 8, dtype=F64) ** 2)
    covariance[:4, :4] = smooth(4)
    model = model_of(covariance, apart(8))
    known = torch.arange(8) < 4
    return model, known


def test_what_is_independent_is_drawn_from_the_prior():
    model, known = independent()
    pixels = images_of(model, 1)[1].expand(20_000, -1)
    rows = known.repeat_interleave(2).nonzero()[:, 0]
    found = drawn(decoder_only, model, pixels, rows, 50, guidance=1, polish=1)[:, ~known]
    assert (found.mean(0) - MEAN).abs().max() < 0.02
    ratio = found.std(0) / model.covariance.diag()[~known].sqrt()
    assert ratio.min() > 0.9
    assert ratio.max() < 1.1
    alike = torch.corrcoef(found.T) - torch.eye(4)
    assert alike.abs().max() < 0.03


COUPLED = {
    "by the prior": lambda: (model_of(smooth(12), apart(12)), 2),
    "by a rough prior": lambda: (model_of(smooth(12, rough=0.5), apart(12)), 2),
    "by the decoder too": lambda: (model_of(smooth(12), mixing(24, 12)), None),
}


def coupled(name):
    model, per_latent = COUPLED[name]()
    if per_latent is None:
        return model, torch.arange(7)
    known = torch.ones(12, dtype=torch.bool)
    known[4:9] = False
    return model, known.repeat_interleave(2).nonzero()[:, 0]


def error(sampler, name, steps, count=1500, **settings):
    """Images whose latents come from the prior, parts of them drawn anew: were each draw from the
    posterior, all latents would come from the prior again. How far they are from that, as a share
    of its deviation."""
    model, rows = coupled(name)
    _, pixels = images_of(model, count)
    found = drawn(sampler, model, pixels, rows, steps, **settings)
    return distance(found, model.mean, model.covariance) / model.covariance.trace().sqrt().item()


@pytest.mark.parametrize("name", COUPLED)
def test_what_is_coupled_comes_nearer_with_more_steps(name):
    errors = [error(decoder_only, name, steps, guidance=2) for steps in (8, 32, 128)]
    assert errors[0] > 1.25 * errors[1]
    assert errors[1] > 1.25 * errors[2]


def pasted(model, problem, draw, steps):
    """What is known, put into what is drawn without it."""
    nothing = Problem(operators.Mask(torch.zeros_like(problem.operator.keep)), problem.original)
    drawn = model.decode(blending(model, nothing, draw, steps))
    return model.encode(torch.where(problem.operator.keep, problem.original, drawn))


@pytest.mark.parametrize("name", ["by the prior", "by a rough prior"])
def test_blending_does_not_and_is_beaten(name):
    baseline = [error(blending, name, steps) for steps in (20, 160)]
    ours = error(decoder_only, name, 20, guidance=2)
    assert baseline[1] > 0.9 * baseline[0]
    assert ours < 0.7 * min(baseline)
    assert max(baseline) < 0.8 * error(pasted, name, 20)


# The step as published


def transcription(model, z, t, s, y_image, keep, omega, gamma, n_y, n_x, n_e, encoder_sd):
    """One step of the published code, written from its formula (pixels run from -1 to 1):

    z0 = (z - sqrt(1 - a_t) eps) / sqrt(a_t);  z' = sqrt(a_s) z0 + sqrt(1 - a_s) eps
    r1 = || n + A x - y ||,  r2 = || E(A^T y + x - A^T A x) - z0 ||,  A^T the identity
    z' - grad(gamma r2 + omega r1)
    """
    a_t, a_s = ALPHAS[t], 1.0 if s is None else ALPHAS[s]
    z = z.clone().requires_grad_(True)
    eps = model.noise(z, t)
    z0 = (z - torch.sqrt(1 - a_t) * eps) / torch.sqrt(a_t)
    nxt = a_s**0.5 * z0 + (1 - a_s) ** 0.5 * eps
    x = 2 * (z0 @ model.decoder.T + 0.5) - 1
    y = keep * (2 * y_image - 1) + 0.05 * n_y
    r1 = ((0.05 * n_x + keep * x - y) ** 2).sum() ** 0.5
    glued = y + x - keep * x
    encoded = ((glued + 1) / 2 - 0.5) @ model.back.T + encoder_sd * n_e
    r2 = ((encoded - z0) ** 2).sum() ** 0.5
    return (nxt - torch.autograd.grad(gamma * r2 + omega * r1, z)[0]).detach()


@pytest.mark.parametrize(("t", "s"), [(900, 880), (500, 100), (40, None)])
def test_with_the_published_errors_a_step_is_the_published_formula(t, s):
    model = model_of(smooth(12), mixing(36, 12))
    model.blur = 0.1
    _, pixels = images_of(model, 3)
    problem = problem_of(pixels, torch.arange(20))
    numbers = {name: normal(3, 1, 1, 36, seed=i) for i, name in enumerate(("n_y", "n_x"))}
    numbers["n_e"] = normal(3, 1, 1, 12, seed=9)
    queue = list(numbers.values())
    latents = normal(3, 1, 1, 12, seed=4)
    loss = published_loss(model, problem, lambda like: queue.pop(0), 1.0, 0.2)
    before, after = ALPHAS[t], torch.tensor(1.0, dtype=F64) if s is None else ALPHAS[s]
    found = psld_step(model, latents, t, before, after, None, loss, None)
    keep = problem.operator.keep.double()
    expected = transcription(
        model, latents, t, s, problem.original, keep, 1.0, 0.2, **numbers, encoder_sd=0.1
    )
    assert not queue
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    mended = squared_loss(model, problem, None, 1.0, 0.2)
    ours = psld_step(model, latents, t, before, after, None, mended, torch.zeros(3, dtype=F64))
    assert (ours - expected).abs().max() > 0.01


def test_the_published_step_cycles_and_ours_ends():
    """Un-squared norms have gradients of one length however near the answer is."""
    model = model_of(torch.eye(12, dtype=F64), mixing(36, 12))
    latents, pixels = images_of(model, 4)
    problem = problem_of(pixels, torch.arange(36))
    clean = latents[:, None, None] + 1e-3 * normal(4, 1, 1, 12)
    at = {"time": 3, "before": ALPHAS[3], "after": torch.tensor(1.0, dtype=F64), "draw": seeded(0)}
    step = {}
    for name, make in (("published", published_loss), ("ours", squared_loss)):
        loss = make(model, problem, lambda like: torch.zeros_like(like), 1.0, 0.2)
        floor = None if name == "published" else torch.zeros(4, dtype=F64)
        moved = psld_step(model, clean, **at, loss=loss, floor=floor)
        step[name] = (moved - latents[:, None, None]).norm(dim=-1).max()
    assert step["ours"] < 5e-3
    assert step["published"] > 0.1


# What all of them keep to


def settled(name):
    return {"decoder-only": {"guidance": 1, "polish": 1}}.get(name, {})


@pytest.mark.parametrize("name", SAMPLERS)
def test_rows_do_not_depend_on_one_another(name):
    model, known = independent()
    _, pixels = images_of(model, 3)
    rows = known.repeat_interleave(2).nonzero()[:, 0]
    seeds = torch.tensor([4, 8, 15])

    def run(which, keep):
        problem = Problem(operators.Mask(keep[which]), pixels[which, None, None])
        return SAMPLERS[name](model, problem, RowNoise(seeds[which]), 5, **settled(name))

    keep = torch.zeros(3, 1, 1, 16, dtype=torch.bool)
    keep[:, ..., rows] = True
    keep[1, ..., :4] = False
    whole = run(torch.arange(3), keep)
    for i in range(3):
        torch.testing.assert_close(run(torch.tensor([i]), keep)[0], whole[i])
    assert not torch.equal(whole[0], whole[2])


@pytest.mark.parametrize("name", SAMPLERS)
def test_tells_how_far_it_is_and_what_it_costs(name):
    model, _ = independent()
    _, pixels = images_of(model, 2)
    problem = problem_of(pixels, torch.arange(10))
    told = []
    SAMPLERS[name](model, problem, seeded(0), 6, progress=lambda *n: told.append(n))
    assert told == [(i + 1, 6) for i in range(6)]
    assert model.calls["noise"] == 6


def test_only_psld_sends_gradients_through_the_network():
    model, _ = independent()
    _, pixels = images_of(model, 2)
    problem = problem_of(pixels, torch.arange(10))
    asked = []
    noise = model.noise

    def watched(latents, time):
        asked.append(latents.requires_grad and torch.is_grad_enabled())
        return noise(latents, time)

    model.noise = watched
    for name, sampler in SAMPLERS.items():
        asked.clear()
        sampler(model, problem, seeded(0), 3)
        assert set(asked) == {name == "psld"}


def test_strength_decides_how_much_of_the_image_stays():
    model, _ = independent()
    latents, pixels = images_of(model, 400)
    rows = torch.arange(0)  # nothing is known
    away = [
        (drawn(decoder_only, model, pixels, rows, 10, strength=s) - latents).square().mean()
        for s in (0.05, 0.3, 1.0)
    ]
    assert away[0] < 0.3 * away[1] < 0.9 * away[2]


def test_levels_go_from_noise_to_none():
    walk = levels(ALPHAS, 50)
    assert [time for time, _, _ in walk][:2] == [999, 979]
    assert walk[-1][2] == 1
    for (_, _, after), (_, before, _) in itertools.pairwise(walk):
        assert after == before
    assert levels(ALPHAS, 10, strength=0.1)[0][0] == 99


def test_agreement_survives_a_decoder_that_is_far_from_linear():
    class Bent(GaussianModel):
        def decode(self, latents):
            return torch.sin(3 * (latents @ self.decoder.T)) / 3 + 0.5

        def encode(self, images, draw=None):
            return self.answer.expand(len(images), 1, 1, -1)

    model = Bent(torch.zeros(6, dtype=F64), torch.eye(6, dtype=F64), mixing(30, 6))
    model.answer = 0.5 * normal(6, seed=2)
    pixels = model.decode(model.answer)
    problem = problem_of(pixels.expand(20, -1), torch.arange(30))
    agreement = Agreement(model, problem)
    start = model.answer + 0.5 * normal(20, 1, 1, 6, seed=3)
    before = problem.misfit(model.decode(start), problem.measurement)
    after = problem.misfit(model.decode(agreement.towards(start, 40)), problem.measurement)
    assert (after < before).all()
    assert (after < 1e-3 * before).float().mean() > 0.6
    assert after.isfinite().all()


def test_agreement_stops_at_what_the_autoencoder_leaves():
    """An image that no latents make: it is not sought by latents that were never seen."""
    model = model_of(torch.eye(6, dtype=F64), mixing(30, 6))
    pixels = 0.5 + normal(5, 30, seed=8) / 5
    problem = problem_of(pixels, torch.arange(30))
    agreement = Agreement(model, problem)
    assert agreement.floor.min() > 0.1
    found = agreement.towards(normal(5, 1, 1, 6), 20)
    left = problem.misfit(model.decode(found), problem.measurement)
    torch.testing.assert_close(left, agreement.floor)


def test_rows_that_agree_are_left_alone():
    model = model_of(torch.eye(6, dtype=F64), mixing(30, 6))
    model.back = 0.8 * model.back  # an encoder that is not the best there could be
    _, pixels = images_of(model, 2)
    problem = problem_of(pixels, torch.arange(30))
    agreement = Agreement(model, problem)
    own = model.encode(problem.original)
    model.calls["decode"] = 0
    assert torch.equal(agreement.towards(own, 20), own)
    assert model.calls["decode"] == 1
    other = torch.cat([own[:1], own[1:] + normal(1, 1, 1, 6)])
    found = agreement.towards(other, 2)
    assert torch.equal(found[0], own[0])
    assert not torch.equal(found[1], other[1])


def test_agreement_goes_beyond_the_autoencoder_if_so_told():
    """An encoder that is not the best leaves more than it would have to."""
    model = model_of(torch.eye(6, dtype=F64), mixing(30, 6))
    model.back = 0.9 * model.back
    _, pixels = images_of(model, 5)
    problem = problem_of(pixels, torch.arange(30))
    agreement = Agreement(model, problem)
    begin = normal(5, 1, 1, 6)
    found = agreement.towards(begin, 20, share=0.5)
    left = problem.misfit(model.decode(found), problem.measurement)
    assert (left <= 0.5 * agreement.floor).all()
    shown = [
        problem.misfit(
            model.decode(decoder_only(model, problem, seeded(0), 10, beyond=share)),
            problem.measurement,
        )
        for share in (1.0, 0.5)
    ]
    assert (shown[0] <= agreement.floor).all()
    assert (shown[1] <= 0.5 * agreement.floor).all()
