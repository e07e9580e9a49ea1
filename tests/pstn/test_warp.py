"""A PSTN's posterior as a warp: the same motions, its marginal, artifacts, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import albu_learned as al
from albu_learned.pstn.motion import theta_of
from tests.pstn.models import FAMILIES, classifier, model, perturbed, rows, seeded

every_family = pytest.mark.parametrize("name", FAMILIES)


def learned(name="affine", size=0.2, **arguments):
    """A PSTN that moves every image in another way."""
    return perturbed(model(FAMILIES[name], **arguments), size)


def thetas(warp, images, seed=0):
    return warp.planned(al.Batch(images=images), seeded(seed))["theta"]


def noise_of(warp, count, seed=0):
    return warp.draw(count, seeded(seed))["z"]


@every_family
def test_it_moves_images_as_the_model_does(name):
    made, images = learned(name), rows(FAMILIES[name])
    warp = made.as_warp()
    with torch.no_grad():
        expected = theta_of(made, made.posterior(images), noise_of(warp, 4)[None, :, None])
        assert torch.equal(thetas(warp, images), expected[0, :, 0])
        moved = made.move(images, expected)[0, :, 0]
    torch.testing.assert_close(warp(images, generator=seeded(0)), moved, rtol=0, atol=2e-3)
    assert (moved - images).abs().max() > 0.02
    assert thetas(warp, images, 1).ne(thetas(warp, images)).all()


def test_scale_multiplies_the_noise_alone():
    made, images = learned(), rows(FAMILIES["affine"])
    once, twice = (thetas(made.as_warp(scale=scale), images) for scale in (1.0, 2.0))
    with torch.no_grad():
        middle = made.posterior(images).mean[:, 0] @ made.factor.mT
    torch.testing.assert_close(twice - middle, 2 * (once - middle))
    assert (once - middle).abs().max() > 1e-3


@every_family
def test_the_marginal_is_the_gaussian_of_all_posteriors(name):
    """Against the moments of so many draws from the posteriors."""
    start = 0.01 * torch.randn(1, FAMILIES[name].dim, generator=seeded(1))
    made = learned(name, size=1.0, start=start)
    images = rows(FAMILIES[name], count=20)
    warp = made.as_warp(marginal=images)
    assert warp.needs == frozenset()
    with torch.no_grad():
        drawn = made.theta(images, 4000, seeded(2)).flatten(0, 2)
        own = warp.plan(al.Batch(), warp.draw(80_000, seeded(3)))["theta"]
    back = torch.linalg.inv(made.factor)  # in units of the prior all latents are alike
    drawn, own = ((theta - made.start[0]) @ back.mT for theta in (drawn, own))
    torch.testing.assert_close(own.mean(0), drawn.mean(0), rtol=0, atol=0.03)
    torch.testing.assert_close(own.T.cov(), drawn.T.cov(), rtol=0.03, atol=0.08)
    apart = drawn.T.cov() - drawn.T.cov().diag().diag()
    assert apart.abs().max() > 0.12  # means that go together must come out together


def test_marginals_of_a_model_that_learned_nothing_are_half_of_its_prior():
    made = model(FAMILIES["both"])
    warp = made.as_warp(marginal=rows(made.family))
    torch.testing.assert_close(warp.factor, 0.5 * made.factor, rtol=0, atol=1e-6)
    assert warp.start.abs().max() < 1e-6


def test_each_crop_is_a_warp():
    start = torch.tensor([[0.0, 0.0, 0.1, 0.0], [0.0, 0.0, 0.0, 0.2]])
    made, images = learned(crops=2, start=start), rows(FAMILIES["affine"])
    with pytest.raises(ValueError, match=r"`crop` must say which of the 2 crops"):
        made.as_warp()
    with pytest.raises(ValueError, match=r"`crop` must be in 0..1, .* got 2"):
        made.as_warp(crop=2)
    for crop in range(2):
        warp = made.as_warp(crop=crop)
        z = torch.zeros(1, 4, 2, 4)
        z[0, :, crop] = noise_of(warp, 4)
        with torch.no_grad():
            expected = theta_of(made, made.posterior(images), z)[0, :, crop]
        torch.testing.assert_close(thetas(warp, images), expected)


def test_it_knows_how_images_were_normalised():
    made, images = learned(channels=3), rows(FAMILIES["affine"], channels=3)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    warp = made.as_warp(mean=mean, std=std)
    shape = (3, 1, 1)
    seen = (images - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    torch.testing.assert_close(thetas(warp, images), thetas(made.as_warp(), seen))
    coarse = (images * 255).round().to(torch.uint8)
    torch.testing.assert_close(thetas(warp, coarse), thetas(warp, coarse.float() / 255))
    one = made.as_warp(marginal=images, mean=0.5, std=0.2)
    same = made.as_warp(marginal=((images - 0.5) / 0.2).double().mul(0.2).add(0.5).float(),
                        mean=[0.5] * 3, std=[0.2] * 3)  # fmt: skip
    torch.testing.assert_close(one.factor, same.factor, rtol=0, atol=1e-5)


def test_images_of_another_size_are_resized_for_the_look_alone():
    made = learned(example=(1, 8, 8))
    large = rows(FAMILIES["affine"], side=20)
    reference = np.stack(
        [Image.fromarray(image[0].numpy()).resize((8, 8), Image.BILINEAR) for image in large]
    )
    small = torch.from_numpy(reference)[:, None]
    warp = made.as_warp((1, 8, 8))
    torch.testing.assert_close(thetas(warp, large), thetas(warp, small), rtol=0, atol=1e-5)
    assert warp(large).shape == large.shape
    assert not torch.allclose(thetas(made.as_warp(), large), thetas(warp, large), atol=1e-4)
    whole, part = (made.as_warp((1, 8, 8), marginal=images) for images in (large, small))
    torch.testing.assert_close(whole.factor, part.factor, rtol=0, atol=1e-5)
    series = learned("affine-series").as_warp((1, 8))
    assert series(rows(FAMILIES["affine-series"], side=30)).shape == (4, 1, 30)


def test_channels_must_be_those_of_the_training():
    made = learned(channels=1)
    images = torch.rand(2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"must have 1 channel, .* got 3. .*marginal"):
        made.as_warp()(images)
    assert made.as_warp(marginal=images[:, :1])(images).shape == images.shape
    with pytest.raises(ValueError, match="`images` must have 1 channel"):
        made.as_warp(marginal=images)


@pytest.mark.parametrize("form", ["looks", "marginal"])
@pytest.mark.parametrize("stn", [False, True])
@pytest.mark.parametrize("name", ["both", "cpab-series"])
def test_an_artifact_gives_the_same_bits(name, stn, form, tmp_path):
    family = FAMILIES[name]
    made, images = learned(name, stn=stn), rows(family)
    how = {"example": (1, *[6] * family.ndim), "mean": 0.4, "std": [0.5]}
    how |= {"marginal": images} if form == "marginal" else {}
    warp = made.as_warp(**how, padding="zeros", box="ellipse", min_visible=0.3)
    warp.save_pretrained(tmp_path)
    state = torch.random.get_rng_state()
    loaded = al.load(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(loaded(images, generator=seeded(0)), warp(images, generator=seeded(0)))
    assert loaded.pace == warp.pace
    assert loaded.about == warp.about
    assert (loaded.padding, loaded.box, loaded.min_visible) == ("zeros", "ellipse", 0.3)
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_an_artifact_is_read_strictly(tmp_path):
    learned().as_warp().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["arguments"]["look"]["arguments"]["channels"] = 3
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"must hold `look.localiser.layers.0.weight` as"):
        al.load(tmp_path)
    config["arguments"]["look"] = None
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="must have exactly the tensors"):
        al.load(tmp_path)


def custom(**arguments):
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 5), nn.BatchNorm1d(5))
    made = al.PSTN(classifier(al.Affine()), localiser=net, example=(1, 8, 8), **arguments)
    return perturbed(made, 0.2)


def test_a_localiser_of_one_s_own_works_live_and_is_saved_as_a_marginal(tmp_path):
    made, images = custom().train(), rows(al.Affine())
    before = {name: value.clone() for name, value in made.state_dict().items()}
    warp = made.as_warp(images).train()  # which dropout and batch statistics do not heed
    expected, z = thetas(warp, images), noise_of(warp, 4)
    assert torch.equal(thetas(warp, images), expected)
    alone = warp.plan(al.Batch(images=images[:1]), {"z": z[:1]})["theta"]
    torch.testing.assert_close(alone, expected[:1])
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert made.training
    with pytest.raises(TypeError, match=r"`localiser` must be the default one .*marginal=images"):
        warp.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []
    made.as_warp(marginal=images).save_pretrained(tmp_path)
    assert al.load(tmp_path)(images).shape == images.shape


def test_a_warp_is_a_copy():
    made, images = learned(), rows(FAMILIES["affine"])
    warp = made.as_warp()
    expected = thetas(warp, images)
    perturbed(made)
    with torch.no_grad():
        made.factor.mul_(2)
        next(made.localiser.parameters()).mul_(2)
    assert torch.equal(thetas(warp, images), expected)


def test_a_deterministic_transformer_moves_each_image_in_one_way():
    made, images = learned(stn=True), rows(FAMILIES["affine"])
    warp = made.as_warp()
    assert torch.equal(thetas(warp, images, 0), thetas(warp, images, 1))
    assert not torch.allclose(thetas(warp, images)[0], thetas(warp, images)[1], atol=1e-4)
    with pytest.raises(ValueError, match="`scale` must be left out for a deterministic"):
        made.as_warp(scale=0.5)
    several = made.as_warp(marginal=rows(FAMILIES["affine"], count=30))
    assert not torch.equal(thetas(several, images, 0), thetas(several, images, 1))


def test_gradients_reach_images_through_the_look():
    warp = learned().as_warp().double()
    images = rows(FAMILIES["affine"], count=2).double().requires_grad_()
    z = {"z": noise_of(warp, 2).double()}
    assert torch.autograd.gradcheck(lambda x: warp.plan(al.Batch(images=x), z)["theta"], images)


def test_it_tells_what_was_learned():
    made, images = learned(), rows(FAMILIES["affine"], count=40)
    about = made.as_warp(images).about
    assert (about.image_size, about.channels) == ([8, 8], 1)
    with torch.no_grad():
        posterior, kl = made.posterior(images), made.kl(images)
        theta = made.theta(images, 20, seeded(0)).flatten(0, 2)
    figures = about.figures
    spread = posterior.deviation.mean(0)
    assert figures["posterior deviation, least"] == pytest.approx(float(spread.min()), rel=1e-5)
    assert figures["posterior deviation, most"] == pytest.approx(float(spread.max()), rel=1e-5)
    assert figures["KL, nats"] == pytest.approx(float(kl.mean()), rel=1e-5)
    x, y = torch.rand(2, 1, 500, 1, generator=seeded(1))
    points = torch.cat([x, y], dim=-1)
    moved = (made.family.transform(theta, points) - points).square().sum(-1).mean().sqrt()
    assert figures["rms displacement"] == pytest.approx(float(moved), rel=0.15)
    told = made.as_warp(marginal=images).summary()
    assert told.startswith("It looks at no image. Measured on 40 images of 8 x 8 pixels")
    assert "was not measured" in made.as_warp().summary()
    assert made.as_warp().about.channels == 1


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"marginal": "images"}, TypeError, "`marginal` must be a tensor of images, got str"),
        ({"marginal": torch.rand(8, 8)}, ValueError, r"`marginal` must be images \(B, C, H, W\)"),
        ({"marginal": torch.rand(0, 1, 8, 8)}, ValueError, "at least one"),
        ({"marginal": torch.zeros(2, 1, 8, 8).long()}, ValueError, "or uint8, got torch.int64"),
        ({"marginal": torch.randn(9, 1, 8, 8)}, ValueError, r"in \[0, 1\] as warps see images"),
        ({"example": torch.rand(2, 1, 8)}, ValueError, "`example` must be images"),
        ({"example": (1, 8)}, ValueError, "`example` must be images"),
        ({"mean": 0.5}, TypeError, "`std` must be a number"),
        ({"mean": (0.5, 0.5), "std": 1}, ValueError, "`mean` must be a number, or 1"),
        ({"mean": 0.5, "std": 0}, ValueError, "`std` must be numbers > 0"),
        ({"crop": 1}, ValueError, r"`crop` must be in 0..0"),
        ({"scale": 0}, ValueError, r"`scale` must be in \(0, 10\]"),
        ({"padding": "none"}, ValueError, "`padding` must be one of"),
        ({"box": "round"}, ValueError, "`box` must be one of"),
    ],
)
def test_mistakes_are_named(arguments, error, words):
    with pytest.raises(error, match=words):
        learned().as_warp(**arguments)


def test_one_that_never_saw_an_image_is_refused():
    with pytest.raises(ValueError, match="must have seen images"):
        al.PSTN(nn.Flatten()).as_warp()
    with pytest.raises(ValueError, match=r"needs images .*marginal=images"):
        learned().as_warp()(al.Batch(boxes=torch.rand(1, 2, 4).sort(-1)[0]))
    with pytest.raises(ValueError, match="`look` must find the 4 latents"):
        al.PosteriorWarp(al.Affine(), learned("cpab").as_warp().look)
    with pytest.raises(TypeError, match="`look` must be a Look"):
        al.PosteriorWarp(al.Affine(), nn.Flatten())
