"""What a PSTN has learned, in timm: as a transform, in a policy, and as an artifact of a spec."""

import pytest
import torch
from timm.data import create_transform
from timm.data.auto_augment import rand_augment_transform

from albu_learned.timm import PosteriorWarp, use_in_policies
from albu_learned.timm.pictures import picture_to
from tests.cases import posterior_model
from tests.timm.cases import distinct, loader, spec_file, square

MEAN, STD = (0.4, 0.5, 0.6), (0.25, 0.2, 0.3)


def save(folder, form, **how):
    images = torch.cat([picture_to(square(label)) for label in range(3)])
    model = posterior_model(**how)
    warp = model.as_warp(images, marginal=images if form == "marginal" else None)
    warp.save_pretrained(folder)
    return warp


@pytest.mark.parametrize("form", ["looks", "marginal"])
def test_a_picture_is_warped_as_the_core_warps_it(form, tmp_path):
    core, picture = save(tmp_path, form), square(1)
    torch.manual_seed(0)
    out = PosteriorWarp(tmp_path, p=1.0)(picture)
    torch.manual_seed(0)
    torch.rand(())  # which decides about p
    assert torch.equal(picture_to(out), core(picture_to(picture)))
    assert out.tobytes() != picture.tobytes()
    assert PosteriorWarp(tmp_path, p=0.0)(picture) is picture
    told = PosteriorWarp(tmp_path, scale=0.5, padding="zeros").method
    assert (told.scale, told.padding) == (0.5, "zeros")


def test_it_stands_among_torchvision_s_transforms(tmp_path):
    save(tmp_path, "looks")
    compose = create_transform((3, 32, 32), is_training=True, no_aug=True)
    compose.transforms.insert(0, PosteriorWarp(tmp_path, p=1.0))
    assert compose(square()).shape == (3, 32, 32)
    with pytest.raises(ValueError, match="must have 3 channels"):
        compose(square(mode="L"))


def test_in_a_policy(tmp_path):
    save(tmp_path, "looks")
    policy = rand_augment_transform("rand-m9-n1", {}, use_in_policies(tmp_path))
    torch.manual_seed(0)
    assert len({policy(square()).tobytes() for _ in range(8)}) > 2


def first_batch(spec):
    torch.manual_seed(0)
    return next(iter(loader(spec, mean=MEAN, std=STD)))


@pytest.mark.parametrize("stage", ["image", "sample", "batch"])
def test_a_spec_shows_it_pictures_in_0_1_at_every_stage(stage, tmp_path):
    """A deterministic one tells: it depends on nothing but what it sees."""
    core = save(tmp_path / "warp", "looks", stn=True)
    spec = spec_file(tmp_path, f"- {{artifact: warp, p: 1, stage: {stage}}}")
    images, target = first_batch(spec)
    plain, same = first_batch(spec_file(tmp_path, "- {artifact: warp, p: 0}"))
    assert torch.equal(target, same)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    expected = core(plain * std + mean)
    torch.testing.assert_close(images * std + mean, expected, rtol=0, atol=1.01 / 255)
    assert (expected - plain * std - mean).abs().max() > 0.2


def test_a_marginal_in_a_spec(tmp_path):
    save(tmp_path / "warp", "marginal")
    images, target = first_batch(spec_file(tmp_path, "- {artifact: warp, p: 1}"))
    assert distinct(images) == 12  # of three different squares
    for image, label in zip(images, target.tolist(), strict=True):
        assert image.flatten(1).amax(dim=1).argmax() == label
