"""What a PSTN has learned, in Albumentations: looking at the picture, and as a marginal."""

import albumentations as A
import numpy as np
import pytest
import torch

import albu_learned as al
from albu_learned.albumentations import PosteriorWarp
from albu_learned.albumentations.record import from_record, generator_from
from tests.albumentations.cases import picture, save, smooth
from tests.albumentations.scenes import boxes_follow, composed, given, points_follow, scene
from tests.cases import posterior_warp as made

both = pytest.mark.parametrize("form", ["looks", "marginal"])


@both
def test_mask_boxes_and_points_move_together(form, tmp_path):
    transform = composed(PosteriorWarp(save(made(form), tmp_path), min_visible=0.0, p=1))
    transform.set_random_seed(0)
    farthest = 0
    for _ in range(3):
        out = transform(**given(scene()))
        assert list(out["names"]) == ["first", "second"]
        boxes_follow(out)
        farthest = max(farthest, points_follow(out))
    assert farthest > 4


@both
def test_the_same_noise_gives_the_core_s_picture(form):
    core, image = made(form), smooth(96, 120)
    transform = PosteriorWarp(core, pool=0, p=1)
    kept = transform.sample({"image": image}, np.random.default_rng(5))
    rows = torch.from_numpy(image).permute(2, 0, 1)[None]
    batch = al.Batch(images=rows)
    plan = core.plan(core.readable(batch), core.draw(1, generator_from(np.random.default_rng(5))))
    torch.testing.assert_close(from_record(kept["plan"])["theta"], plan["theta"])
    expected = core.apply(batch, plan).images[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(expected - transform.apply(image, **kept)).max() <= 2
    assert np.abs(expected - image).max() > 10


def test_the_picture_decides():
    transform = PosteriorWarp(made("looks"), p=1)
    first, other = (
        transform.sample({"image": image}, np.random.default_rng(0))["plan"]
        for image in (smooth(), picture())
    )
    assert first != other
    assert transform._pool is None


def test_a_marginal_has_a_pool():
    transform = PosteriorWarp(made("marginal"), pool=6, p=1)
    rng = np.random.default_rng(0)
    plans = [transform.sample({"image": picture()}, rng)["plan"] for _ in range(40)]
    assert len({plan["pool"]["row"] for plan in plans}) == 6
    exact = PosteriorWarp(made("marginal"), pool=0, p=1)
    image = smooth(64, 64)
    moved = transform.apply(image, plan=plans[0]).astype(int)
    assert np.abs(moved - exact.apply(image, plan=plans[0])).max() <= 6
    assert np.abs(moved - image).max() > 10


@both
def test_a_pipeline_is_saved_and_replayed(form, tmp_path):
    folder = save(made(form), tmp_path / "warp")
    scalars = {
        "method": folder,
        "scale": 0.5,
        "padding": "zeros",
        "box": "ellipse",
        "min_visible": 0.25,
        "pool": 12,
        "p": 0.75,
    }
    saved = A.to_dict(PosteriorWarp(**scalars))["transform"]
    name = "albu_learned.albumentations.PosteriorWarp"
    assert saved == {"__class_fullname__": name, **scalars}
    again = A.from_dict(A.to_dict(PosteriorWarp(**scalars)))._live
    assert (again.scale, again.padding, again.box, again.min_visible) == (
        0.5,
        "zeros",
        "ellipse",
        0.25,
    )
    replay = A.ReplayCompose([PosteriorWarp(folder, p=1)])
    out = replay(image=picture())
    assert np.array_equal(
        A.ReplayCompose.replay(out["replay"], image=picture())["image"], out["image"]
    )


def test_mistakes_are_named(tmp_path):
    folder = save(made("looks"), tmp_path / "warp")
    with pytest.raises(ValueError, match='`box` must be "outline" or "ellipse"'):
        PosteriorWarp(folder, box="mask")
    with pytest.raises(ValueError, match="must have 3 channels"):
        PosteriorWarp(folder, p=1)(image=picture(channels=1))
    with pytest.raises(TypeError, match="but PosteriorWarp was asked for"):
        PosteriorWarp(save(al.ThetaWarp(), tmp_path / "theta"))
    with pytest.raises(TypeError, match="live PosteriorWarp"):
        A.to_dict(PosteriorWarp(made("looks")))
