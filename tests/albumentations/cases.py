"""The transforms and the data that the generic tests of this folder go through."""

import importlib.util

import albumentations as A
import numpy as np
import torch
from torch.utils.data import Dataset

from albu_learned import ClassVAE as CoreClassVAE
from albu_learned import Field, Warp
from albu_learned import ThetaWarp as CoreThetaWarp
from albu_learned import ZetaMixup as Core
from albu_learned.albumentations import (
    ClassVAE,
    GenerateTransform,
    PosteriorWarp,
    PSLDInpaint,
    ThetaWarp,
    WarpTransform,
    ZetaMixup,
)
from tests import pools
from tests.cases import posterior_model
from tests.toys import BoxPaint, ClassPicture, ClassShift, FreeShift, ImageShift

# AlbumentationsX: other hooks, grey images get an axis inside Compose, `masks` must be an array.
X = hasattr(A, "SampledParams")


def picture(height=32, width=40, channels=3, dtype=np.uint8, seed=0):
    values = np.random.default_rng(seed).random((height, width, *([channels] if channels else [])))
    return (values * 255).astype(np.uint8) if dtype == np.uint8 else values.astype(dtype)


def smooth(height=32, width=40, dtype=np.uint8):
    """No step from pixel to pixel above 1/20, so that a resampler's fixed point shows its size."""
    y, x = np.mgrid[:height, :width]
    values = 0.5 + 0.45 * np.sin(x / 10)[..., None] * np.cos(y[..., None] / 10 + np.arange(3))
    return np.rint(values * 255).astype(np.uint8) if dtype == np.uint8 else values.astype(dtype)


def shift(dx, dy, size=(32, 40), kind=FreeShift, noise=0.0, padding="zeros"):
    """A warp by so many pixels; the second class, if any, goes the other way."""
    method = kind(noise=noise)
    method.padding = padding
    step = torch.tensor([dx / size[1], dy / size[0]])
    both = kind is FreeShift
    method.shift.data = torch.stack([step, step if both else -step])
    return method


class MirrorField(Field):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return self.rows

    def points(self, points):
        return torch.stack([1 - points[..., 0], points[..., 1]], dim=-1)

    points_back = points


class Mirror(Warp):
    """Left becomes right, as in the host's own HorizontalFlip: it is no shift, so that half a pixel
    lost on the way in is not found again on the way out."""

    _base = True  # kept out of the registry, which other tests go through
    padding = "border"

    def draw(self, rows, generator=None, device=None):
        return {"z": torch.zeros(rows)}

    def plan(self, batch, noise):
        return noise

    def field(self, plan):
        return MirrorField(len(plan["z"]))

    def identity(self, rows, device=None):
        raise NotImplementedError


class Seeing(Core):
    """zeta-mixup that keeps the images which its plan was given."""

    _base = True
    needs = frozenset({"images"})

    def plan(self, batch, noise):
        self.seen = batch.images
        return super().plan(batch, noise)


def save(method, folder):
    method.save_pretrained(folder)
    return str(folder)


def boxes(*fields, **options):
    return A.BboxParams("pascal_voc", label_fields=list(fields), **options)


def points(form="xy", fields=(), **options):
    mapping = {"label_mapping": {}} if X and fields else {}
    return A.KeypointParams(form, label_fields=list(fields), **mapping, **options)


def warp(tmp_path, **options):
    return WarpTransform(save(shift(5, 3, noise=0.1), tmp_path / "free"), **options)


def class_warp(tmp_path, **options):
    method = shift(5, 3, kind=ClassShift, noise=0.05)
    return WarpTransform(save(method, tmp_path / "class"), **options)


def image_warp(tmp_path, **options):
    method = shift(5, 3, kind=ImageShift, noise=0.05)
    return WarpTransform(save(method, tmp_path / "image"), **options)


def paint(tmp_path, **options):
    return GenerateTransform(save(BoxPaint(), tmp_path / "paint"), **options)


def fresh(tmp_path, **options):
    method = ClassPicture()
    with torch.no_grad():
        method.picture.copy_(torch.linspace(0.2, 1, method.picture.numel()).view_as(method.picture))
    return GenerateTransform(save(method, tmp_path / "picture"), resize=True, **options)


def theta(tmp_path, **options):
    return ThetaWarp(std=0.05, pool=32, **options)


def class_theta(tmp_path, **options):
    torch.manual_seed(0)
    method = CoreThetaWarp(std=0.05, distributions=2)
    with torch.no_grad():
        method.factor[1] *= 2
    method.measure()
    return ThetaWarp(save(method, tmp_path / "theta"), pool=0, **options)


def posterior(tmp_path, **options):
    return PosteriorWarp(save(posterior_model().as_warp(), tmp_path / "posterior"), **options)


def vae(tmp_path, **options):
    torch.manual_seed(0)
    method = CoreClassVAE((3, 32, 40), num_classes=2, network="dense")
    with torch.no_grad():
        for weight in method.networks.decoder.parameters():
            weight.normal_()  # else all pictures are grey
    return ClassVAE(save(method, tmp_path / "vae"), **options)


def psld(tmp_path, **options):
    if not (tmp_path / "pool").exists():
        pools.pool_of(tmp_path, [picture()], variants=16)
    return PSLDInpaint(str(tmp_path / "pool"), **options)


def zeta(tmp_path, **options):
    return ZetaMixup(num_classes=3, **options)


WARPS = (warp, class_warp, image_warp, theta, class_theta, posterior)
CASES = {f.__name__: f for f in (*WARPS, paint, fresh, vae, psld, zeta)}
if importlib.util.find_spec("PIL") is None:  # nothing to make a pool with
    del CASES["psld"]
DUAL = tuple(f.__name__ for f in WARPS)


def references(image, count=3):
    rng = np.random.default_rng(9)
    shown = [rng.permutation(image.ravel()).reshape(image.shape) for _ in range(count)]
    return [{"image": other, "label": i % 3} for i, other in enumerate(shown)]


def data_for(name, image=None):
    """What the transform of a case reads, with the given image."""
    image = picture() if image is None else image
    data = {"image": image, "label": 1}
    if name == "paint":
        data["bboxes"] = np.array([[4, 4, 20, 16]], np.float32)
    if name == "zeta":
        data["zeta_metadata"] = references(image)
    return data


def compose(name, transform, kind=A.Compose, **options):
    if name == "paint":
        options["bbox_params"] = boxes()
    return kind([transform], **options)


class Noisy(Dataset):
    """The same image again and again, so that only the augmentation differs."""

    def __init__(self, transform, count=8):
        self.transform = transform
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        out = self.transform(image=smooth(16, 16), label=i % 2)
        return {"image": out["image"], "label": out["label"], "worker": _worker()}


def _worker():
    info = torch.utils.data.get_worker_info()
    return -1 if info is None else info.id
