"""What the kinds refuse, and the geometry that they promise."""

import pytest
import torch

import albu_learned as al
from albu_learned import resample
from albu_learned.method import hold
from tests import toys
from tests.cases import shifted


class HalfMix(al.Mix):
    """Every output is half of its own row and half of the next."""

    citation = "@misc{halfmix}"

    def draw(self, rows, generator=None, device=None):
        return {"none": torch.zeros(rows, 1)}

    def plan(self, batch, noise):
        own = torch.arange(len(noise["none"]))
        index = torch.stack([own, own.roll(-1)], dim=1)
        return {"index": index, "weight": torch.full(index.shape, 0.5)}


def shift(x, y):
    return shifted(toys.FreeShift(), [[x, y], [x, y]])


def test_forward_cannot_be_overridden():
    with pytest.raises(TypeError, match="forward"):

        class Wrong(al.Mix):
            def forward(self, batch): ...


def test_a_model_that_holds_a_method_can_apply_functions():
    seen = []
    torch.nn.Sequential(toys.ClassShift()).apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["ClassShift", "Sequential"]
    with pytest.raises(TypeError, match=r"batch.*Tensor"):
        toys.ClassShift().apply(torch.rand(1), {})


def test_tensors_in_tensors_out():
    images, labels = torch.rand(3, 2, 4, 4), torch.tensor([0, 1, 0])
    assert isinstance(al.ZetaMixup()(images), torch.Tensor)
    mixed, soft = al.ZetaMixup(num_classes=2)(images, labels)
    assert mixed.shape == images.shape
    assert soft.shape == (3, 2)


def test_a_mix_gathers_the_boxes_of_all_that_weigh_enough():
    boxes = [torch.tensor([[0.1 * i, 0, 0.5, 0.5]]).repeat(i, 1) for i in range(3)]
    out = HalfMix()(al.Batch(images=torch.rand(3, 1, 4, 4), boxes=boxes))
    assert out.boxes.image.tolist() == [0, 1, 1, 1, 2, 2]
    assert out.boxes.source.tolist() == [[1, 0], [1, 0], [2, 0], [2, 1], [2, 0], [2, 1]]
    own = HalfMix(min_weight=0.6)(al.Batch(images=torch.rand(3, 1, 4, 4), boxes=boxes))
    assert own.boxes.source.tolist() == [[1, 0], [2, 0], [2, 1]], "its leader's are always kept"


def test_a_mix_refuses_class_masks():
    with pytest.raises(TypeError, match=r"masks.*int64"):
        HalfMix()(al.Batch(masks=torch.zeros(2, 4, 4, dtype=torch.long)))


def test_a_generator_refuses_soft_labels():
    with pytest.raises(ValueError, match=r"soft labels.*before mixes"):
        toys.ClassPicture()(torch.rand(2, 3, 8, 8), torch.rand(2, 2))


def test_a_generator_resizes_only_when_asked():
    images, labels = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"\(8, 8\).*\(16, 16\).*resize=True"):
        toys.ClassPicture(size=8)(images, labels)
    out, same = toys.ClassPicture(size=8, resize=True)(images, labels)
    assert out.shape == images.shape
    assert torch.equal(same, labels)
    with pytest.raises(ValueError, match="3 channels"):
        toys.ClassPicture(size=16)(images[:, :1], labels)


def test_pixels_move_by_whole_pixels_exactly():
    images = torch.rand(2, 3, 8, 8)
    out = shift(2 / 8, -1 / 8)(images)
    torch.testing.assert_close(out[:, :, :7, 2:], images[:, :, 1:, :6])
    assert (out[:, :, :, :2] == 0).all(), "this toy pads with zeros"


def test_both_corners_of_the_frame():
    """A point at a pixel's centre and a box around that pixel stay on it, at either end."""
    images = torch.zeros(1, 1, 8, 8)
    images[0, 0, 0, 0] = images[0, 0, 7, 7] = 1
    points = [torch.tensor([[0.5, 0.5], [7.5, 7.5]]) / 8]
    boxes = [torch.tensor([[0, 0, 1, 1], [7, 7, 8, 8.0]]) / 8]
    out = shift(3 / 8, 2 / 8)(al.Batch(images=images, points=points, boxes=boxes))
    assert out.images[0, 0].nonzero().tolist() == [[2, 3]]
    torch.testing.assert_close(out.points.values[0] * 8, torch.tensor([3.5, 2.5]))
    torch.testing.assert_close(out.boxes.values[0] * 8, torch.tensor([3.0, 2, 4, 3]))
    assert out.points.valid.tolist() == [True, False]
    assert out.boxes.valid.tolist() == [True, False]


def test_a_box_is_clipped_until_it_has_left():
    boxes = [torch.tensor([[0.5, 0.25, 0.75, 0.5]])]
    out = shift(0.375, 0)(al.Batch(boxes=boxes)).boxes
    torch.testing.assert_close(out.values[0], torch.tensor([0.875, 0.25, 1, 0.5]))
    assert out.valid.all()
    assert not shift(0.5, 0)(al.Batch(boxes=boxes)).boxes.valid.any()


@pytest.mark.parametrize("padding", ["border", "zeros", "reflection"])
def test_class_masks_and_soft_masks_agree_on_the_border(padding):
    """Large class numbers survive, and both kinds of mask are padded alike."""
    masks = torch.randint(0, 2, (2, 3, 8, 8)) * (2**53 + 1)
    field = toys.ShiftField(torch.tensor([[3 / 8, -2 / 8], [-5 / 8, 1 / 8]]))
    moved = resample.masks(masks, field, padding)
    soft = resample.masks((masks > 0).double(), field, padding)
    assert torch.equal(moved > 0, soft > 0.5)
    assert set(moved.unique().tolist()) <= {0, 2**53 + 1}


def test_instances_move_with_their_images():
    mask = torch.zeros(1, 8, 8)
    mask[0, 2:4, 2:4] = 1
    out = shift(2 / 8, 0)(al.Batch(instances=[mask, mask[:0], mask.repeat(2, 1, 1)])).instances
    assert out.image.tolist() == [0, 2, 2]
    torch.testing.assert_close(out.values[0, :, 2:], mask[0, :, :-2])
    assert not shift(1.0, 0)(al.Batch(instances=[mask])).instances.valid.any()


def test_a_series_moves_in_time():
    class Delay(al.Warp):
        citation = "@misc{delay}"

        def draw(self, rows, generator=None, device=None):
            return {"by": torch.full((rows, 1), 0.25)}

        def plan(self, batch, noise):
            return noise

        def identity(self, rows, device=None):
            return {"by": torch.zeros(rows, 1)}

        def field(self, plan):
            return toys.ShiftField(plan["by"])

    series = torch.rand(2, 3, 16)
    marks = [torch.tensor([[0.5 / 16]])] * 2
    spans = [torch.tensor([[0.0, 0.25]])] * 2
    out = Delay()(al.Batch(images=series, points=marks, boxes=spans))
    torch.testing.assert_close(out.images[:, :, 4:], series[:, :, :-4])
    torch.testing.assert_close(out.points.values, torch.full((2, 1), 4.5 / 16))
    torch.testing.assert_close(out.boxes.values, torch.tensor([[0.25, 0.5]] * 2))


def test_hold_takes_a_method_or_its_folder(tmp_path):
    method = al.ZetaMixup()
    assert hold(method, al.Mix) is method
    method.save_pretrained(tmp_path)
    assert isinstance(hold(str(tmp_path), al.Mix), al.ZetaMixup)
    with pytest.raises(TypeError, match=r"ZetaMixup.*Warp was asked for"):
        hold(tmp_path, al.Warp)
    with pytest.raises(TypeError, match=r"method.*Warp.*ZetaMixup, a mix"):
        hold(method, al.Warp)
    with pytest.raises(TypeError, match="make an object of ZetaMixup"):
        hold(al.ZetaMixup, al.Mix)
