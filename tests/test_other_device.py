"""Fits, trainings and doors on another device than the CPU: what they make is the same, and nothing
is left behind. Methods themselves are asked in test_laws.py, families in families/test_laws.py."""

import pytest
import torch

import albu_learned as al
from albu_learned.pstn import diagnose
from tests.digits import digits
from tests.elsewhere import DEVICE, elsewhere


@pytest.fixture
def _there():
    with elsewhere():
        yield


def assert_same(found, wanted):
    for name, value in wanted.state_dict().items():
        assert found.state_dict()[name].device.type == "cpu", name
        torch.testing.assert_close(found.state_dict()[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("family", [None, al.Affine(), al.CPAB((3, 3))], ids=repr)
def test_warps_are_fitted(family):
    images, labels = digits(3, classes=2)
    wanted = al.ThetaWarp.fit(images, labels, family=family, progress=False)
    with elsewhere():
        found = al.ThetaWarp.fit(images, labels, family=family, progress=False, device=DEVICE)
    assert_same(found, wanted)


@pytest.mark.parametrize("network", ["dense", "convolutional", "pca"])
def test_class_vaes_are_fitted(network):
    images, labels = digits(6)
    how = {"network": network, "latent": 2, "expect": False, "reject": 0.05, "progress": False}
    how |= {} if network == "pca" else {"width": 8, "steps": 10}
    wanted = al.ClassVAE.fit(images, labels, **how)
    with elsewhere():
        assert_same(al.ClassVAE.fit(images, labels, device=DEVICE, **how), wanted)
        there, numbers = wanted.to(DEVICE), labels.to(DEVICE)
        for sampler in ("prior", "posterior", "mixture", "convex"):
            samples = there.with_arguments(sampler=sampler).to(DEVICE).sample(numbers)
            assert samples.device == DEVICE
            assert there.doubtful(samples, numbers).shape == numbers.shape


@pytest.mark.usefixtures("_there")
def test_diffusion_models_are_fitted_and_draw():
    pytest.importorskip("diffusers")
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    how = {"size": 32, "width": 8, "autoencoder_steps": 2, "steps": 2, "progress": False}
    ldm = al.LatentDiffusion.fit(images, device=DEVICE, **how)
    assert "Fitted" in ldm.summary()
    boxes = al.Rows.of([torch.tensor([[0.3, 0.3, 0.6, 0.6]], device=DEVICE)] * 2)
    batch = al.Batch(images=images[:2].to(DEVICE), boxes=boxes)
    ways = [{"sampler": name, "mask": "outside"} for name in ("decoder-only", "psld", "blending")]
    ways += [{"known": name, "coarse": 4} for name in ("gaussian-blur", "downsample")]
    ways += [{"grain": True}]
    for way in ways:
        vary = al.PSLDInpaint(ldm, steps=2, **way).to(DEVICE)
        assert vary(batch).images.device == DEVICE


def pstn(prior_std=0.1, **how):
    torch.manual_seed(0)
    classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    return al.PSTN(classifier, prior_std=prior_std, example=(1, 8, 8), **how)


@pytest.mark.parametrize(
    "how",
    [
        {"family": al.Affine(), "samples": 2},
        {"family": al.AffineCPAB((2, 2))},
        {"family": al.CPAB((3, 3)), "stn": True},
    ],
    ids=["affine", "affine and CPAB", "STN"],
)
def test_pstns_learn_as_on_the_cpu(how):
    images, labels = digits(4)
    found = {}
    for device in ("cpu", DEVICE):
        with elsewhere():
            model = pstn(**how).to(device)
            x, y = (images.float() / 255).to(device), labels.to(device)
            optimizer = torch.optim.Adam(model.parameters())
            generator = torch.Generator().manual_seed(0)
            model.predict(x, samples=3, return_spread=True, generator=generator)
            torch.manual_seed(1)
            model.loss(x, y).backward()
            optimizer.step()
            torch.nn.CrossEntropyLoss()(model(x), y).backward()
            diagnose(model, x)
            if not how.get("stn"):
                for warp in (model.as_warp(x), model.as_warp(marginal=x)):
                    assert next(warp.buffers()).device.type == "cpu"
                    assert warp.to(device)(x).device == x.device
            found[device] = [value.cpu() for value in model.state_dict().values()]
    for here, there in zip(*found.values(), strict=True):
        torch.testing.assert_close(there, here)


@pytest.mark.usefixtures("_there")
def test_pstns_are_tuned():
    images, labels = digits(6)
    how = {"steps": 2, "device": DEVICE, "progress": False}
    tuned = al.PSTN.tune(pstn, images.float() / 255, labels, prior_std=(0.05, 0.1), **how)
    assert {trial.prior_std for trial in tuned.trials} == {0.05, 0.1}


def test_kornia_carries_all_targets():
    K = pytest.importorskip("kornia.augmentation")
    from albu_learned import kornia as doors

    images, labels = digits(2)
    rows = len(images)
    boxes = torch.tensor([[[1.0, 1, 5, 5]]]).repeat(rows, 1, 1)
    given = [images / 255, labels, boxes, torch.rand(rows, 1, 8, 8), torch.rand(rows, 3, 2) * 8]
    with elsewhere():
        augment = doors.LearnedAugmentationSequential(
            K.RandomHorizontalFlip(),
            doors.ClassVAE(al.ClassVAE((1, 8, 8), 3), p=0.5),
            doors.ThetaWarp(std=0.1, p=0.5),
            doors.ZetaMixup(num_classes=3),
            data_keys=["input", "class", "bbox_xyxy", "mask", "keypoints"],
        ).to(DEVICE)
        out = augment(*[value.to(DEVICE) for value in given])
        assert [value.device for value in out] == [DEVICE] * 5


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_batches_of_yolo_are_changed_as_on_the_cpu(task):
    pytest.importorskip("ultralytics")
    from albu_learned.ultralytics.device import change_batch
    from tests.ultralytics import scenes
    from tests.ultralytics.test_device import OBJECTS, collated

    for method in (scenes.rotate(20), al.ZetaMixup(gamma=1.5, min_weight=0.1)):
        found = {}
        for device in ("cpu", DEVICE):
            with elsewhere():
                batch = {
                    key: value.to(device) if isinstance(value, torch.Tensor) else value
                    for key, value in collated(OBJECTS, task).items()
                }
                step = scenes.at_work(method)
                step.to(device)
                torch.manual_seed(0)
                assert change_batch(step, batch, task) == 3
                tensors = {k: v for k, v in batch.items() if isinstance(v, torch.Tensor)}
                assert {value.device.type for value in tensors.values()} == {str(device)}
                found[device] = {key: value.cpu() for key, value in tensors.items()}
        for key, value in found["cpu"].items():
            if isinstance(method, al.Warp):
                torch.testing.assert_close(found[DEVICE][key], value, msg=key)


def test_classified_batches_of_timm_and_yolo_are_changed():
    pytest.importorskip("timm")
    pytest.importorskip("ultralytics")
    from albu_learned.timm import ZetaMixup
    from albu_learned.ultralytics.device import change_classified
    from tests.ultralytics.scenes import at_work

    images, labels = digits(2)
    with elsewhere():
        x, y = (images.expand(-1, 3, -1, -1) / 255).to(DEVICE), labels.to(DEVICE)
        mixed, soft = ZetaMixup(num_classes=3)(x, y)
        assert mixed.device == soft.device == DEVICE
        for method in (al.ZetaMixup(num_classes=3), al.ClassVAE((3, 8, 8), 3)):
            batch = {"img": x.clone(), "cls": y}
            step = at_work(method, parts=frozenset({"images", "labels"}), num_classes=3)
            step.to(DEVICE)
            assert change_classified(step, batch) == 6
            assert batch["img"].device == batch["cls"].device == DEVICE


def test_arms_are_compared(tmp_path, monkeypatch):
    from albu_learned.comparison import settings

    monkeypatch.setattr(settings, "_device", str)  # which knows two
    np, (images, labels) = pytest.importorskip("numpy"), digits(14)
    np.savez(tmp_path / "digits.npz", x=images[:, 0].numpy(), y=labels.numpy())
    arms = ["recipe", "zeta-mixup"]
    how = {"sizes": [4], "seeds": 1, "steps": 4, "batch": 6, "say": str}
    with elsewhere():
        found = al.compare(
            tmp_path / "digits.npz", arms, device=str(DEVICE), out=tmp_path / "out", **how
        )
    assert {*arms} <= {facts.name for facts in found.outcome.ran}
