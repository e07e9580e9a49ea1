"""What the kinds refuse, and the geometry that they promise."""

import numpy as np
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


def test_labels_stand_in_the_batch_or_beside_tensors():
    with pytest.raises(TypeError, match=r"labels.*part of the Batch"):
        al.ZetaMixup(num_classes=2)(al.Batch(images=torch.rand(2, 1, 2, 2)), torch.tensor([0, 1]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_class_numbers_of_small_types_do_not_wrap_around(dtype):
    labels = torch.tensor([0, 50, 43, 120], dtype=dtype)
    mixed = al.ZetaMixup(num_classes=300)(torch.rand(4, 1, 2, 2), labels)[1]
    assert mixed.argmax(1).tolist() == labels.tolist()


def test_numbers_of_numpy_are_numbers(tmp_path):
    mix = al.ZetaMixup(
        np.float32(4),
        np.int64(3),
        np.int64(10),
        smoothing=np.float32(0.125),
        min_weight=np.float64(0.5),
    )
    mix.save_pretrained(tmp_path)
    assert al.load(tmp_path).arguments() == {
        "gamma": 4.0, "top_k": 3, "num_classes": 10, "smoothing": 0.125, "min_weight": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_classes": True},
        {"num_classes": 2.0},
        {"smoothing": "0.1"},
        {"smoothing": torch.tensor(0.1)},
        {"min_weight": None},
        {"min_weight": True},
    ],
    ids=str,
)
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(TypeError, match=next(iter(wrong))):
        al.ZetaMixup(**wrong)


def test_a_generator_sees_floats_whatever_it_is_given():
    class Dim(al.Generate):
        citation = "@misc{dim}"

        def draw(self, rows, generator=None, device=None):
            return {"z": torch.zeros(rows)}

        def plan(self, batch, noise):
            return noise

        def pixels(self, images, plan):
            return images * 0.5

    images = torch.full((2, 3, 4, 4), 128, dtype=torch.uint8)
    assert (Dim()(images) == 64).all()


@pytest.mark.parametrize(
    ("step", "returned"),
    [
        ("draw", torch.zeros(3)),
        ("draw", {"z": torch.zeros(1)}),
        ("plan", None),
        ("plan", {"z": 1.0}),
    ],
)
def test_what_an_author_returns_is_checked(step, returned, monkeypatch):
    monkeypatch.setattr(toys.FreeShift, step, lambda *args, **kwargs: returned)
    with pytest.raises(TypeError, match=rf"`{step}` of FreeShift must return a dict of tensors"):
        toys.FreeShift()(torch.rand(3, 1, 4, 4))


def test_as_many_images_as_were_given(monkeypatch):
    monkeypatch.setattr(toys.ClassPicture, "pixels", lambda self, images, plan: images[:1])
    with pytest.raises(ValueError, match=r"pixels.*one image for each.*3"):
        toys.ClassPicture()(torch.rand(3, 3, 8, 8), torch.tensor([0, 1, 0]))


def test_class_facts_are_checked():
    for wrong in ("labels", frozenset({"label"})):
        with pytest.raises(TypeError, match=r"needs.*labels"):
            type("Wrong", (toys.FreeShift,), {"needs": wrong})
    with pytest.raises(ValueError, match=r"padding.*border.*zero"):
        type("Wrong", (toys.FreeShift,), {"padding": "zero"})


def test_a_mix_that_needs_labels_says_so():
    needy = type("NeedyMix", (HalfMix,), {"needs": frozenset({"labels"})})
    with pytest.raises(ValueError, match="NeedyMix needs labels"):
        needy()(torch.rand(2, 1, 2, 2))


def test_a_warp_that_reads_classes_refuses_soft_labels():
    with pytest.raises(ValueError, match="soft labels"):
        toys.ClassShift()(torch.rand(2, 1, 4, 4), torch.rand(2, 2))
    with pytest.raises(ValueError, match=r"images.*\(B, C, H, W\).*\(2, 4\)"):
        toys.FreeShift()(torch.rand(2, 4))


def test_a_generator_argument_must_be_one():
    with pytest.raises(TypeError, match=r"generator.*torch\.Generator.*int"):
        al.ZetaMixup()(torch.rand(2, 1, 2, 2), generator=0)


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


def test_weights_of_an_image_that_is_named_twice_add_up():
    class Twice(HalfMix):
        def plan(self, batch, noise):
            index = torch.tensor([[0, 1, 1], [1, 0, 0]])
            return {"index": index, "weight": torch.tensor([[0.4, 0.3, 0.3]] * 2)}

    boxes = [torch.rand(1, 4).cumsum(1) / 4 for _ in range(2)]
    out = Twice(min_weight=0.35)(al.Batch(boxes=boxes)).boxes
    assert out.source.tolist() == [[1, 0], [0, 0], [0, 0], [1, 0]], "the leader is first"


def test_padding_of_other_images_is_not_gathered():
    boxes = torch.tensor([[[0, 0, 0.5, 0.5], [0, 0, 0, 0]]] * 3)
    out = HalfMix()(al.Batch(boxes=boxes)).boxes
    assert out.source[:3].tolist() == [[0, 0], [0, 1], [1, 0]]
    assert out.valid[:3].tolist() == [True, False, True]


def test_a_mix_refuses_class_masks():
    with pytest.raises(TypeError, match=r"masks.*int64"):
        HalfMix()(al.Batch(masks=torch.zeros(2, 4, 4, dtype=torch.long)))


def test_a_mix_refuses_class_masks_that_come_alone():
    mix = HalfMix()
    with pytest.raises(TypeError, match=r"masks.*int64"):
        mix.apply(al.Batch(masks=torch.zeros(2, 4, 4, dtype=torch.long)), mix.identity(2))


def test_frames_need_not_be_square():
    images = torch.rand(2, 1, 6, 10)
    masks = (images[:, 0] * 100).long()
    out = shift(2 / 10, -1 / 6)(al.Batch(images=images, masks=masks))
    torch.testing.assert_close(out.images[:, :, :5, 2:], images[:, :, 1:, :8])
    assert torch.equal(out.masks[:, :5, 2:], masks[:, 1:, :8])


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


def test_with_arguments_keeps_what_was_learned():
    fitted = shifted(toys.ClassShift(noise=0.1), [[0.25, 0.0], [-0.125, 0.5]])
    fitted.about = al.About(classes=["a", "b"])
    state = torch.get_rng_state()
    twin = fitted.with_arguments(noise=0.5)
    assert torch.equal(torch.get_rng_state(), state)
    assert (twin.noise, fitted.noise) == (0.5, 0.1)
    assert torch.equal(twin.shift, fitted.shift)
    assert twin.about == fitted.about
    with torch.no_grad():
        twin.shift.zero_()
    assert fitted.shift.abs().sum() > 0  # nothing is shared


@pytest.mark.parametrize("training", [True, False])
def test_with_arguments_of_a_method_without_weights(training):
    mix = al.ZetaMixup(gamma=2.8, top_k=3, num_classes=4).train(training)
    twin = mix.with_arguments(gamma=6)
    assert twin.arguments() == {**mix.arguments(), "gamma": 6.0}
    assert twin.training == training
    assert mix.with_arguments().arguments() == mix.arguments()


def test_with_arguments_that_are_none():
    with pytest.raises(TypeError, match=r"`gama` is no argument of ZetaMixup.* `gamma`\?"):
        al.ZetaMixup().with_arguments(gama=3)
    with pytest.raises(ValueError, match="`gamma` must be a number > 0"):
        al.ZetaMixup().with_arguments(gamma=-3)


def test_methods_know_strengths_worth_trying():
    for method in al.method.methods().values():
        for key, values in method.tries.items():
            made = [method(**{key: value}) for value in values if key != "p"]
            assert [getattr(m, key) for m in made] == list(values) or key == "p"
    assert al.ZetaMixup.tries["gamma"][0] == al.ZetaMixup().gamma  # the default comes first
