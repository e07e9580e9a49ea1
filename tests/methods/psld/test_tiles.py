"""Tiles: a large image comes out as if the network had seen all of it, where it looks locally."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from albu_learned.methods.psld import tiles
from albu_learned.methods.psld.operators import Mask
from albu_learned.methods.psld.problem import Problem, RowNoise
from albu_learned.methods.psld.samplers import decoder_only
from albu_learned.methods.psld.tiles import Tiled, padded
from tests.methods.psld.gaussian import ALPHAS


class Local:
    """Cells of 4 x 4 pixels, each seen alone; noise is seen three cells far, if `sees`."""

    alphas = ALPHAS

    def __init__(self, sees=0):
        self.sees, self.largest, self.rows = sees, 0, []

    def look(self, given):
        self.rows.append(len(given))
        self.largest = max(self.largest, *given.shape[2:])
        return given

    def encode(self, images, draw=None):
        return F.avg_pool2d(self.look(images), 4) - 0.5

    def decode(self, latents):
        return F.interpolate(self.look(latents), scale_factor=4) + 0.5

    def noise(self, latents, time):
        return F.avg_pool2d(self.look(latents), 2 * self.sees + 1, 1, self.sees) * time


@pytest.mark.parametrize("size", [(32, 32), (40, 72), (36, 100), (100, 36)])
def test_a_local_model_is_the_same_on_tiles(size):
    images = torch.rand(2, 3, *size)
    whole, tiled = Local(), Tiled(Local(), cell=4, tile=8, overlap=2)
    latents = whole.encode(images)
    torch.testing.assert_close(tiled.encode(images), latents)
    torch.testing.assert_close(tiled.decode(latents), whole.decode(latents))
    torch.testing.assert_close(tiled.noise(latents, 3), whole.noise(latents, 3))
    assert tiled.model.largest <= 32


@pytest.mark.parametrize(("most", "rows"), [(1, [2] * 6), (4096, [4] * 3), (10**6, [12])])
def test_small_tiles_are_looked_at_together(monkeypatch, most, rows):
    monkeypatch.setattr(tiles, "_AT_ONCE", most)
    images = torch.rand(2, 3, 40, 72)
    whole, tiled = Local(), Tiled(Local(), cell=4, tile=8, overlap=2)
    torch.testing.assert_close(tiled.encode(images), whole.encode(images))
    torch.testing.assert_close(tiled.noise(images, 3), whole.noise(images, 3))
    assert tiled.model.rows[: len(rows)] == rows


def test_drawn_latents_are_of_one_tile_of_each_image_at_a_time():
    tiled = Tiled(Local(), cell=4, tile=8, overlap=2)
    tiled.encode(torch.rand(2, 3, 40, 72), lambda like: torch.randn_like(like))
    assert tiled.model.rows == [2] * 6


def test_tiles_leave_no_seams():
    """A model that sees its neighbours is wrong at the edges of tiles, where these weigh least."""
    latents = torch.rand(1, 1, 8, 40)
    exact = Local(sees=1).noise(latents, 1)
    errors = [
        (Tiled(Local(sees=1), 4, 16, overlap).noise(latents, 1) - exact).abs().max()
        for overlap in (0, 4, 8)
    ]
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.25 * errors[0]


def test_gradients_pass_through_tiles():
    latents = torch.rand(1, 1, 3, 8, dtype=torch.float64, requires_grad=True)
    tiled = Tiled(Local(), 4, 4, 2)
    assert torch.autograd.gradcheck(tiled.decode, latents, fast_mode=True)


def test_a_sampler_works_on_tiles():
    image = torch.rand(1, 3, 8, 20).repeat_interleave(4, 2).repeat_interleave(4, 3)
    keep = torch.zeros(1, 1, 32, 80, dtype=torch.bool)
    keep[..., :40] = True
    tiled = Tiled(Local(), 4, 8, 2)
    problem = Problem(Mask(keep), image)
    made = tiled.decode(decoder_only(tiled, problem, RowNoise(torch.tensor([3])), 4))
    torch.testing.assert_close(made[..., :40], image[..., :40])
    assert (made[..., 40:] - image[..., 40:]).abs().mean() > 0.1


@pytest.mark.parametrize(("size", "expected"), [((5, 9), (16, 16)), ((17, 32), (24, 32))])
def test_small_images_are_mirrored(size, expected):
    image = torch.rand(1, 2, *size)
    found = padded(image, multiple=8, least=16)
    assert found.shape[2:] == expected
    assert torch.equal(found[..., : size[0], : size[1]], image)
    reflected = nn.functional.pad(image, (0, 1, 0, 1), mode="replicate")
    torch.testing.assert_close(
        found[..., : size[0] + (size[0] < expected[0]), : size[1]],
        reflected[..., : size[0] + (size[0] < expected[0]), : size[1]],
    )
