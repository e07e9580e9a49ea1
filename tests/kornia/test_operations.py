"""One operation at a time: what Kornia's own tests ask of every augmentation."""

import copy
import pickle

import kornia.augmentation as K
import pytest
import torch
from torch import nn

import albu_learned as al
from albu_learned.artifact import About
from albu_learned.kornia import GenerateTransform, MixTransform, WarpTransform, ZetaMixup
from tests.kornia.extra import BOXES, IMAGES, LABELS, KorniaPair, moved, noise_of, ours, pair, shift
from tests.toys import BoxPaint, ClassPicture, ClassShift, FreeShift, ImageShift


class KorniaGrain(al.Generate):
    """A generator that needs nothing, and counts the rows that it makes."""

    citation = "@misc{korniagrain}"

    def __init__(self):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(0.1))
        self.rows = []

    def draw(self, rows, generator=None, device=None):
        return {"z": torch.rand(rows, 1, 1, 1, generator=generator, device=device)}

    def plan(self, batch, noise):
        return {"z": noise["z"]}

    def pixels(self, images, plan):
        self.rows.append(len(images))
        return images * (1 - self.strength * plan["z"].to(images.dtype))


OPERATIONS = {
    "warp": lambda **o: WarpTransform(shift(noise=0.1), **o),
    "generate": lambda **o: GenerateTransform(KorniaGrain(), **o),
    "mix": lambda **o: ZetaMixup(num_classes=2, **o),
}
every_operation = pytest.mark.parametrize("make", OPERATIONS.values(), ids=list(OPERATIONS))


@every_operation
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (3, 6, 5), (2, 3, 6, 5), (0, 3, 6, 5)])
def test_cardinality(make, keepdim, shape):
    out = make(p=1.0, keepdim=keepdim)(torch.rand(shape))
    assert out.shape == (shape if keepdim else (1,) * (4 - len(shape)) + shape)


@every_operation
def test_p_of_zero_is_the_identity(make):
    operation = make(p=0.0)
    assert torch.equal(operation(IMAGES), IMAGES)
    assert "p=0.0" in repr(operation)


@every_operation
def test_two_in_a_row_are_a_sequence(make):
    first, second = make(p=1.0), make(p=0.5)
    both = ours(first, second, keys=["input"])  # Kornia's own refuses two mixes
    torch.manual_seed(0)
    together = both(IMAGES)
    params = [item.data for item in both._params]
    assert torch.equal(second(first(IMAGES, params=params[0]), params=params[1]), together)


@every_operation
def test_replay_copies_and_dtypes(make):
    operation = make(p=0.5)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        images = IMAGES.to(dtype)
        out, params = operation(images), operation._params
        operation(images)
        assert out.dtype == dtype
        for other in (operation, copy.deepcopy(operation), pickle.loads(pickle.dumps(operation))):
            assert torch.equal(other(images, params=params), out)
    with pytest.raises(TypeError, match="uint8"):
        operation((IMAGES * 255).byte())


@every_operation
def test_gradcheck_of_images_and_parameters(make):
    images = IMAGES[:, :1, :4, :4].double().requires_grad_()
    operation = make(p=1.0).double()
    operation(images)
    params = operation._params
    names = [name for name, _ in operation.named_parameters()]
    values = [parameter.detach().clone().requires_grad_() for parameter in operation.parameters()]

    def run(images, *values):
        weights = dict(zip(names, values, strict=True))
        return torch.func.functional_call(operation, weights, (images,), {"params": params})

    assert torch.autograd.gradcheck(run, (images, *values), fast_mode=True)


@every_operation
def test_compiles_as_one_graph(make):
    torch._dynamo.reset()
    operation = make(p=1.0)
    operation(IMAGES)
    params = operation._params
    compiled = torch.compile(operation, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(IMAGES, params=params), operation(IMAGES, params=params))
    assert compiled(IMAGES).shape == IMAGES.shape


def test_our_container_compiles_as_one_graph_with_labels_and_masks():
    torch._dynamo.reset()
    warp = WarpTransform(moved(ClassShift()), p=1.0)
    for keys, operations in [
        (["input", "class", "mask"], (warp,)),
        (["input", "class"], (warp, ZetaMixup(num_classes=2))),
    ]:
        augment = ours(*operations, keys=keys)
        given = (IMAGES, LABELS, IMAGES)[: len(keys)]
        out = torch.compile(augment, backend="eager", fullgraph=True)(*given)
        expected = augment(*given, params=augment._params)
        for value, wanted in zip(out, expected, strict=True):
            torch.testing.assert_close(value, wanted)


def test_only_selected_rows_are_computed():
    grain = KorniaGrain()
    operation = GenerateTransform(grain, p=0.25)
    images = torch.rand(64, 1, 2, 2) + 0.1
    torch.manual_seed(0)
    for call in (operation, ours(operation, keys=["input"])):
        grain.rows.clear()
        changed = (call(images) != images).flatten(1).any(dim=1).sum().item()
        assert 0 < changed < 32
        assert grain.rows == [changed]
        call(images[:0])
        assert grain.rows == [changed]


def test_images_that_p_left_alone_are_bit_equal():
    operation = WarpTransform(shift(), p=0.5)
    out = operation(IMAGES.repeat(4, 1, 1, 1))
    chosen = operation._params["batch_prob"] > 0.5
    assert chosen.any()
    assert torch.equal(out[~chosen], IMAGES.repeat(4, 1, 1, 1)[~chosen])
    torch.testing.assert_close(out[chosen][..., 4:], IMAGES.repeat(4, 1, 1, 1)[chosen][..., :-4])


def test_a_warp_alone_is_inverted():
    operation = WarpTransform(shift(), p=0.5)
    out = operation(IMAGES)
    back = operation.inverse(out)
    torch.testing.assert_close(back[..., :-4], IMAGES[..., :-4])
    assert torch.equal(operation.inverse(out, params=operation._params), back)


def test_operations_read_artifacts(tmp_path):
    toy = moved(ClassShift(), 0.5)
    toy.save_pretrained(tmp_path / "warp")
    augment = ours(WarpTransform(tmp_path / "warp", p=1.0))
    assert torch.equal(
        augment(IMAGES, LABELS)[0], ours(WarpTransform(toy, p=1.0))(IMAGES, LABELS)[0]
    )
    with pytest.raises(TypeError, match="is a ClassShift, but Generate was asked for"):
        GenerateTransform(str(tmp_path / "warp"))
    with pytest.raises(
        TypeError, match=r"`method` must be a Warp .*KorniaPair, a mix method: use the door"
    ):
        WarpTransform(KorniaPair())
    with pytest.raises(FileNotFoundError, match="`folder` must be an artifact"):
        MixTransform(tmp_path)


def test_classes_go_by_name():
    toy = ClassShift()
    toy.about = About(classes=["cat", "dog"])
    with torch.no_grad():
        toy.shift[1, 0] = 0.5
    augment = ours(WarpTransform(toy, p=1.0, classes=["dog", "cat"]))
    augment(IMAGES, LABELS)
    assert augment._params[0].data["plan_shift"][:, 0].tolist() == [0.5, 0, 0.5, 0]
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match=f"0..1 for the 2 names of `classes`, got {wrong}"):
            augment(IMAGES, torch.tensor([0, 1, 1, wrong]))
    with pytest.raises(ValueError, match=r"`classes` must name the classes.*got \['dog', 'cow'\]"):
        WarpTransform(toy, classes=["dog", "cow"])
    with pytest.raises(ValueError, match="stores no class names"):
        GenerateTransform(ClassPicture(), classes=["dog", "cat"])


def test_another_size_must_be_asked_for():
    toy = ClassPicture(size=8)
    with pytest.raises(ValueError, match="or set resize=True"):
        ours(GenerateTransform(toy, p=1.0))(IMAGES, LABELS)
    resized = GenerateTransform(toy, p=1.0, resize=True)
    assert ours(resized)(IMAGES, LABELS)[0].shape == IMAGES.shape
    assert not toy.resize
    assert resized.method.picture is toy.picture


def test_videos_share_the_change_of_their_frames_if_asked():
    video = IMAGES[:2, None].expand(2, 3, 3, 16, 16).contiguous()
    for same in (True, False):
        augment = K.VideoSequential(WarpTransform(shift(noise=0.2), p=1.0), same_on_frame=same)
        out = augment(video)
        assert torch.equal(out[0, 0], out[0, 1]) is same
        assert not torch.equal(out[0, 0], out[1, 0])
    both = K.VideoSequential(WarpTransform(shift(by=0.25), p=1.0))
    augment = ours(both, keys=["input", "bbox", "keypoints", "mask"])
    points = torch.full((2, 3, 2, 2), 5.0)
    boxes = torch.tensor([[2.0, 2], [4, 2], [4, 4], [2, 4]]).expand(2, 3, 1, 4, 2)
    out = augment(video, boxes, points, video[:, :, :1])
    torch.testing.assert_close(out[1], boxes + torch.tensor([4.0, 0]))
    torch.testing.assert_close(out[2], points + torch.tensor([4.0, 0]))
    torch.testing.assert_close(out[3], out[0][:, :, :1])
    assert augment.valid["bbox"].shape == (2, 3, 1)
    assert augment.source == {}


def test_a_mix_of_videos_must_not_repeat_its_draw():
    video = torch.rand(2, 3, 3, 8, 8)
    with pytest.raises(RuntimeError, match="Set same_on_frame=False"):
        K.VideoSequential(pair())(video)
    assert K.VideoSequential(pair(), same_on_frame=False)(video).shape == video.shape


def test_conditional_operations_say_where_they_work():
    for method in (ClassShift(), ImageShift()):
        with pytest.raises(
            RuntimeError, match=r"Put it into albu_learned.kornia.LearnedAugmentati"
        ):
            WarpTransform(method, p=1.0)(IMAGES)
    with pytest.raises(RuntimeError, match="BoxPaint needs boxes and labels"):
        K.AugmentationSequential(GenerateTransform(BoxPaint(), p=1.0), data_keys=["input"])(IMAGES)


def test_kornias_containers_take_ours():
    free = WarpTransform(FreeShift(noise=0.1), p=1.0)
    assert K.PatchSequential(free, patchwise_apply=False)(IMAGES).shape == IMAGES.shape
    keys = ["input", "keypoints", "mask"]
    stock, own = K.AugmentationSequential(free, data_keys=keys), ours(free, keys=keys)
    first = stock(IMAGES, IMAGES[:, 0, :2, :2], IMAGES)
    second = own(IMAGES, IMAGES[:, 0, :2, :2], IMAGES, params=None)
    assert noise_of(stock._params[0].data).keys() == noise_of(own._params[0].data).keys()
    again = stock(IMAGES, IMAGES[:, 0, :2, :2], IMAGES, params=stock._params)
    for one, other, third in zip(first, again, second, strict=True):
        assert torch.equal(one, other)
        assert one.shape == third.shape
    listed = stock(IMAGES, IMAGES[:, 0, :2, :2], list(IMAGES), params=stock._params)[2]
    assert torch.equal(torch.cat(listed), first[2])


def test_mixes_in_kornias_container_finish_their_labels():
    mix = ZetaMixup(num_classes=4)
    images = torch.eye(4).view(4, 4, 1, 1).expand(4, 4, 8, 8)
    with pytest.raises(
        RuntimeError, match="`params` must be the params of a mix: none has happened"
    ):
        mix.mix_labels(torch.arange(4))
    stock = K.AugmentationSequential(K.RandomHorizontalFlip(), mix, data_keys=["input"])
    out = stock(images)
    torch.testing.assert_close(out.mean(dim=(2, 3)), mix.mix_labels(torch.arange(4)))
    params = stock._params[1].data
    stock(images)
    torch.testing.assert_close(out.mean(dim=(2, 3)), mix.mix_labels(torch.arange(4), params))
    skipped = ZetaMixup(num_classes=4, p=0.0)
    skipped(images)
    assert torch.equal(skipped.mix_labels(torch.arange(4)), torch.eye(4))


@pytest.mark.parametrize("key", ["class", "mask", "bbox_xyxy", "keypoints"])
def test_kornias_container_cannot_mix_the_rest(key):
    values = {"class": LABELS, "mask": IMAGES, "bbox_xyxy": torch.ones(4, 1, 4)}
    for augment in (pair(), K.ImageSequential(pair()), ours(pair())):
        stock = K.AugmentationSequential(augment, data_keys=["input", key])
        with pytest.raises(NotImplementedError, match=r"LearnedAugmentationSequential.*mix_labels"):
            stock(IMAGES, values.get(key, torch.ones(4, 1, 2)))
    with pytest.raises(NotImplementedError, match="LearnedAugmentationSequential"):
        pair()(IMAGES, LABELS, data_keys=["input", key])
    flip = K.AugmentationSequential(K.RandomHorizontalFlip(), data_keys=["input", "class"])
    assert torch.equal(flip(IMAGES, LABELS)[1], LABELS)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("moved_too", [False, True])
def test_images_on_a_gpu_with_noise_from_either_device(moved_too):
    keys = ["input", "class", "bbox_xyxy"]
    paint, warp = GenerateTransform(BoxPaint(), p=0.5), WarpTransform(moved(ClassShift()), p=0.5)
    augment = ours(paint.cuda(), warp.cuda(), pair(), ZetaMixup(num_classes=2), keys=keys)
    augment = augment.cuda() if moved_too else augment
    out = augment(IMAGES.cuda(), LABELS.cuda(), BOXES.cuda())
    assert {value.device.type for value in out} == {"cuda"}
    again = augment(IMAGES.cuda(), LABELS.cuda(), BOXES.cuda(), params=augment._params)
    assert all(torch.equal(one, other) for one, other in zip(out, again, strict=True))
    assert augment.valid["bbox_xyxy"].shape == augment.source["bbox_xyxy"].shape[:2] == (4, 4)
