"""PSTN in classification: trained, resumed and opened by the host, with the KL in its loss."""

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence
from ultralytics import YOLO
from ultralytics.nn.tasks import ClassificationModel

from albu_learned.pstn.motion import theta_of
from albu_learned.ultralytics import PSTNTrainer, install
from albu_learned.ultralytics.host import callbacks
from albu_learned.ultralytics.pstn_model import PSTNClassificationModel, check_settings
from tests.ultralytics.runs import MODEL, SETTINGS, STILL, Recorder, model, spec_file

ROOT = Path(__file__).parents[2]
GIVEN = {"family": "cpab", "cells": 2, "prior_std": 0.1, "kl_weight": 0.5}


def made(**settings):
    torch.manual_seed(0)
    plain = ClassificationModel(MODEL["classify"], nc=2, verbose=False)
    return PSTNClassificationModel.around(plain, check_settings(settings))


def batch():
    torch.manual_seed(1)
    return {"img": torch.rand(4, 3, 32, 32), "cls": torch.tensor([0, 1, 1, 0])}


def shown(items):
    """A dict, or in older releases the one number."""
    return items["loss"] if isinstance(items, dict) else items


def train(yolo, data, folder, name="run", **settings):
    given = {**SETTINGS, **STILL, "imgsz": 32, "trainer": PSTNTrainer, **settings}
    yolo.train(data=data("classify"), project=str(folder), name=name, **given)
    return yolo


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A training, and what each batch and each loss was."""
    yolo, losses = model("classify"), []
    record = Recorder().listen(yolo)
    yolo.add_callback("on_train_batch_end", lambda t: losses.append(float(t.loss.detach())))
    train(yolo, data, tmp_path_factory.mktemp("runs"), val=True, nbs=4, pstn=GIVEN)
    return yolo, record, losses


def test_the_loss_of_the_host_has_the_kl():
    net, given = made(kl_weight=0.5).train(), batch()
    with torch.no_grad():
        net.pstn.heads.mean.bias.fill_(0.7)
    torch.manual_seed(2)
    loss, items = net(given)
    torch.manual_seed(2)
    theta = net.pstn.theta(given["img"])
    layers = copy.deepcopy(net.model)
    logits = layers(net.pstn.move(given["img"], theta).flatten(0, 2))
    kl = kl_divergence(Normal(*net.pstn.posterior(given["img"])), Normal(0.0, 1.0)).sum((1, 2))
    torch.testing.assert_close(loss, F.cross_entropy(logits, given["cls"]) + 0.5 * kl.mean())
    assert shown(items) == loss
    assert not shown(items).requires_grad
    loss.backward()
    assert all(part.grad is not None for part in net.parameters())
    preds = net(given["img"])
    net.loss(given, preds)[0].backward()  # as the host does with a compiled model
    with pytest.raises(RuntimeError, match="whose KL no loss has taken"):
        F.cross_entropy(net(given["img"]), given["cls"]).backward()


def test_it_predicts_the_mean_over_motions():
    net, given = made(prior_std=0.2).eval(), batch()
    with torch.no_grad():
        probabilities, scores = net(given["img"])
        noise = net.pstn.noise
        posterior = net.pstn.posterior(given["img"])
        every = [
            net.network(
                net.pstn.move(given["img"], theta_of(net.pstn, posterior, one[None]))[0, :, 0]
            )
            for one in noise
        ]
        expected = torch.stack(every).softmax(-1).mean(0)
        loss, items = net(given)
    torch.testing.assert_close(probabilities, expected)
    torch.testing.assert_close(scores, expected.log())
    torch.testing.assert_close(loss, F.nll_loss(expected.log(), given["cls"]))
    assert shown(items) == loss


def test_a_prediction_in_training_changes_nothing():
    net, x = made().train(), batch()["img"]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = net.pstn.predict(x, generator=torch.Generator().manual_seed(0))
    assert net.model[-1].training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    again = net.eval().pstn.predict(x, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, again)


def test_a_detector_is_no_classifier(data, tmp_path):
    with pytest.raises(ValueError, match=r"such as yolo11n-cls.yaml, .* ends with Detect"):
        train(YOLO("yolo11n.yaml"), data, tmp_path)


def test_it_is_in_the_tree_of_modules_once_and_copies_are_whole():
    net, given = made().eval(), batch()
    names = list(net.state_dict())
    assert len({net.state_dict()[name].data_ptr() for name in names}) == len(names)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        with torch.no_grad():
            torch.testing.assert_close(other(given["img"])[0], net(given["img"])[0])
            other.model[-1].linear.bias += torch.tensor([10.0, 0.0])
            assert other(given["img"])[0][:, 0].min() > 0.99, "its own layers"
            assert net(given["img"])[0][:, 0].max() < 0.9
    fused = copy.deepcopy(net).fuse(verbose=False)
    with torch.no_grad():
        torch.testing.assert_close(fused(given["img"])[0], net(given["img"])[0])


def test_the_host_trains_it(trained):
    yolo, record, losses = trained
    assert isinstance(yolo.model, PSTNClassificationModel)
    assert len(losses) == 2 * len(record.epochs[0])
    start = 0.5 * 14 * (0.5 * (0.25 - 1) - torch.tensor(0.5).log())  # of 14 latents at the start
    assert losses[0] == pytest.approx(0.69 + float(start), abs=0.3)
    assert yolo.model.pstn.kl_weight == 0.5
    assert yolo.model.pstn.prior_std == 0.1
    assert yolo.trainer.ema.ema.pstn is not yolo.trainer.model.pstn
    moved = yolo.trainer.model.pstn.heads.deviation.weight
    assert moved.abs().max() > 0, "the localiser has learned"


def test_a_checkpoint_is_opened_by_another_process(trained, tmp_path):
    yolo, _, _ = trained
    best = yolo.trainer.best
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    torch.save(image, tmp_path / "image.pt")
    code = f"""
import torch
from ultralytics import YOLO
yolo = YOLO({str(best)!r})
found = yolo.predict(torch.load({str(tmp_path / "image.pt")!r}), imgsz=32, verbose=False)
print("FOUND", found[0].probs.data.tolist(), type(yolo.model).__name__)
print("TOP1", yolo.val(imgsz=32, plots=False, workers=0, data={yolo.trainer.args.data!r}).top1)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    (found,) = re.findall(r"FOUND \[(.*), (.*)\] PSTNClassificationModel", done.stdout)
    with torch.no_grad():
        expected = YOLO(best).model.eval()(image)[0][0].tolist()
    assert [float(each) for each in found] == pytest.approx(expected, abs=1e-4)
    assert "TOP1" in done.stdout


def test_without_its_trainer_it_does_not_train(trained, data, tmp_path):
    yolo = YOLO(trained[0].trainer.best)
    with pytest.raises(ValueError, match=r"`trainer` must be one that knows a PSTN.*PSTNTrainer"):
        train(yolo, data, tmp_path, trainer=None)


def test_it_is_trained_further_as_it_was(trained, data, tmp_path):
    before = YOLO(trained[0].trainer.best).model.state_dict()
    yolo = train(YOLO(trained[0].trainer.best), data, tmp_path, epochs=1, lr0=1e-9, optimizer="SGD")
    assert yolo.model.yaml["pstn"] == check_settings(GIVEN)
    after = yolo.trainer.model.state_dict()
    assert before.keys() == after.keys()
    for name in ("pstn.heads.mean.weight", "pstn.localiser.layers.0.weight", "model.0.conv.weight"):
        torch.testing.assert_close(after[name], before[name], rtol=2e-3, atol=1e-4)
    with pytest.raises(ValueError, match="`pstn` must be left out"):
        train(YOLO(trained[0].trainer.best), data, tmp_path, pstn={"prior_std": 0.3})


class Stop(Exception):  # noqa: N818, no error
    pass


def stop(trainer):
    raise Stop


def test_it_is_resumed(data, tmp_path):
    yolo = model("classify")
    yolo.add_callback("on_model_save", stop)
    with pytest.raises(Stop):
        train(yolo, data, tmp_path, pstn=GIVEN, epochs=2)
    last = tmp_path / "run" / "weights" / "last.pt"
    again = YOLO(last)
    begun = []
    again.add_callback("on_train_epoch_start", lambda trainer: begun.append(trainer.epoch))
    again.train(resume=True, trainer=PSTNTrainer)
    assert begun == [1]
    assert again.model.yaml["pstn"] == check_settings(GIVEN)


def test_settings_go_along_to_other_processes(data, tmp_path):
    """Which are given the class, the host's own arguments, and the callbacks."""
    arguments = {**SETTINGS, "model": MODEL["classify"], "data": data("classify")}
    arguments["project"] = str(tmp_path)
    listed = callbacks.get_default_callbacks()
    listed["on_train_start"].append(stop)
    before = {event: list(functions) for event, functions in listed.items()}
    first = PSTNTrainer(overrides={**arguments, "pstn": GIVEN}, _callbacks=listed)
    event = "on_pretrain_routine_start"
    assert listed[event] == before[event], "not in those of the caller"
    assert "pstn" not in vars(first.args)
    second = PSTNTrainer(overrides=vars(first.args), _callbacks=copy.deepcopy(first.callbacks))
    assert second.given == check_settings(GIVEN)
    assert stop in second.callbacks["on_train_start"]


def test_with_a_spec(data, tmp_path, caplog):
    yolo = install(model("classify"), spec_file(tmp_path, "method: Halves, p: 1"))
    record = Recorder().listen(yolo)
    train(yolo, data, tmp_path, pstn={}, epochs=1)
    assert all(each["cls"].ndim == 2 for each in record.epochs[0]), "soft labels"
    assert yolo.model.pstn.prior_std == 0.05


def test_export_is_refused(trained):
    with pytest.raises(NotImplementedError, match="A PSTN must predict in PyTorch"):
        YOLO(trained[0].trainer.best).export(format="torchscript", imgsz=32)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (0.05, TypeError, "`pstn` must be a dict"),
        ({"prior_sd": 0.1}, ValueError, "Did you mean `prior_std`"),
        ({"family": "rigid"}, ValueError, "`family` must be one of"),
        ({"cells": 3}, ValueError, "`cells` must be left out"),
        ({"prior_std": 0}, ValueError, "`prior_std` must be"),
        ({"kl_weight": -1}, ValueError, "`kl_weight` must be"),
    ],
)
def test_wrong_settings_are_named(given, error, words):
    with pytest.raises(error, match=words):
        PSTNClassificationModel.around(
            ClassificationModel(MODEL["classify"], nc=2, verbose=False), check_settings(given)
        )
