"""What a PSTN has learned, in Kornia: every target, gradients, replay, and the core's pictures."""

import kornia.augmentation as K
import pytest
import torch

import albu_learned as al
from albu_learned.kornia import PosteriorWarp
from tests.cases import posterior_warp as made
from tests.cases import some_images
from tests.kornia.extra import noise_of, ours
from tests.kornia.scenes import CENTRES, KEYS, follow, scene

both = pytest.mark.parametrize("form", ["looks", "marginal"])


@both
def test_masks_boxes_and_points_move_together(form):
    torch.manual_seed(0)
    augment = ours(PosteriorWarp(made(form), min_visible=0, p=1.0), keys=KEYS)
    images, mask, boxes, points = augment(*scene())
    assert (points - CENTRES).abs().max() > 2
    follow(mask, boxes, points)
    back = augment.inverse(images, mask, boxes, points)
    assert (back[3] - CENTRES).abs().max() < 0.05
    torch.testing.assert_close(augment(*scene(), params=augment._params)[3], points)


@both
def test_the_same_noise_gives_the_core_s_picture(form, tmp_path):
    core, images = made(form), some_images()
    core.save_pretrained(tmp_path)
    augment = ours(PosteriorWarp(tmp_path, p=1.0), keys=["input"])
    out = augment(images)
    plan = core.plan(al.Batch(images=images), noise_of(augment._params[0].data))
    torch.testing.assert_close(out, core.apply(al.Batch(images=images), plan).images)
    assert (out - images).abs().max() > 0.1


@both
def test_gradients_reach_images_through_the_warp_and_its_look(form):
    core, images = made(form), some_images().requires_grad_()
    augment = ours(PosteriorWarp(core, p=1.0), keys=["input"])
    augment(images).square().sum().backward()
    noise = noise_of(augment._params[0].data)
    again = images.detach().clone().requires_grad_()
    batch = al.Batch(images=again)
    core.apply(batch, core.plan(batch, noise)).images.square().sum().backward()
    torch.testing.assert_close(images.grad, again.grad)
    given, images.grad = images.grad, None
    augment(images, params=augment._params).square().sum().backward()  # a replay plans anew
    torch.testing.assert_close(images.grad, given)


def test_what_shows_no_images_points_to_the_marginal():
    images = some_images()
    with pytest.raises(RuntimeError, match=r"LearnedAugmentationSequential .*marginal=images"):
        K.AugmentationSequential(PosteriorWarp(made("looks"), p=1.0), data_keys=["input"])(images)
    moved = K.AugmentationSequential(PosteriorWarp(made("marginal"), p=1.0))(images)
    assert moved.shape == images.shape


def test_images_that_are_normalised_are_refused_where_they_are_looked_at():
    images, normal = some_images(), K.Normalize(0.45, 0.22)
    augment = ours(normal, PosteriorWarp(made("looks"), p=1.0), keys=["input"])
    with pytest.raises(ValueError, match=r"in \[0, 1\] for PosteriorWarp, .* before K.Normalize"):
        augment(images)
    ours(normal, PosteriorWarp(made("marginal"), p=1.0), keys=["input"])(images)


def test_its_arguments_replace_those_of_the_artifact(tmp_path):
    made("looks", scale=2.0).save_pretrained(tmp_path)
    told = PosteriorWarp(tmp_path, scale=0.5, padding="zeros", box="ellipse", min_visible=0.3)
    method = told.method
    assert (method.scale, method.padding, method.box, method.min_visible) == (
        0.5,
        "zeros",
        "ellipse",
        0.3,
    )
    assert PosteriorWarp(tmp_path).method.scale == 2.0
    with pytest.raises(TypeError, match="must be a PosteriorWarp"):
        PosteriorWarp(al.ThetaWarp())
