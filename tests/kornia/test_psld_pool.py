"""A pool of variants in Kornia: images of a batch are found by their pixels."""

import pytest
import torch
from kornia.augmentation import AugmentationSequential

pytest.importorskip("PIL", reason="the extra `cli` is not installed")
pytest.importorskip("tqdm", reason="the extra `cli` is not installed")

import albu_learned as al
from albu_learned.kornia import GenerateTransform, LearnedAugmentationSequential
from tests import pools


def test_it_serves_in_our_container_and_is_refused_in_kornia_s(tmp_path):
    pool, _ = pools.pool_of(tmp_path, pools.scenes(2))
    images = torch.from_numpy(pools.scenes(2)).permute(0, 3, 1, 2) / 255
    serve = GenerateTransform(al.PSLDPool(pool), p=1.0)
    out = LearnedAugmentationSequential(serve, data_keys=["input"])(images)
    assert serve.method.hits == 2
    assert torch.equal(out[..., 12:20, 18:30], images[..., 12:20, 18:30])
    assert ((out - images).flatten(1).abs().amax(1) > 0).all()
    with pytest.raises(RuntimeError, match="PSLDPool needs images to plan its change"):
        AugmentationSequential(GenerateTransform(al.PSLDPool(pool), p=1.0))(images)
