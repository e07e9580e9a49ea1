"""Ultralytics' own losses on batches that learned methods have changed."""

import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel, OBBModel, PoseModel, SegmentationModel

from albu_learned import ZetaMixup
from albu_learned.ultralytics.device import change_batch
from tests.ultralytics import scenes
from tests.ultralytics.scenes import at_work
from tests.ultralytics.test_device import Fade, collated

MODELS = {
    "detect": (DetectionModel, "yolo11n.yaml"),
    "segment": (SegmentationModel, "yolo11n-seg.yaml"),
    "pose": (PoseModel, "yolo11n-pose.yaml"),
    "obb": (OBBModel, "yolo11n-obb.yaml"),
}
PICTURES = [
    [scenes.rectangle(8, 8, 40, 36), scenes.bar(44, 46, 24, 12, 20)],
    [],
    [scenes.rectangle(20, 24, 52, 56)],
]


@pytest.fixture(scope="module")
def model_of():
    made = {}

    def of(task):
        if task not in made:
            kind, name = MODELS[task]
            more = {"data_kpt_shape": (4, 3)} if task == "pose" else {}
            made[task] = kind(name, nc=6, verbose=False, **more)
            made[task].args = get_cfg()
            made[task].train()
        made[task].criterion = None
        return made[task]

    return of


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("task", MODELS)
def test_losses_are_finite_and_have_gradients(task, overlap, model_of):
    torch.manual_seed(0)
    model = model_of(task)
    model.args.overlap_mask = overlap
    options = {"mask_overlap": overlap} if task == "segment" else {}
    for methods in ([scenes.rotate(15)], [ZetaMixup()], [scenes.bend(0.08), Fade(0.4)]):
        batch = collated(PICTURES, task, (64, 64), **options)
        for method in methods:
            change_batch(at_work(method), batch, task)
        loss, parts = model(batch)
        assert torch.isfinite(loss).all()
        assert len(parts) >= 3
        model.zero_grad()
        loss.sum().backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
