"""Warps and generators among torchvision's transforms, and Albumentations pipelines."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_loader
from timm.data.transforms import MaybePILToTensor
from torchvision import transforms

from albu_learned.timm import AlbumentationsTransform, GenerateTransform, WarpTransform
from tests.timm.cases import Squares, corner, save_toys, shift, square
from tests.toys import ClassShift, ImageShift


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_square_lands_where_it_must(mode):
    moved = WarpTransform(shift(by=(0.25, -0.125)), p=1)(square(mode=mode))
    assert (moved.mode, moved.size) == (mode, (32, 32))
    assert corner(moved) == (16, 4, 64)


def test_a_warp_that_reads_the_image_and_one_in_a_folder(tmp_path):
    white = Image.new("RGB", (8, 8), (255, 255, 255))
    moved = WarpTransform(shift(ImageShift, by=(0.5, 0.0)), p=1)(white)
    assert corner(moved) == (4, 0, 32)
    save_toys(tmp_path)
    door = pickle.loads(pickle.dumps(WarpTransform(str(tmp_path / "free_shift"), p=1)))
    assert corner(door(square())) == (16, 8, 64)


def test_p_and_torch_s_seed_decide():
    door = WarpTransform(shift(noise=0.2), p=0.5)
    torch.manual_seed(0)
    seen = [np.asarray(door(square())).tobytes() for _ in range(40)]
    torch.manual_seed(0)
    assert seen == [np.asarray(door(square())).tobytes() for _ in range(40)]
    still = np.asarray(square()).tobytes()
    assert 8 < seen.count(still) < 32
    assert len(set(seen)) > 8


def test_in_a_compose_before_the_tensor():
    pipeline = transforms.Compose(
        [transforms.Resize(16), WarpTransform(shift(), p=1), MaybePILToTensor()]
    )
    assert corner(pipeline(square())) == (8, 4, 16)


class Reverse:
    """What a Compose of Albumentations looks like from outside, with a generator of its own."""

    def __init__(self, kind="uint8"):
        self.kind = kind
        self.rng = np.random.default_rng(1)

    def set_random_seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def __call__(self, image):
        image = image[:, ::-1].copy()
        image[0, 0] = self.rng.integers(256)
        if self.kind == "float":
            image = image.astype(np.float32) / 255
        if self.kind == "tensor":
            image = torch.from_numpy(image).permute(2, 0, 1)
        return {"image": image}


def test_a_pipeline_of_albumentations_takes_and_gives_pil():
    flipped = AlbumentationsTransform(Reverse())(square())
    assert isinstance(flipped, Image.Image)
    assert corner(flipped)[:2] in [(16, 8), (0, 0)]
    grey = AlbumentationsTransform(lambda image: {"image": image[..., None]})(square(mode="L"))
    assert (grey.mode, grey.size) == ("L", (32, 32))
    assert AlbumentationsTransform(Reverse("tensor"))(square()).shape == (3, 32, 32)


def test_two_pipelines_of_one_process_draw_apart_and_again_the_same():
    def marks():
        torch.manual_seed(5)
        doors = [AlbumentationsTransform(Reverse()) for _ in range(2)]
        return [[np.asarray(door(square()))[0, 0, 0] for _ in range(8)] for door in doors]

    one, other = marks()
    assert one != other
    assert marks() == [one, other]


def test_floats_only_without_the_prefetcher():
    with pytest.raises(TypeError, match=r"must return uint8 images for timm's prefetcher.*float32"):
        AlbumentationsTransform(Reverse("float"))(square())
    floats = AlbumentationsTransform(Reverse("float"), prefetcher=False)(square())
    assert (floats.shape, floats.dtype) == ((3, 32, 32), torch.float32)
    scaled = AlbumentationsTransform(Reverse("tensor"), prefetcher=False)(square())
    assert torch.allclose(scaled[:, 1:], floats[:, 1:])


@pytest.mark.parametrize("prefetcher", [True, False])
def test_in_timm_s_loader_workers_and_epochs_differ(prefetcher):
    loader = create_loader(
        Squares(12),
        input_size=(3, 32, 32),
        batch_size=6,
        is_training=True,
        no_aug=True,
        num_workers=2,
        use_prefetcher=prefetcher,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        device=torch.device("cpu"),
    )
    loader.dataset.transform.transforms.insert(0, AlbumentationsTransform(Reverse()))
    marks = [images[:, 0, 0, 0].tolist() for _ in range(2) for images, _ in loader]
    assert len({tuple(mark) for mark in marks}) == 4
    assert len({mark for row in marks for mark in row}) > 15  # of 24 draws out of 256


SQUARE = square()


def refused(door, *args, call=SQUARE, **options):
    return lambda: door(*args, **options)(call)


@pytest.mark.parametrize(
    ("attempt", "error", "words"),
    [
        (refused(WarpTransform, shift(ClassShift)), ValueError, r"needs labels.*create_loader"),
        (refused(WarpTransform, shift(), p=2), ValueError, r"`p` must be in \[0, 1\], got 2"),
        (refused(WarpTransform, 3), TypeError, "`method` must be a Warp or the folder of one"),
        (refused(WarpTransform, shift().to("meta")), ValueError, "must be on the CPU"),
        (refused(GenerateTransform, shift()), TypeError, "a warp method: use the door of that"),
        (
            refused(WarpTransform, shift(), p=0, call=SQUARE.convert("RGBA")),
            ValueError,
            r"mode L or RGB, got RGBA.*convert",
        ),
        (
            refused(WarpTransform, shift(), p=0, call=torch.zeros(3, 8, 8)),
            TypeError,
            "must be a PIL image here, got Tensor",
        ),
        (refused(AlbumentationsTransform, 3), TypeError, "`compose` must be callable"),
        (
            refused(AlbumentationsTransform, Reverse(), call=torch.zeros(3, 8, 8)),
            TypeError,
            "must be a PIL image or an array, got Tensor",
        ),
        (
            refused(AlbumentationsTransform, lambda image: {"image": None}),
            TypeError,
            "must return an array or a tensor",
        ),
        (
            refused(AlbumentationsTransform, lambda image: {"image": image[..., :2]}),
            ValueError,
            r"1 or 3 channels, got \(32, 32, 2\)",
        ),
    ],
)
def test_refusals(attempt, error, words):
    with pytest.raises(error, match=words):
        attempt()
