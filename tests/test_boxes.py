"""What a warp does to boxes: outlines, ellipses and masks, and what of them is still visible."""

import pytest
import torch

import albu_learned as al
from albu_learned import resample
from albu_learned.batch import Rows
from tests.toys import ShiftField

BOX = torch.tensor([[0.3, 0.2, 0.7, 0.6]])
TURN = torch.tensor([[torch.pi / 4, 0.0, 0.0, 0.0]])  # of Affine: an angle


def rows(boxes):
    return Rows.at(boxes, torch.zeros(len(boxes), dtype=torch.long), 1)


def moved(box, theta, **parts):
    warp = al.ThetaWarp(al.Affine(), box=box, min_visible=0.0)
    return warp.apply(al.Batch(boxes=BOX[None], **parts), {"theta": theta}).boxes


def test_an_outline_and_an_ellipse_of_a_square_turned_by_45_degrees():
    low, high = moved("outline", TURN).values[0].view(2, 2)
    assert torch.allclose(high - low, torch.tensor([0.4, 0.4]) * 2**0.5, atol=1e-5)
    low, high = moved("ellipse", TURN).values[0].view(2, 2)  # of a circle nothing changes
    assert torch.allclose(high - low, torch.tensor([0.4, 0.4]), atol=1e-3)


def disc(size=256):
    y, x = (torch.arange(size) + 0.5).div(size).expand(size, size), None
    y, x = y.T, y
    return (((x - 0.5) ** 2 + (y - 0.4) ** 2) < 0.04).to(torch.uint8)


def test_a_box_of_a_mask_is_around_the_moved_mask():
    theta = torch.tensor([[0.3, 0.1, 0.02, -0.05]])
    out = moved("mask", theta, instances=disc()[None, None])
    warp = al.ThetaWarp(al.Affine(), padding="zeros")
    shown = warp.apply(al.Batch(masks=disc()[None, None]), {"theta": theta}).masks[0, 0].nonzero()
    y1, x1 = shown.amin(0) / 256
    y2, x2 = (shown.amax(0) + 1) / 256
    assert torch.allclose(out.values[0], torch.stack([x1, y1, x2, y2]), atol=1e-6)
    loose = moved("outline", theta).values[0]
    assert ((loose[2:] - loose[:2]) > (out.values[0, 2:] - out.values[0, :2]) + 0.02).all()


def test_a_mask_that_left_takes_its_box_along():
    far = torch.tensor([[0.0, 0.0, 1.5, 0.0]])
    warp = al.ThetaWarp(al.Affine(), box="mask", padding="zeros")
    out = warp.apply(al.Batch(boxes=BOX[None], instances=disc()[None, None]), {"theta": far})
    assert out.boxes.valid.tolist() == [False]
    assert out.instances.valid.tolist() == [False]


def test_masks_must_come_with_their_boxes():
    with pytest.raises(ValueError, match="`instances` must hold one mask for each box"):
        moved("mask", TURN)
    two = torch.stack([disc(), disc()])[None]
    with pytest.raises(ValueError, match="got 2 for 1 boxes"):
        moved("mask", TURN, instances=two)


@pytest.mark.parametrize(("least", "kept"), [(0.0, [1, 1, 0]), (0.3, [1, 1, 0]), (0.6, [1, 0, 0])])
def test_what_is_visible_is_a_share_of_the_whole_moved_box(least, kept):
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.4], [0.4, 0.1, 0.8, 0.4], [0.8, 0.1, 0.9, 0.4]])
    field = ShiftField(torch.tensor([[0.4, 0.0]]))  # of the second one a half stays
    out = resample.boxes(rows(boxes), field, "outline", least)
    assert out.valid.tolist() == [bool(k) for k in kept]
    assert torch.allclose(out.values[1], torch.tensor([0.8, 0.1, 1.0, 0.4]))


def test_padding_stays_invalid_whatever_its_motion():
    boxes = torch.tensor([[[0.1, 0.1, 0.4, 0.4], [0.0, 0.0, 0.0, 0.0]]])
    warp = al.ThetaWarp(std=0.05)
    assert warp(al.Batch(boxes=boxes)).boxes.valid.tolist() == [True, False]


def test_the_ends_of_a_series_are_moved():
    warp = al.ThetaWarp(al.CPAB(4), min_visible=0.0)
    noise = warp.draw(1, torch.Generator().manual_seed(0))
    ends = torch.tensor([[[0.2], [0.6]]])
    plan = warp.plan(al.Batch(), noise)
    spans = warp.apply(al.Batch(boxes=ends.view(1, 1, 2), points=ends), plan)
    assert torch.allclose(spans.boxes.values[0], spans.points.values[:, 0], atol=1e-6)


def test_lattices_of_a_field_and_of_its_inverse_undo_one_another():
    warp = al.ThetaWarp(std=0.05)
    field = warp.field(warp.plan(al.Batch(), warp.draw(2, torch.Generator().manual_seed(1))))
    forth, back = field.lattice((64, 64)), field.lattice_back((64, 64))
    assert torch.equal(field.inverse().lattice((64, 64)), back)
    nodes = torch.linspace(0, 1, forth.shape[1])
    places = torch.stack(torch.meshgrid(nodes, nodes, indexing="ij")[::-1], dim=-1)
    again = field.points_back(back.view(2, -1, 2)).view(back.shape)
    assert (again - places).abs().max() < 1e-3
    assert (forth - places).abs().max() > 0.02
