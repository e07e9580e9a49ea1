"""What the tests of the timm door share: pictures, folders of them, saved toys, specs."""

import textwrap

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from albu_learned.timm import create_loader
from tests.toys import BoxPaint, ClassPicture, ClassShift, FreeShift, ImageShift

COLOURS = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
NAMES = ("cat", "dog", "eel")


def square(label=0, size=32, at=(8, 8), mode="RGB"):
    """A black picture with an 8 x 8 square of the class's colour, its top left corner `at` x, y."""
    array = np.zeros((size, size, 3), np.uint8)
    x, y = at
    array[y : y + 8, x : x + 8] = COLOURS[label]
    image = Image.fromarray(array)
    return image if mode == "RGB" else Image.fromarray(array.max(2))


def corner(picture):
    """x and y of the first lit pixel of a picture or a C x H x W tensor, and how many are lit."""
    array = np.asarray(picture)
    if array.ndim == 3:
        array = array.max(0) if array.shape[0] in (1, 3) else array.max(2)
    y, x = np.nonzero(array > array.max() / 2)
    return int(x.min()), int(y.min()), len(x)


class Squares(Dataset):
    """Squares of three classes, as timm's datasets yield them; module-level, so that it pickles."""

    def __init__(self, count=24, named=True):
        self.count = count
        self.transform = None
        self.told = []
        if named:
            self.class_to_idx = {name: i for i, name in enumerate(NAMES)}

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image, label = square(index % 3), index % 3
        return (image if self.transform is None else self.transform(image)), label

    def set_epoch(self, epoch):
        self.told.append(epoch)


def loader(spec, **options):
    """Batches of squares, in which nothing moves or colours but the spec."""
    given = {"input_size": (3, 32, 32), "batch_size": 12, "num_workers": 0, **options}
    given.setdefault("persistent_workers", given["num_workers"] > 0)  # old releases ask for it
    still = {"is_training": True, "no_aug": True, "device": torch.device("cpu")}
    return create_loader(Squares(), spec=spec, **still, **given)


def folder_of_images(root, per_class=8):
    """An image folder as timm reads it: all images of a class are the same."""
    for label, name in enumerate(NAMES):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for i in range(per_class):
            square(label).save(folder / f"{i}.png")
    return root


def distinct(images):
    return len({image.numpy().tobytes() for image in images})


def workers_differ_and_a_seed_repeats(loader, spec):
    """Raises unless they do: `loader(spec, **options)` shows three different squares."""

    def epoch(seed):
        torch.manual_seed(seed)
        made = loader(spec, num_workers=2, batch_size=6, persistent_workers=False)
        return torch.cat([images for images, _ in made])

    first = epoch(0)
    assert distinct(first) == 24
    assert torch.equal(epoch(0), first)
    assert not torch.equal(epoch(1), first)


def shift(kind=FreeShift, by=(0.25, 0.0), noise=0.0, classes=3):
    """A warp by a known fraction of the image, for every class or for the first alone."""
    method = kind(classes, noise)
    with torch.no_grad():
        method.shift[:] = torch.tensor(by)
    return method.eval()


def save_toys(folder):
    """Every toy as an artifact."""
    torch.manual_seed(0)
    by_class = shift(ClassShift)
    with torch.no_grad():
        by_class.shift[:] = torch.tensor([[0.25, 0.0], [0.0, 0.25], [0.25, 0.25]])
    by_class.about = type(by_class.about)(classes=list(NAMES))
    by_class.save_pretrained(folder / "class_shift")
    shift().save_pretrained(folder / "free_shift")
    shift(noise=0.1).save_pretrained(folder / "noisy_shift")
    shift(ImageShift).save_pretrained(folder / "image_shift")
    BoxPaint(3).save_pretrained(folder / "box_paint")
    picture = ClassPicture(3, size=8)
    with torch.no_grad():
        picture.picture[:] = torch.tensor(COLOURS)[:, :, None, None] / 255
    picture.save_pretrained(folder / "class_picture")
    return folder


def spec_file(folder, methods, top=""):
    """A spec beside saved toys."""
    path = folder / "spec.yaml"
    body = textwrap.indent(textwrap.dedent(methods).strip(), "  ")
    path.write_text(f"modules: [tests.toys]\n{top}\nmethods:\n{body}\n")
    return path
