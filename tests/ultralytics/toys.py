"""Methods whose traces in a batch cannot be mistaken, importable by workers and other processes."""

import torch

from albu_learned import Generate, Mix


class Flood(Generate):
    """The whole image in one red, more or less bright: no other colour has red alone."""

    def __init__(self, low=0.5, high=1.0, resize=False):
        super().__init__(resize)
        self.low, self.high = low, high

    def draw(self, rows, generator=None, device=None):
        return {"z": torch.rand(rows, generator=generator, device=device)}

    def plan(self, batch, noise):
        return {"red": self.low + (self.high - self.low) * noise["z"]}

    def pixels(self, images, plan):
        made = torch.zeros_like(images)
        made[:, 0] = plan["red"].to(images)[:, None, None]
        return made


class Halves(Mix):
    """Every image mixed with the next one, half and half."""

    def draw(self, rows, generator=None, device=None):
        return {"z": torch.zeros(rows, device=device)}

    def plan(self, batch, noise):
        rows = torch.arange(len(batch), device=noise["z"].device)
        index = torch.stack([rows, rows.roll(-1)], dim=1)
        return {"index": index, "weight": torch.full((len(batch), 2), 0.5, device=rows.device)}


class Broken(Flood):
    """Fails at work."""

    def pixels(self, images, plan):
        raise ZeroDivisionError("a defect of the method")
