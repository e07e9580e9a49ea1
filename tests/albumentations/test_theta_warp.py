"""ThetaWarp by name: boxes, points and masks agree, and the pool says the same as the exact way."""

import json
import pickle

import albumentations as A
import numpy as np
import pytest
import torch

import albu_learned as al
from albu_learned import remap
from albu_learned.albumentations import ThetaWarp, WarpTransform
from albu_learned.albumentations.record import from_record, generator_from
from albu_learned.remap import Motion, move_boxes, move_image
from tests.albumentations.cases import X, picture, smooth
from tests.albumentations.scenes import (
    CENTRES,
    SIZE,
    boxes_follow,
    composed,
    given,
    points_follow,
    scene,
)
from tests.toys import FreeShift, ShiftField


@pytest.mark.parametrize("pool", [0, 32])
def test_points_and_boxes_land_where_the_mask_does(pool):
    transform = composed(ThetaWarp(std=0.04, pool=pool, min_visible=0.0, p=1))
    transform.set_random_seed(0)
    farthest = 0
    for _ in range(6):
        out = transform(**given(scene()))
        farthest = max(farthest, points_follow(out))
        if len(out["names"]) == 2:
            boxes_follow(out)
    assert farthest > 5


def test_a_theta_of_zero_moves_nothing():
    core = al.ThetaWarp(min_visible=0.5)
    motion = Motion(core.field(core.identity(1)), core.padding, core.box, core.min_visible)
    image = picture(SIZE, SIZE)
    assert np.array_equal(move_image(image, motion), image)
    before = np.array([[0.1, 0.2, 0.3, 0.4, 7], [0, 0, 1, 1, 8]], np.float32)
    assert np.allclose(move_boxes(before, motion), before, atol=1e-6)
    turned = np.array([[0.1, 0.2, 0.3, 0.4, -80, 7], [0.4, 0.4, 0.7, 0.5, 30, 8]], np.float32)
    same = remap.move_oriented(turned, motion, (SIZE, 2 * SIZE))
    assert np.allclose(same, turned, atol=1e-3)


@pytest.mark.parametrize("pool", [0, 8])
def test_a_box_moved_out_of_the_frame_is_dropped(pool, monkeypatch):
    core = al.ThetaWarp(al.Affine(), min_visible=0.5)
    transform = ThetaWarp(pool=pool, p=1)
    transform._live = core
    if pool:
        transform._pool.method = core
    theta = torch.tensor([[0.0, 0.0, 0.5, 0.0]])  # sampled further to the right
    draw = {"z": torch.zeros(pool or 1, 4)}
    monkeypatch.setattr(core, "draw", lambda *_, **__: draw)
    monkeypatch.setattr(core, "plan", lambda batch, noise: {"theta": theta.expand(pool or 1, 4)})
    bboxes = np.array([[10, 10, 60, 60], [100, 10, 140, 60], [150, 10, 250, 90]], np.float32)
    out = composed(transform)(**{**given(scene()), "bboxes": bboxes, "names": list("abc")})
    assert list(out["names"]) == ["c"]  # a is gone, and of b less than a third is left
    assert np.allclose(np.asarray(out["bboxes"])[0, :4], [22, 10, 122, 90], atol=0.1)


@pytest.mark.parametrize("box", ["outline", "ellipse"])
def test_the_box_option_is_respected(box):
    core = al.ThetaWarp(std=0.1, box=box, min_visible=0)
    plan = core.plan(al.Batch(), core.draw(1, torch.Generator().manual_seed(3)))
    fractions = torch.tensor([[[0.3, 0.3, 0.6, 0.7]]])
    expected = core.apply(al.Batch(boxes=fractions), plan).boxes.values.numpy()
    motion = Motion(core.field(plan), "border", core.box, core.min_visible)
    table = np.array([[0.3, 0.3, 0.6, 0.7, 5]], np.float32)
    assert np.allclose(move_boxes(table, motion), [[*expected[0], 5]], atol=1e-5)


def test_an_ellipse_grows_less():
    def area(box):
        transform = composed(ThetaWarp(std=0.06, box=box, pool=0, p=1))
        transform.set_random_seed(5)
        x1, y1, x2, y2 = np.asarray(transform(**given(scene()))["bboxes"])[0, :4]
        return (x2 - x1) * (y2 - y1)

    assert area("ellipse") < 0.97 * area("outline")


def test_box_mask_is_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match='`box` must be "outline" or "ellipse" for ThetaWarp'):
        ThetaWarp(box="mask")
    al.ThetaWarp(box="mask").save_pretrained(tmp_path)
    stored = ThetaWarp(tmp_path, pool=4, p=1)
    assert stored(image=picture())["image"].shape == (32, 40, 3)
    with pytest.raises(ValueError, match="needs the mask of every object"):
        stored(image=picture(), bboxes=np.array([[0.1, 0.1, 0.5, 0.5]], np.float32))
    ThetaWarp(tmp_path, box="outline", pool=4, p=1)(
        image=picture(), bboxes=np.array([[0.1, 0.1, 0.5, 0.5]], np.float32)
    )


def test_without_a_pool_the_same_noise_gives_the_core_s_picture():
    transform = ThetaWarp(std=0.05, pool=0, p=1)
    core = al.ThetaWarp(std=0.05)
    image = smooth(96, 120)
    kept = transform.sample({"image": image}, np.random.default_rng(5))
    noise = core.draw(1, generator_from(np.random.default_rng(5)))
    plan = core.plan(al.Batch(), noise)
    assert torch.equal(from_record(kept["plan"])["theta"], plan["theta"])
    rows = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = core.apply(al.Batch(images=rows), plan).images[0].permute(1, 2, 0).numpy()
    difference = np.abs(expected.astype(int) - transform.apply(image, **kept))
    assert difference.max() <= 2
    assert np.abs(expected.astype(int) - image).max() > 30


@pytest.mark.parametrize("size", [(256, 256), (224, 224), (300, 301), (480, 641), (33, 50), (5, 7)])
def test_the_fast_map_is_the_field_s_grid(size):
    core = al.ThetaWarp(std=0.05)
    for seed in range(4):
        noise = core.draw(1, torch.Generator().manual_seed(seed))
        field = core.field(core.plan(al.Batch(), noise))
        exact = field.grid(size, torch.empty(0))[0].numpy() * np.array(size[::-1])
        fast = Motion(field, "border").centres(size) + 0.5
        assert np.abs(exact - fast).max() < 0.05


def test_the_pool_is_the_exact_motion_within_its_error():
    pooled = ThetaWarp(std=0.05, pool=24, p=1)
    core, pool = pooled._live, pooled._pool
    table = np.random.default_rng(0).uniform(0, 255, (200, 2))
    for row in range(0, 24, 5):
        exact = core.field(pool.plan(row, 0))
        near, far = Motion(pool.field(row, 0), "border"), Motion(exact, "border")
        wanted = exact.points_back(torch.from_numpy((table[None] + 0.5) / 256).float())
        shown = near.centres((256, 256))
        x, y = (table + 0.5).astype(int).T
        there = torch.from_numpy(np.stack([x, y], 1)[None] + 0.5).float() / 256
        wanted = exact.points_back(there)[0].numpy() * 256 - 0.5
        assert np.abs(shown[y, x] - wanted).max() < 0.3
        moved = remap.move_points(table, near, (256, 256))
        assert np.abs(moved - remap.move_points(table, far, (256, 256))).max() < 0.75
        outside = np.array([[-3.0, 20], [30, 30]])  # goes the exact way
        moved = remap.move_points(outside, near, (256, 256))
        assert np.allclose(moved, remap.move_points(outside, far, (256, 256)), atol=1e-4)


@pytest.mark.parametrize("side", [20, 48, 90])
def test_small_pictures_are_of_the_pool_too(side):
    transform = ThetaWarp(std=0.05, pool=4, p=1)
    exact = transform._live.field(transform._pool.plan(3, 0)).grid((side, side), torch.empty(0))
    near = transform._pool.field(3, 0).grid((side, side), torch.empty(0))
    assert not torch.equal(near, exact)
    assert (near - exact).abs().max() * side < 0.1


@pytest.mark.parametrize("pool", [0, 8])
def test_points_that_wait_for_the_boxes_go_where_they_would_alone(pool):
    transform = ThetaWarp(std=0.05, pool=pool, p=1)
    plan = transform.sample({"image": picture()}, np.random.default_rng(2))["plan"]
    motion = transform._motion(plan)
    bboxes = np.array([[0.1, 0.2, 0.5, 0.6, 7], [0.4, 0.4, 0.9, 0.8, 8]], np.float32)
    table = np.array([[5, 9, 0, 0, 0], [31, 20, 0, 0, 0], [39, 31, 0, 0, 0]], np.float32)
    around, moved = remap.move_boxes_and_points(bboxes, table, motion, (32, 40))
    assert np.allclose(around, move_boxes(bboxes, motion), atol=1e-6)
    assert np.allclose(moved, remap.move_points(table, motion, (32, 40)), atol=1e-4)
    assert np.abs(moved - table).max() > 0.5
    for some in (bboxes, bboxes[:0]):
        for others in (table, table[:0]):
            around, moved = remap.move_boxes_and_points(some, others, motion, (32, 40))
            assert (len(around), len(moved)) == (len(some), len(others))


def test_the_order_of_targets_does_not_matter():
    both = composed(ThetaWarp(std=0.05, pool=8, p=1))
    first, *others = (
        (both.set_random_seed(3), both(**{key: given(scene())[key] for key in keys}))[1]
        for keys in (
            ("image", "bboxes", "names", "keypoints"),
            ("keypoints", "names", "bboxes", "image"),
            ("image", "keypoints", "bboxes", "names"),
        )
    )
    for other in others:
        assert np.allclose(first["bboxes"], other["bboxes"], atol=1e-3)
        assert np.allclose(first["keypoints"], other["keypoints"], atol=1e-3)
    assert np.abs(np.asarray(first["keypoints"])[:, :2] - CENTRES).max() > 1


@pytest.mark.parametrize("padding", ["border", "zeros", "reflection"])
def test_three_channels_of_bytes_move_as_one_does(padding):
    core = al.ThetaWarp(std=0.1, padding=padding)
    field = core.field(core.plan(al.Batch(), core.draw(1, torch.Generator().manual_seed(1))))
    motion, image = Motion(field, padding), picture(70, 80)[::-1, ::-1]
    apart = [move_image(image[..., channel], motion) for channel in range(3)]
    moved = move_image(image, motion)
    assert moved.flags.c_contiguous
    assert np.abs(moved.astype(int) - np.stack(apart, axis=-1)).max() <= 6  # of OpenCV's rounding


def test_a_pool_is_the_same_in_every_process_and_order():
    one, other = ThetaWarp(pool=40, p=1), pickle.loads(pickle.dumps(ThetaWarp(pool=40, p=1)))
    for row in (39, 0, 17):
        one._pool.lattice(row, 0, False)
    for row in (0, 17, 39):
        assert torch.equal(one._pool.lattice(row, 0, False), other._pool.lattice(row, 0, False))
    drawn = {one.sample({"image": picture()}, np.random.default_rng(i))["plan"]["pool"]["row"]
             for i in range(60)}  # fmt: skip
    assert len(drawn) > 20
    assert max(drawn) < 40


def test_a_replay_of_another_pool_goes_the_exact_way():
    kept = ThetaWarp(std=0.08, pool=40, p=1).sample({"image": picture()}, np.random.default_rng(1))
    image = smooth(64, 64)
    for transform in (ThetaWarp(pool=0), ThetaWarp(pool=4), ThetaWarp(std=0.02, pool=40)):
        again = json.loads(json.dumps(kept["plan"]))
        expected = ThetaWarp(std=0.08, pool=0).apply(image, plan=again).astype(int)
        assert np.abs(transform.apply(image, plan=again) - expected).max() <= 6
        assert np.abs(expected - image).max() > 20


def test_classes_have_pools_of_their_own_and_go_by_name(tmp_path):
    method = al.ThetaWarp(al.Affine(), std=0.05, distributions=2)
    with torch.no_grad():
        method.factor[0] = 0
        method.factor[1] = torch.diag(torch.tensor([0.0, 0.0, 1.0, 0.0]))
    method.about = al.About(classes=["still", "moving"])
    method.save_pretrained(tmp_path)
    image = smooth(64, 64)
    for pool in (0, 16):
        transform = A.Compose(
            [ThetaWarp(tmp_path, pool=pool, label_key="kind", classes=["moving", "still"], p=1)],
            seed=1,
        )
        assert np.array_equal(transform(image=image, kind=1)["image"], image)
        assert not np.array_equal(transform(image=image, kind=0)["image"], image)
        with pytest.raises(ValueError, match="must be given 'kind'"):
            transform(image=image)
    pooled = A.Compose([ThetaWarp(pool=4, p=1)])
    assert pooled(image=image)["image"].shape == image.shape  # needs no label


def test_volumes_get_one_motion():
    volume = np.stack([smooth(40, 40)] * 3)
    out = A.Compose([ThetaWarp(pool=8, p=1)], seed=0)(volume=volume, mask3d=volume[..., 0])
    assert out["volume"].shape == volume.shape
    assert all(np.array_equal(layer, out["volume"][0]) for layer in out["volume"])
    assert not np.array_equal(out["volume"], volume)
    assert all(np.array_equal(layer, out["mask3d"][0]) for layer in out["mask3d"])


def test_p_is_respected():
    transform = A.Compose([ThetaWarp(pool=16, p=0.25)], seed=2)
    image = smooth(24, 24)
    moved = sum(not np.array_equal(transform(image=image)["image"], image) for _ in range(200))
    assert 30 <= moved <= 72


def test_every_argument_is_saved_under_the_public_name(tmp_path):
    scalars = {
        "method": None,
        "std": 0.03,
        "cells": [3, 2],
        "scale": 1.5,
        "padding": "zeros",
        "box": "ellipse",
        "min_visible": 0.25,
        "pool": 12,
        "label_key": "kind",
        "classes": None,
        "p": 0.75,
    }
    saved = A.to_dict(ThetaWarp(**scalars))["transform"]
    name = "albu_learned.albumentations.ThetaWarp"
    assert saved == {"__class_fullname__": name, **scalars}
    A.save(ThetaWarp(**scalars), tmp_path / "pipeline.json")
    again = A.load(tmp_path / "pipeline.json")
    assert (again._live.std, again._live.scale, again._live.family.cells) == (0.03, 1.5, [3, 2])
    assert (again._live.padding, again._live.box, again._live.min_visible) == (
        "zeros",
        "ellipse",
        0.25,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"std": 0.1}, "`std` must be left out where `method` is given"),
        ({"cells": (2, 2)}, "`cells` must be left out where `method` is given"),
        ({"pool": -1}, "`pool` must be"),
        ({"min_visible": 2.0}, "`min_visible` must be"),
        ({"padding": "none"}, "`padding`.* be one of"),
    ],
)
def test_mistakes_are_named(arguments, words, tmp_path):
    al.ThetaWarp().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=words):
        ThetaWarp(tmp_path, **arguments)


def test_a_warp_of_another_type_is_refused(tmp_path):
    FreeShift().save_pretrained(tmp_path)
    with pytest.raises((TypeError, ValueError), match="ThetaWarp"):
        ThetaWarp(tmp_path)


class _Turned(FreeShift):
    """A shift by a quarter of the width."""

    _base = True

    def field(self, plan):
        return ShiftField(torch.tensor([[0.25, 0.0]]))


@pytest.mark.skipif(not X, reason="2.0.8 has no oriented boxes")
def test_oriented_boxes_move_with_their_angle():
    form = A.BboxParams("albumentations", bbox_type="obb", label_fields=["names"])
    bboxes = np.array([[0.3, 0.4, 0.5, 0.5, 30], [0.8, 0.4, 0.95, 0.5, 70]], np.float32)
    still = {"image": picture(100, 200), "bboxes": bboxes, "names": ["a", "b"]}
    out = A.Compose([WarpTransform(_Turned(), p=1)], bbox_params=form)(**still)
    assert list(out["names"]) == ["a"]
    assert np.allclose(np.asarray(out["bboxes"]), [[0.55, 0.4, 0.75, 0.5, 30]], atol=1e-3)
    warped = A.Compose([ThetaWarp(pool=8, p=1)], bbox_params=form, seed=0)(**still)
    assert len(warped["bboxes"]) >= 1


@pytest.mark.parametrize("size", [(40, 56), (44, 36), (33, 50), (260, 500)])
def test_a_straight_motion_is_filled_in_exactly(size):
    """Whatever part of a pixel nodes are off from where OpenCV puts them."""
    nodes = np.linspace(0, 1, 9, dtype=np.float32)
    x, y = np.meshgrid(nodes * size[1], nodes * size[0])
    lattice = np.stack([1.1 * x + 0.2 * y - 3, 0.9 * y - 0.1 * x + 2], axis=-1)
    x, y = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    expected = np.stack([1.1 * x + 0.2 * y - 3, 0.9 * y - 0.1 * x + 2], axis=-1)
    assert np.abs(remap.between(lattice.astype(np.float32), size) - expected).max() < 2e-3
