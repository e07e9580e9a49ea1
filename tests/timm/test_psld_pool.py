"""A pool of variants in timm: by the file of an image, or by its pixels where nobody knows that."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.dataset import ImageDataset
from torch.utils.data import Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

import albu_learned as al
from albu_learned.timm import GenerateTransform, create_loader
from tests import pools
from tests.timm.cases import spec_file

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "input_size": (3, 32, 32)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A pool of six scenes; and the same as a folder of two classes, under other names."""
    folder = tmp_path_factory.mktemp("psld")
    _, files = pools.pool_of(folder, pools.scenes(6, (32, 32)))
    for number, file in enumerate(files):
        kind = folder / "data" / "train" / "ab"[number % 2]
        kind.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, kind / f"picture{number}.png")
    return folder


def loader(place, dataset, more="", **options):
    spec = spec_file(place, f"- {{method: PSLDPool, pool: pool, p: 1{more}}}")
    given = {"batch_size": 6, "num_workers": 0, "is_training": True, "no_aug": True, **PLAIN}
    given |= {"device": torch.device("cpu"), **options}
    given.setdefault("persistent_workers", given["num_workers"] > 0)
    return create_loader(dataset, spec=spec, **given)


def variants(place):
    """The variants of each scene as bytes."""
    files = sorted((place / "pool" / "images" / "train").glob("*.png"))
    found = [np.asarray(Image.open(file)).tobytes() for file in files]
    return [set(found[k : k + 2]) for k in range(0, len(found), 2)]


def seen(images):
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).contiguous()
    return [image.numpy().tobytes() for image in pixels]


class Unknown(torch.utils.data.Dataset):
    """Tells no file."""

    transform = None

    def __init__(self, inner):
        self.inner = inner

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, index):
        image, label = self.inner[index]
        return (image if self.transform is None else self.transform(image)), label


@pytest.mark.parametrize("kind", ["timm", "torchvision", "subset", "unknown"])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_is_a_variant_of_its_own(place, kind, workers):
    if workers and kind != "timm":
        return
    root = str(place / "data" / "train")
    dataset = ImageDataset(root) if kind == "timm" else ImageFolder(root)
    if kind == "subset":
        dataset = Subset(dataset, [5, 4, 3, 2, 1, 0])
    if kind == "unknown":
        dataset = Unknown(dataset)
    made = loader(place, dataset, num_workers=workers)
    wanted = variants(place)
    own = made.dataset.image[0][1].method
    for _ in range(2):
        ((images, labels),) = made
        numbers = [next(i for i, one in enumerate(wanted) if x in one) for x in seen(images)]
        assert sorted(numbers) == list(range(6))
        assert [number % 2 for number in numbers] == labels.tolist()
    if not workers:
        assert (own.hits, own.misses) == (12, 0)
        assert bool(own.ready._paths) == (kind != "unknown")


def test_an_epoch_without_a_hit_ends_the_training(place, tmp_path):
    pools.pool_of(tmp_path, pools.scenes(6, (32, 32), seed=4), variants=1)
    data = ImageDataset(str(tmp_path / "set" / "images"))
    with pytest.raises(RuntimeError, match=r"none of 6 rows. None of the images .*synth"):
        list(loader(place, data))
    assert len(list(loader(place, data, ", must_hit: false"))) == 1


def test_among_the_transforms_of_torchvision(place):
    serve = GenerateTransform(al.PSLDPool(place / "pool"), p=1)
    pipeline = transforms.Compose([serve, transforms.ToTensor()])
    images = torch.stack([pipeline(image) for image, _ in ImageFolder(place / "data" / "train")])
    assert serve.method.hits == 6
    assert all(any(one in known for known in variants(place)) for one in seen(images))
