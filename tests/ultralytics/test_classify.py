"""Mixing in a classifier: soft labels at its loss, and everything beside the training as it was."""

import logging

import pytest
import torch

from albu_learned.ultralytics import install
from tests.ultralytics.runs import SETTINGS, STILL, Recorder, model, spec_file


@pytest.fixture
def losses(monkeypatch):
    """What cross entropy was given: predictions and labels, and whether they were augmented."""
    seen = []
    real = torch.nn.functional.cross_entropy

    def recorded(prediction, target, **settings):
        seen.append((prediction.requires_grad, target))
        return real(prediction, target, **settings)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", recorded)
    return seen


def test_labels_are_soft_at_the_loss(data, tmp_path, losses, caplog):
    spec = spec_file(tmp_path, "method: Halves, p: 1, until_epoch: 1")
    made = install(model("classify"), spec)
    record = Recorder().listen(made)
    plotted, validated = [], []
    made.add_callback("on_train_end", lambda t: plotted.extend(p.name for p in t.plots))
    made.add_callback("on_val_batch_end", lambda v: validated.append(v.batch_i))
    settings = {**SETTINGS, **STILL, "plots": True, "val": True, "exist_ok": True}
    with caplog.at_level(logging.INFO, logger="ultralytics"):
        made.train(data=data("classify"), project=str(tmp_path), name="run", **settings)
    trained = [target for grad, target in losses if grad]
    assert [target.ndim for target in trained] == [2, 2, 1, 1]
    for target, batch in zip(trained[:2], record.epochs[0], strict=True):
        assert target.dtype == torch.float32
        assert torch.allclose(target.sum(1), torch.ones(4))
        assert torch.equal(target, batch["cls"])
        assert set(target.flatten().tolist()) <= {0.0, 0.5, 1.0}
    assert all(target.ndim == 1 for grad, target in losses if not grad)  # validation
    assert validated
    for name in ("train_batch0.jpg", "train_batch2.jpg"):
        assert (tmp_path / "run" / name).is_file()
    lines = [r.message for r in caplog.records if "albu_learned:" in r.message]
    assert lines == ["albu_learned: Halves on the batch p=1, epochs 0-0"]


def test_labels_are_soft_whether_p_fires_or_not(data, tmp_path, losses):
    spec = spec_file(tmp_path, "method: ZetaMixup, gamma: 2.8, p: 0.5")
    made = install(model("classify"), spec)
    given = {**SETTINGS, **STILL, "epochs": 4}
    made.train(data=data("classify"), project=str(tmp_path), **given)
    assert {target.ndim for grad, target in losses if grad} == {2}


def test_validation_is_left_alone(data, tmp_path):
    spec = spec_file(tmp_path, "method: Flood, p: 1, stage: image")
    images = []

    def keep(validator):
        last = validator.preprocess

        def recorded(batch):
            assert "albu_learned" not in batch
            images.append(batch["img"].float())
            return last(batch)

        validator.preprocess = recorded

    made = install(model("detect"), spec)
    made.add_callback("on_val_start", keep)
    given = {**SETTINGS, **STILL, "epochs": 1, "val": True}
    made.train(data=data("detect"), project=str(tmp_path), **given)
    assert images
    assert all((batch.amax(1) == batch.amin(1)).all() for batch in images)  # all grey
