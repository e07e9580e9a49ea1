"""PSTN in timm's registry: what training scripts ask of a model, losses, and a real training."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.loss import (
    BinaryCrossEntropy,
    JsdCrossEntropy,
    LabelSmoothingCrossEntropy,
    SoftTargetCrossEntropy,
)
from timm.optim import create_optimizer_v2
from timm.utils import CheckpointSaver, ModelEmaV3, NativeScaler

import albu_learned as al
from albu_learned.timm import BackbonePSTN
from tests.timm.cases import folder_of_images

SCRIPT = Path(__file__).with_name("training.py")
ROOT = SCRIPT.parents[2]


def made(**arguments):
    torch.manual_seed(0)
    return timm.create_model("pstn", **{"backbone": "test_resnet", "num_classes": 3, **arguments})


def batch(count=6, size=32):
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))
    return images, torch.arange(count) % 3


def bare(net, x, seed=5):
    """Logits of the forward that the seed gives, without what they owe; and the KL."""
    other = copy.deepcopy(net)
    other.kl_weight = 0.0
    torch.manual_seed(seed)
    return other(x).detach(), net.kl(x).mean().detach()


def soft(y):
    return F.one_hot(y, 3).float()


LOSSES = {
    "cross entropy": (torch.nn.CrossEntropyLoss(), False),
    "soft": (SoftTargetCrossEntropy(), True),
    "smoothed": (LabelSmoothingCrossEntropy(0.1), False),
    "binary": (BinaryCrossEntropy(), True),
    "splits": (JsdCrossEntropy(num_splits=3), False),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_kl_joins_the_losses_of_timm(name, dtype):
    (criterion, dense), net, (x, y) = LOSSES[name], made(), batch()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        logits, kl = bare(net, x)
        torch.manual_seed(5)
        loss = criterion(net(x), soft(y) if dense else y)
        expected = criterion(logits, soft(y) if dense else y) + kl
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    assert all(part.grad is not None for part in net.parameters())


def test_the_kl_joins_the_loss_of_a_task():
    task = pytest.importorskip("timm.task")
    net, (x, y) = made(kl_weight=0.5), batch()
    whole = task.ClassificationTask(net, criterion=torch.nn.CrossEntropyLoss(), verbose=False)
    logits, kl = bare(net, x)
    torch.manual_seed(5)
    result = whole(x, y)
    torch.testing.assert_close(result["loss"], F.cross_entropy(logits, y) + 0.5 * kl)
    torch.testing.assert_close(result["output"], logits)
    whole.trainable_module.eval()
    with torch.no_grad():
        result = whole(x, y)
    torch.testing.assert_close(result["loss"], F.cross_entropy(result["output"], y))
    torch.testing.assert_close(result["output"].exp().sum(1), torch.ones(6))


def test_it_is_a_model_of_timm():
    assert "pstn" in timm.list_models()
    net = made(family="cpab", cells=2, prior_std=0.1, in_chans=1, drop_rate=0.2)
    assert isinstance(net, BackbonePSTN)
    assert isinstance(net.family, al.CPAB)
    assert net.prior_std == 0.1
    assert net.classifier.drop_rate == 0.2
    assert net.default_cfg["architecture"] == "test_resnet"
    config = timm.data.resolve_data_config({}, model=net)
    assert config["input_size"] == (3, 160, 160)
    assert net.num_classes == net.get_classifier().out_features == 3
    net.reset_classifier(7)
    assert net.num_classes == 7
    assert net.eval()(torch.rand(2, 1, 32, 32)).shape == (2, 7)
    *_, weight, bias = net.named_parameters()  # which `--clip-mode agc` leaves out
    assert [weight[0], bias[0]] == ["classifier.fc.weight", "classifier.fc.bias"]
    two = made(crops=2)
    assert two.eval()(batch()[0]).shape == (6, 3)
    assert made(stn=True).heads.deviation is None
    for how in ({"features_only": True}, {"num_classes": 0}):
        with pytest.raises(ValueError, match="A PSTN must have classes"):
            made(**how)
    says = "`prior_sdt` must be an argument of a PSTN or of its backbone .* mean `prior_std`"
    with pytest.raises(TypeError, match=says):
        made(prior_sdt=0.1)


def test_transformers_keep_their_own_settings():
    net = made(backbone="test_vit", img_size=32)
    net.set_grad_checkpointing()
    kept = net.no_weight_decay()
    assert "classifier.pos_embed" in kept & {name for name, _ in net.named_parameters()}
    x, y = batch()
    logits, kl = bare(net, x)
    torch.manual_seed(5)
    loss = torch.nn.CrossEntropyLoss()(net(x), y)
    torch.testing.assert_close(loss, F.cross_entropy(logits, y) + kl)
    loss.backward()


def test_it_is_saved_averaged_and_resumed(tmp_path):
    net, (x, y) = made(family="affine_cpab", cells=2), batch()
    net.to(memory_format=torch.channels_last)
    optimizer = create_optimizer_v2(net, opt="adamw", lr=1e-2)
    ema = ModelEmaV3(net, decay=0.5)
    scaler = NativeScaler(device="cpu")
    for _ in range(3):
        loss = torch.nn.CrossEntropyLoss()(net(x.contiguous(memory_format=torch.channels_last)), y)
        scaler(loss, optimizer, clip_grad=1.0, parameters=net.parameters())
        optimizer.zero_grad()
        ema.update(net)
    assert ema.module.eval()(x).shape == (6, 3)
    saver = CheckpointSaver(net, optimizer, model_ema=ema, checkpoint_dir=tmp_path)
    saver.save_checkpoint(0, 1.0)
    again = made(family="affine_cpab", cells=2, checkpoint_path=str(tmp_path / "last.pth.tar"))
    torch.testing.assert_close(again.eval()(x), ema.module(x))
    timm.models.resume_checkpoint(again, str(tmp_path / "last.pth.tar"))
    torch.testing.assert_close(again(x), net.eval()(x))
    other = made(family="affine_cpab", cells=2, prior_std=0.1)
    with pytest.raises(RuntimeError, match="`family` and `prior_std` must be those"):
        timm.models.resume_checkpoint(other, str(tmp_path / "last.pth.tar"))


def test_the_backbone_is_pretrained(tmp_path):
    torch.manual_seed(3)
    weights = timm.create_model("test_resnet", num_classes=3).state_dict()
    torch.save(weights, tmp_path / "weights.pt")
    where = {"file": str(tmp_path / "weights.pt"), "num_classes": 3}
    net = made(pretrained=True, pretrained_cfg_overlay=where)
    for name, value in net.classifier.state_dict().items():
        torch.testing.assert_close(value, weights[name])
    assert made().classifier.conv1[0].weight.ne(weights["conv1.0.weight"]).any()


def test_a_script_that_is_not_edited_trains_it(tmp_path):
    """Its `create_model` gets plain values; and it imports this package, no more."""
    folder_of_images(tmp_path / "data")
    options = ["--device-modules", "albu_learned.timm", "--no-prefetcher", "--workers", "0"]
    options += ["--model", "pstn", "--model-kwargs", "backbone=test_resnet", "prior_std=0.1"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, tmp_path / "data", *options, "--epochs", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line[6:]) for line in done.stdout.splitlines() if line[:5] == "BATCH"]
    assert len(lines) == 6
    start = 4 * (0.5 * (0.25 - 1) - torch.tensor(0.5).log())  # the KL of 4 latents at the start
    assert lines[0]["loss"] == pytest.approx(1.1 + float(start), abs=0.1)
    assert lines[-1]["loss"] != lines[0]["loss"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"backbone": None}, "`backbone` must be the name.*--model-kwargs backbone="),
        ({"backbone": "pstn"}, "`backbone` must be the name"),
        ({"backbone": "resnet181"}, "Did you mean `resnet18`"),
        ({"family": "rigid"}, "`family` must be one of"),
        ({"cells": 3}, "`cells` must be left out"),
        ({"prior_std": 0.0}, "`prior_std` must be"),
        ({"kl_weight": -1.0}, "`kl_weight` must be"),
        ({"crops": 0}, "`crops` must be"),
    ],
)
def test_wrong_settings_are_named(given, words):
    with pytest.raises(ValueError, match=words):
        made(**given)
