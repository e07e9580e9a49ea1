"""ThetaWarp in Kornia: every target, back again, replayed, and the core's own pictures."""

import kornia.augmentation as K
import pytest
import torch

import albu_learned as al
from albu_learned.kornia import LearnedAugmentationSequential, ThetaWarp
from tests.kornia.extra import noise_of, ours
from tests.kornia.scenes import CENTRES, KEYS, RECTANGLES, SCENE, extent, follow, scene


def test_masks_boxes_and_points_move_together():
    torch.manual_seed(0)
    augment = ours(ThetaWarp(std=0.03, min_visible=0, p=1.0), keys=KEYS)
    images, mask, boxes, points = augment(*scene())
    assert (points - CENTRES).abs().max() > 5
    follow(mask, boxes, points)
    assert augment.valid["bbox_xyxy"].all()
    back = augment.inverse(images, mask, boxes, points)
    assert (back[3] - CENTRES).abs().max() < 0.05
    assert (back[0] - scene()[0])[..., 40:-40, 40:-40].abs().max() < 0.02
    assert (back[1] != scene()[1])[..., 40:-40, 40:-40].float().mean() < 0.01
    torch.testing.assert_close(augment(*scene(), params=augment._params)[3], points)


def test_p_and_same_on_batch_are_respected():
    torch.manual_seed(0)
    images = torch.rand(40, 1, 16, 16)
    changed = (ThetaWarp(p=0.25)(images) != images).flatten(1).any(dim=1).sum()
    assert 3 <= changed <= 18
    same = torch.rand(1, 1, 16, 16).expand(4, -1, -1, -1)
    together = ThetaWarp(p=1.0, same_on_batch=True)(same)
    assert torch.equal(together, together[:1].expand_as(together))
    assert not torch.equal(ThetaWarp(p=1.0)(same)[0], ThetaWarp(p=1.0)(same)[1])


def test_the_same_noise_gives_the_core_s_picture():
    images = torch.rand(3, 3, 32, 32)
    augment = ours(ThetaWarp(std=0.05, p=1.0), keys=["input"])
    out = augment(images)
    core = al.ThetaWarp(std=0.05)
    noise = noise_of(augment._params[0].data)
    expected = core.apply(al.Batch(images=images), core.plan(al.Batch(), noise)).images
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)


def test_a_video_moves_as_one():
    frames = torch.rand(2, 1, 3, 24, 24).expand(-1, 4, -1, -1, -1)
    video = K.VideoSequential(ThetaWarp(p=1.0), data_format="BTCHW", same_on_frame=True)
    out = video(frames)
    assert not torch.equal(out, frames)
    assert torch.allclose(out, out[:, :1].expand_as(out), atol=1e-6)


def test_a_box_of_a_mask_is_around_that_mask():
    torch.manual_seed(1)
    images, mask, boxes, _ = scene()
    mask = mask[:, :2]
    augment = ours(ThetaWarp(std=0.04, box="mask", p=1.0), keys=KEYS[:3])
    _, moved, tight = augment(images, mask, boxes)
    for row in range(2):
        for n in range(2):
            assert (extent(moved[row, n]) - tight[row, n]).abs().max() < 1e-3
    half = ours(ThetaWarp(std=0.04, box="mask", p=0.0), keys=KEYS[:3])
    assert torch.equal(half(images, mask, boxes)[2], boxes)
    with pytest.raises(ValueError, match=r"`mask` must be \(B, N, H, W\) with a channel for each"):
        ours(ThetaWarp(box="mask", p=1.0), keys=["input", "bbox_xyxy"])(images, boxes)
    with pytest.raises(ValueError, match=r"got \(2, 1, 256, 256\) for 4 boxes"):
        augment(images, mask[:, :1], boxes)


def test_a_box_that_left_is_marked():
    method = al.ThetaWarp(al.Affine(), min_visible=0.5, padding="zeros")
    method.plan = lambda batch, noise: {"theta": torch.tensor([[0.0, 0, 0.5, 0]] * 2)}
    augment = ours(ThetaWarp(method, p=1.0), keys=["input", "bbox_xyxy"])
    _, boxes = augment(torch.rand(2, 3, SCENE, SCENE), RECTANGLES)
    assert augment.valid["bbox_xyxy"].tolist() == [[False, True]] * 2
    assert boxes[0].tolist() == [[0, 0, 0, 0], [2, 120, 71, 229]]


def test_an_ellipse_grows_less():
    def area(box):
        torch.manual_seed(3)
        augment = ours(ThetaWarp(std=0.05, box=box, p=1.0), keys=["input", "bbox_xyxy"])
        _, out = augment(torch.rand(2, 3, 32, 32), RECTANGLES / 8)
        return ((out[..., 2:] - out[..., :2] + 1).prod(-1)).sum()

    assert area("ellipse") < 0.97 * area("outline")


def test_a_folder_with_classes(tmp_path):
    method = al.ThetaWarp(al.Affine(), distributions=2)
    with torch.no_grad():
        method.factor[0] = 0
    method.about = al.About(classes=["still", "moving"])
    method.save_pretrained(tmp_path)
    warp = ThetaWarp(tmp_path, scale=2.0, classes=["moving", "still"], p=1.0)
    assert (warp.method.scale, warp.method.std) == (2.0, 0.05)
    augment = LearnedAugmentationSequential(warp, data_keys=["input", "class"])
    images = torch.rand(4, 3, 16, 16)
    out, labels = augment(images, torch.tensor([0, 1, 0, 1]))
    moved = (out - images).abs().flatten(1).amax(dim=1) > 1e-4
    assert moved.tolist() == [True, False, True, False]
    assert labels.tolist() == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="`std` must be left out"):
        ThetaWarp(tmp_path, std=0.1)
