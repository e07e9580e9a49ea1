"""Kept pixels are the same bit by bit, whatever they are made of; others fade."""

import pytest
import torch

from albu_learned.methods.psld.glue import glue

DTYPES = [torch.uint8, torch.uint16, torch.float64, torch.float32, torch.float16, torch.bfloat16]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def image(dtype, channels=3, size=(23, 31)):
    values = torch.rand(2, channels, *size, generator=seeded(), dtype=torch.float64)
    if dtype in (torch.uint8, torch.uint16):
        return (values * (255 if dtype == torch.uint8 else 65535)).int().to(dtype)
    return (values * 1.2 - 0.1).to(dtype)  # floats that are not in [0, 1] stay too


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("feather", [0, 4])
def test_kept_pixels_are_the_same_bit_by_bit(dtype, channels, feather):
    old = image(dtype, channels)
    keep = torch.rand(2, 1, 23, 31, generator=seeded(1)) > 0.5
    made = torch.randn(2, channels, 23, 31, generator=seeded(2))
    new = glue(old, made, keep, feather)
    assert new.dtype == dtype
    there = keep.expand_as(old)
    size = old.element_size()
    same = (bits(new).view(-1, size) == bits(old).view(-1, size)).all(dim=1).view(old.shape)
    assert same[there].all()
    assert not same[~there].all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_what_is_made_is_cut_and_rounded(dtype):
    old = image(dtype, 1, (1, 3))[:1]
    made = torch.tensor([-3.0, 0.5, 3.0]).view(1, 1, 1, 3)
    new = glue(old, made, torch.zeros(1, 1, 1, 3, dtype=torch.bool))
    ends = {torch.uint8: [0, 128, 255], torch.uint16: [0, 32768, 65535]}
    assert new.flatten().tolist() == ends.get(dtype, [0.0, 0.5, 1.0])


def test_the_old_image_fades_outside_of_what_is_kept():
    keep = torch.zeros(1, 1, 21, 21, dtype=torch.bool)
    keep[..., 10, 10] = True
    new = glue(torch.ones(1, 1, 21, 21), torch.zeros(1, 1, 21, 21), keep, feather=4)[0, 0]
    torch.testing.assert_close(new[10, 10:16], torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2, 0.0]))
    y, x = torch.meshgrid(torch.arange(21.0) - 10, torch.arange(21.0) - 10, indexing="ij")
    torch.testing.assert_close(new, (1 - torch.hypot(x, y) / 5).clamp(min=0))


def test_every_row_has_its_own_mask():
    keep = torch.tensor([True, False]).view(2, 1, 1, 1).expand(2, 1, 6, 6)
    new = glue(torch.ones(2, 1, 6, 6), torch.zeros(2, 1, 6, 6), keep)
    assert new[0].eq(1).all()
    assert new[1].eq(0).all()
