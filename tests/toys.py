"""One small method of each kind, to prove the contract before the real ones exist.

They are learned (their parameters get gradients), conditional (on labels, images or boxes) and
simple enough that a test can say what must come out.
"""

import torch
from torch import nn

from albu_learned import Field, Generate, Warp


class ShiftField(Field):
    def __init__(self, shift):
        self.shift = shift  # (B, 2), fractions of the image

    def __len__(self):
        return len(self.shift)

    def points(self, points):
        return points + self.shift[:, None]

    def points_back(self, points):
        return points - self.shift[:, None]


class ClassShift(Warp):
    """A learnable shift for each class, with a little noise: boxes can leave the frame."""

    citation = "@misc{classshift}"
    needs = frozenset({"labels"})
    padding = "zeros"

    def __init__(self, num_classes=2, noise=0.0):
        super().__init__()
        self.num_classes = num_classes
        self.noise = noise
        self.shift = nn.Parameter(torch.zeros(num_classes, 2))

    def draw(self, rows, generator=None, device=None):
        return {"z": torch.randn(rows, 2, generator=generator, device=device)}

    def plan(self, batch, noise):
        return {"shift": self.shift[batch.labels.long()] + self.noise * noise["z"]}

    def field(self, plan):
        return ShiftField(plan["shift"])

    def identity(self, rows, device=None):
        return {"shift": torch.zeros(rows, 2, device=device)}


class FreeShift(ClassShift):
    """A random shift that needs nothing but the number of rows."""

    needs = frozenset()

    def plan(self, batch, noise):
        return {"shift": self.shift.mean(0) + self.noise * noise["z"]}


class ImageShift(ClassShift):
    """A shift that depends on how bright the image is."""

    needs = frozenset({"images"})

    def plan(self, batch, noise):
        brightness = batch.images.mean(dim=(1, 2, 3))[:, None]
        return {"shift": brightness * self.shift[0] + self.noise * noise["z"]}


class BoxPaint(Generate):
    """Paints every box in the learnable colour of its image's class, a little randomly."""

    citation = "@misc{boxpaint}"
    needs = frozenset({"labels", "boxes"})

    def __init__(self, num_classes=2, channels=3, resize=False, most_boxes=4):
        super().__init__(resize)
        self.num_classes = num_classes
        self.channels = channels
        self.most_boxes = most_boxes
        shades = torch.linspace(0.2, 0.8, num_classes * channels)
        self.colour = nn.Parameter(shades.view(-1, channels))

    def draw(self, rows, generator=None, device=None):
        return {"z": torch.rand(rows, generator=generator, device=device)}

    def plan(self, batch, noise):
        boxes, _ = batch.boxes.pad()
        boxes = boxes[:, : self.most_boxes].to(noise["z"])
        empty = boxes.new_zeros(len(boxes), self.most_boxes - boxes.shape[1], 4)
        colour = self.colour[batch.labels.long()] * (0.9 + 0.1 * noise["z"][:, None])
        return {"boxes": torch.cat([boxes, empty], dim=1), "colour": colour}

    def pixels(self, images, plan):
        height, width = images.shape[2:]
        y = ((torch.arange(height, device=images.device) + 0.5) / height)[None, None, :, None]
        x = ((torch.arange(width, device=images.device) + 0.5) / width)[None, None, None, :]
        x1, y1, x2, y2 = plan["boxes"][..., None, None].unbind(2)
        inside = ((x >= x1) & (x < x2) & (y >= y1) & (y < y2)).any(dim=1)[:, None]
        return torch.where(inside, plan["colour"][:, :, None, None].to(images.dtype), images)


class ClassPicture(Generate):
    """A learnable picture for each class, of one size: what a decoder looks like from outside."""

    citation = "@misc{classpicture}"
    needs = frozenset({"labels"})

    def __init__(self, num_classes=2, size=8, channels=3, resize=False):
        super().__init__(resize)
        self.num_classes = num_classes
        self.size = size
        self.channels = channels
        self.picture = nn.Parameter(torch.rand(num_classes, channels, size, size))

    def draw(self, rows, generator=None, device=None):
        return {"z": torch.rand(rows, generator=generator, device=device)}

    def plan(self, batch, noise):
        return {"label": batch.labels.long(), "z": noise["z"]}

    def pixels(self, images, plan):
        return (self.picture[plan["label"]] * plan["z"].view(-1, 1, 1, 1)).clamp(0, 1)
