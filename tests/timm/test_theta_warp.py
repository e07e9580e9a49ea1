"""ThetaWarp in timm: as a transform, inline in a spec, and as the artifact of a fit."""

import pytest
import torch
from PIL import Image
from timm.data import create_transform

import albu_learned as al
from albu_learned.timm import ThetaWarp
from tests.timm.cases import (
    NAMES,
    distinct,
    loader,
    spec_file,
    square,
    workers_differ_and_a_seed_repeats,
)


def test_a_picture_is_warped_as_the_core_warps_it():
    picture = square(1)
    torch.manual_seed(0)
    out = ThetaWarp(std=0.1, p=1.0)(picture)
    assert (out.size, out.mode) == (picture.size, "RGB")
    assert out.tobytes() != picture.tobytes()
    torch.manual_seed(0)
    assert ThetaWarp(std=0.1, p=1.0)(picture).tobytes() == out.tobytes()
    assert ThetaWarp(p=0.0)(picture) is picture
    seldom = ThetaWarp(p=0.25, cells=(2, 2))
    assert 3 <= sum(seldom(picture) is not picture for _ in range(40)) <= 20


def test_it_stands_among_torchvision_s_transforms():
    compose = create_transform((3, 32, 32), is_training=True, no_aug=True)
    compose.transforms.insert(0, ThetaWarp(std=0.05, p=1.0))
    assert compose(Image.new("RGB", (40, 30))).shape == (3, 32, 32)


def test_one_of_classes_points_to_a_spec(tmp_path):
    al.ThetaWarp(distributions=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="must need nothing but the image for ThetaWarp"):
        ThetaWarp(tmp_path)
    with pytest.raises(ValueError, match="`std` must be left out"):
        ThetaWarp(tmp_path, std=0.05)


@pytest.mark.parametrize("stage", ["image", "sample", "batch"])
def test_inline_in_a_spec(tmp_path, stage):
    method = "method: ThetaWarp, std: 0.08, family: {CPAB: {cells: [2, 2]}}"
    spec = spec_file(tmp_path, f"- {{{method}, p: 1, stage: {stage}}}")
    torch.manual_seed(0)
    images, target = next(iter(loader(spec)))
    assert distinct(images) == 12  # of three different squares
    assert sorted(set(target.tolist())) == [0, 1, 2]
    for image, label in zip(images, target.tolist(), strict=True):
        assert image.flatten(1).amax(dim=1).argmax() == label  # a warp changes no class


def test_workers_and_seeds(tmp_path):
    spec = spec_file(tmp_path, "- {method: ThetaWarp, std: 0.08, p: 1}")
    workers_differ_and_a_seed_repeats(loader, spec)


def test_an_artifact_of_classes_moves_each_as_it_was_fitted(tmp_path):
    method = al.ThetaWarp(al.Affine(), std=0.1, distributions=3)
    with torch.no_grad():
        method.factor[:2] = 0
    method.about = al.About(classes=list(NAMES))
    method.save_pretrained(tmp_path / "warp")
    images, target = next(iter(loader(spec_file(tmp_path, "- {artifact: warp, p: 1}"))))
    plain, _ = next(iter(loader(spec_file(tmp_path, "- {artifact: warp, p: 0}"))))
    by_class = {label: distinct(images[target == label]) for label in range(3)}
    assert by_class == {0: 1, 1: 1, 2: int((target == 2).sum())}
    assert distinct(plain) == 3
