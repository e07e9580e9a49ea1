"""The texture that decoding loses, on what was made anew."""

import pytest
import torch

import albu_learned as al
from albu_learned.methods.psld.grain import grain
from tests.methods.psld import tiny


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def colours(size=(64, 48), seed=0):
    """White noise whose channels belong together."""
    mix = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.4, 0.0], [0.5, 0.1, 0.3]])
    return (mix @ torch.randn(3, size[0] * size[1], generator=seeded(seed))).view(1, 3, *size) / 50


def fine(image):
    """Second differences, as the gate of sharpness looks at."""
    inner = image[..., 1:-1, 1:-1]
    sides = image[..., 2:, 1:-1] + image[..., :-2, 1:-1]
    return sides + image[..., 1:-1, 2:] + image[..., 1:-1, :-2] - 4 * inner


ALL = torch.ones(1, 1, 64, 48, dtype=torch.bool)


def test_it_is_as_strong_and_as_coloured_as_what_is_lost():
    lost = colours()
    made = grain(lost, ALL, torch.tensor([3]))
    for channel in range(3):
        ratio = fine(made)[0, channel].std() / fine(lost)[0, channel].std()
        assert 0.9 < ratio < 1.1
    together = torch.corrcoef(fine(made)[0].flatten(1))
    torch.testing.assert_close(together, torch.corrcoef(fine(lost)[0].flatten(1)), atol=0.1, rtol=0)


def test_it_is_another_for_every_seed_and_never_what_was_there():
    lost = colours()
    first, again, other = (grain(lost, ALL, torch.tensor([seed])) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    for apart in (first, lost):
        both = torch.stack([apart.flatten(), other.flatten()])
        assert torch.corrcoef(both)[0, 1].abs() < 0.1
    two = grain(torch.cat([lost, 2 * lost]), ALL.expand(2, -1, -1, -1), torch.tensor([3, 4]))
    assert torch.equal(two[:1], first)  # whatever is beside it
    torch.testing.assert_close(two[1:], 2 * other)


def test_it_is_as_strong_as_in_the_erased_parts_and_edges_do_not_count():
    lost = colours()
    lost[..., :32, :] *= 10  # of what is kept
    erased = ALL.clone()
    erased[..., :32, :] = False
    made = grain(lost, erased, torch.tensor([1]))
    plain = grain(colours(), ALL, torch.tensor([1]))
    assert 0.8 < fine(made).std() / fine(plain).std() < 1.2
    edge = colours()
    edge[..., 20] += 1  # an outline that was not decoded
    assert fine(grain(edge, ALL, torch.tensor([1]))).std() < 3 * fine(plain).std()


def test_content_is_no_texture():
    ramp = (torch.arange(64) / 64).view(1, 1, 64, 1).expand(1, 3, 64, 48)
    wave = torch.sin(2 * torch.pi * 2 * ramp)  # of 32 pixels
    assert grain(wave, ALL, torch.tensor([1])).abs().max() < 0.1
    assert torch.equal(grain(torch.zeros(1, 3, 64, 48), ALL, torch.tensor([1])), 0 * wave)
    assert torch.equal(grain(colours(), ~ALL, torch.tensor([1])), 0 * wave)


def test_what_is_new_is_no_softer_than_what_is_kept():
    """A decoder that smooths: all that is made of noise on grey is grey."""
    how = {"steps": 2, "feather": 0, "decoys": 0.0, "grow": 0.0, "grain": True}
    vary = al.PSLDInpaint(tiny.model("tiny"), "outside", **how)
    image = 0.5 + colours((32, 32))
    boxes = al.Rows.of([torch.tensor([[0.0, 0.0, 0.5, 1.0]])])
    batch = al.Batch(images=image, boxes=boxes)
    plan = vary.planned(batch, seeded())
    vary._lost = lambda images: images - 0.5
    vary.unglued = lambda images, plan: torch.full_like(images, 0.5)
    made = vary.apply(batch, plan).images
    assert torch.equal(made[..., :16], image[..., :16])
    kept, new = fine(made)[..., :14].std(), fine(made)[..., 16:].std()
    assert 0.7 < new / kept < 1.3
    vary.grain = False
    assert (vary.apply(batch, plan).images[..., 16:] == 0.5).all()


def test_what_is_lost_is_what_decoding_takes_away():
    ldm = tiny.model()
    vary = al.PSLDInpaint(ldm, steps=2)
    image = torch.rand(1, 3, 16, 16, generator=seeded())
    torch.testing.assert_close(vary._lost(image), image - ldm.decode(ldm.encode(image)))
    grey = torch.rand(1, 1, 18, 16, generator=seeded())
    assert vary._lost(grey).shape == grey.shape


def test_grain_is_yes_or_no():
    with pytest.raises(TypeError, match=r"`grain` must be True or False, got 0\.5"):
        al.PSLDInpaint("my/ldm", grain=0.5)
