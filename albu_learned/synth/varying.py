"""Makes the variants of one image: what is asked for goes in, files and figures come out, so that
it does not matter which process or machine does it.

A variant depends on the settings, the image, its labels and its own seed alone; with `batch` above
1 by rounding on the variants that are made beside it, which are always the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from albu_learned.batch import Batch
from albu_learned.data import label_file
from albu_learned.data.pictures import Pixels, decoded, digest, encoded
from albu_learned.fitting import device_of, seed_for
from albu_learned.method import Plan
from albu_learned.methods.psld import PSLDInpaint
from albu_learned.methods.psld.glue import glue
from albu_learned.rows import Rows
from albu_learned.synth import gates, sheet
from albu_learned.synth.objects import Thing, kept_lines, outlines

__all__ = ["Asked", "Made", "Varying", "seed_of"]


@dataclass(frozen=True)
class Asked:
    """Variants of an image.

    Args:
        name: of the image.
        content: of its file.
        labels: the content of its label file.
        things: its objects.
        variants: the numbers of those that are wanted.
        shown: whether the first is for the contact sheet.
    """

    name: str
    content: bytes
    labels: str
    things: tuple[Thing, ...]
    variants: tuple[int, ...]
    shown: bool = False


@dataclass(frozen=True)
class Made:
    """A variant, or why there is none.

    Args:
        variant: its number.
        facts: what is known of it, as JSON values.
        image: the content of its file; None if it shall not be written.
        labels: of its label file.
        strip: for the contact sheet.
    """

    variant: int
    facts: dict[str, Any]
    image: bytes | None = None
    labels: str = ""
    strip: bytes | None = None


@dataclass
class Varying:
    """Makes variants, with a model that serves image after image.

    Args:
        method: what makes them.
        seed: of all of them.
        device: where.
        detector: the weights of a YOLO model that has to find the objects and no others, if one
            has to.
        classes: the names of the classes.
    """

    method: PSLDInpaint
    seed: int
    device: str | None = None
    detector: str | None = None
    classes: tuple[str, ...] = ()
    _finder: Any = field(default=None, repr=False)

    def __call__(self, asked: Asked) -> list[Made] | str:
        """The variants, or what is wrong with the image."""
        try:
            pixels = decoded(asked.content)
        except ValueError as error:
            return str(error)
        original = torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1).contiguous()
        batch = self._batch(asked, _floats(original))
        seeds = [seed_of(self.seed, asked.name, number) for number in asked.variants]
        plan = self.method.plan(batch, {"seed": torch.tensor(seeds, device=batch.device)})
        made, grained = self._made(batch, plan, asked.name)
        return [
            self._one(asked, k, original, (made[k], grained[k]), plan["keep"][k].cpu(), seeds[k])
            for k in range(len(seeds))
        ]

    def _batch(self, asked: Asked, image: Tensor) -> Batch:
        """The image, as often as there are variants."""
        count, place = len(asked.variants), device_of(self.device)
        size = (image.shape[1], image.shape[2])
        boxes = torch.tensor([thing.box for thing in asked.things]).view(-1, 4)
        masks = None
        if "instances" in self.method.needs:
            masks = Rows.of([outlines(asked.things, size).to(place)] * count)
        images = image[None].expand(count, -1, -1, -1).contiguous().to(place)
        rows = Rows.of([boxes.to(place)] * count)
        return Batch(images=images, boxes=rows, instances=masks)

    def _made(self, batch: Batch, plan: Plan, name: str) -> tuple[Tensor, Tensor]:
        """What is made, as it is judged, and with its texture, as it is written."""
        assert batch.images is not None
        made = self.method.unglued(batch.images, plan)
        if not made.isfinite().all():
            raise ValueError(
                f"`method` must make finite pixels, got NaN or infinity for {name!r}. Look at what "
                'its model was fitted to, or set precision="float32".'
            )
        return made.cpu(), self.method.grained(batch.images, made, plan).cpu()

    def _one(
        self,
        asked: Asked,
        k: int,
        original: Tensor,
        found: tuple[Tensor, Tensor],
        keep: Tensor,
        seed: int,
    ) -> Made:
        number, (made, grained) = asked.variants[k], found
        glued = glue(original[None], grained[None], keep[None], self.method.feather)[0]
        facts = {"seed": seed, "mask": self.method.mask}
        facts |= _figures(asked.things, _floats(original), made, _floats(glued), keep, seed)
        facts |= _of_source(asked, _pixels(original))
        if torch.equal(_numbers(glued), _numbers(original)):
            return Made(number, facts | {"status": "unchanged"})
        wrong = self._wrong(asked.things, original, glued, keep[0])
        if any(wrong.values()):
            return Made(number, facts | {"status": "rejected", **wrong})
        labels = kept_lines(self.method.mask, asked.labels, asked.things, keep[0])
        strip = None
        if asked.shown and k == 0:
            strip = sheet.strip(_floats(original), keep, _floats(glued))
        image = encoded(_pixels(glued))
        facts |= {"status": "written", "relabelled": labels != asked.labels}
        facts |= {"digest": label_file.digest(image)}
        return Made(number, facts, image, labels, strip)

    def _wrong(
        self, things: Sequence[Thing], original: Tensor, glued: Tensor, keep: Tensor
    ) -> dict[str, int]:
        """How many of the objects that the detector finds in the image are not found any more, and
        how many it finds that have no label and were not there."""
        if self.detector is None:
            return {}
        if self._finder is None:
            self._finder = gates.finder(self.detector, self.classes, str(device_of(self.device)))
        boxes = torch.tensor([thing.box for thing in things]).view(-1, 4)
        labels = [thing.label for thing in things]
        before, after = self._finder(_shown(original)), self._finder(_shown(glued))
        known = [self._finder.known(found, boxes, labels) for found in (before, after)]
        return {
            "lost": int((known[0] & ~known[1]).sum()),
            "invented": self._finder.invented(after, before, boxes, keep),
        }


def seed_of(seed: int, name: str, variant: int) -> int:
    """Of a variant of an image, in [0, 2^61)."""
    return seed_for(f"{seed}\0{name}\0{variant}", bits=61)


def _of_source(asked: Asked, pixels: Pixels) -> dict[str, Any]:
    """By what the image is found again, as a file or as pixels."""
    facts = {"bytes": label_file.digest(asked.content), "pixels": digest(pixels)}
    facts |= {"objects": label_file.digest(asked.labels.encode())}
    return facts | {"shape": list(pixels.shape), "bits": 8 * pixels.itemsize}


def _figures(
    things: Sequence[Thing], original: Tensor, made: Tensor, glued: Tensor, keep: Tensor, seed: int
) -> dict[str, Any]:
    size = (original.shape[1], original.shape[2])
    generator = torch.Generator().manual_seed(seed)
    inside, around = gates.patches([thing.box for thing in things], size, generator)
    near = gates.psnr(made, original, keep)
    return {
        "changed": round(1 - float(keep.float().mean()), 4),
        "psnr": None if near is None else round(near, 3),
        "sharp": [gates.sharpness(glued, places) for places in (inside, around)],
        "sharp_real": [gates.sharpness(original, places) for places in (inside, around)],
        "thumb": gates.thumb(glued),
        "thumb_real": gates.thumb(original),
    }


def _floats(image: Tensor) -> Tensor:
    """In [0, 1]."""
    largest = 65535 if image.dtype == torch.uint16 else 255
    return image.to(torch.float32) / largest


def _numbers(image: Tensor) -> Tensor:
    return image.to(torch.int32)  # torch cannot compare uint16


def _pixels(image: Tensor) -> Pixels:
    """(H, W) or (H, W, 3)."""
    found: Pixels = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
    return found


def _shown(image: Tensor) -> Pixels:
    """(H, W, 3) uint8, whatever it was."""
    small = (_floats(image) * 255).round().to(torch.uint8)
    found: Pixels = small.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    return found
