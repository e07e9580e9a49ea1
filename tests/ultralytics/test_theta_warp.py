"""ThetaWarp in Ultralytics: inline in a spec and by its box options; labels stay with pixels."""

import numpy as np
import pytest
import torch
from ultralytics.utils.instance import Instances

import albu_learned as al
from albu_learned.ultralytics.objects import move
from albu_learned.ultralytics.sample import change_labels
from tests.ultralytics.runs import spec_file, train
from tests.ultralytics.scenes import at_work, rectangle
from tests.ultralytics.shapes import SIZE
from tests.ultralytics.test_training import lit

RECTANGLES = [(40, 50, 110, 90), (130, 120, 200, 230)]
JOINTS = np.array([[[60, 70, 2], [100, 60, 2]], [[150, 200, 2], [180, 140, 2]]], np.float32)


def labels(with_segments):
    image = np.zeros((256, 256, 3), np.uint8)
    for n, (x1, y1, x2, y2) in enumerate(RECTANGLES):
        image[y1:y2, x1:x2] = 0
        image[y1:y2, x1:x2, n] = 255
    for x, y in JOINTS[..., :2].reshape(-1, 2).astype(int):
        image[y - 3 : y + 3, x - 3 : x + 3, 2] = 255
    segments = np.zeros((0, 1000, 2), np.float32)
    if with_segments:
        segments = np.stack([_dense(rectangle(*box)) for box in RECTANGLES])
    boxes = np.array(RECTANGLES, np.float32)
    made = Instances(boxes, segments, JOINTS.copy(), bbox_format="xyxy", normalized=False)
    return {"img": image, "instances": made, "cls": np.array([[0.0], [1.0]])}


def _dense(corners):
    steps = np.linspace(0, 1, 100, endpoint=False)[:, None]
    sides = np.roll(corners, -1, axis=0) - corners
    points = np.concatenate([a + steps * s for a, s in zip(corners, sides, strict=True)])
    return points.astype(np.float32)


@pytest.mark.parametrize("with_segments", [False, True])
def test_boxes_segments_and_keypoints_follow_the_pixels(with_segments):
    step = at_work(al.ThetaWarp(std=0.03), stage="sample")
    torch.manual_seed(1)
    for _ in range(4):
        changed = labels(with_segments)
        assert change_labels(step, changed)
        image, instances = changed["img"], changed["instances"]
        instances.convert_bbox("xyxy")
        assert len(instances) == 2
        for n, (x1, y1, x2, y2) in enumerate(instances.bboxes):
            rows, columns = np.nonzero(image[..., n] > 127)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(np.array(found) - [x1, y1, x2, y2]).max() <= 1.5
        for x, y in instances.keypoints[..., :2].reshape(-1, 2):
            ys, xs = np.mgrid[:256, :256] + 0.5
            near = (image[..., 2] > 127) & (np.hypot(xs - x, ys - y) < 8)
            assert near.sum() > 15
            assert abs(xs[near].mean() - x) < 1
            assert abs(ys[near].mean() - y) < 1


def moved(method, theta, box="outline", least=0.0, segments=False):
    field = method.field({"theta": theta})
    instances = labels(segments)["instances"]
    return move(instances, field, (256, 256), False, box, least)


def test_a_box_that_left_is_dropped_by_the_share_that_is_visible():
    method = al.ThetaWarp(al.Affine())
    theta = torch.tensor([[0.0, 0.0, 80 / 256, 0.0]])  # 40..110 goes to -40..30, 3/7 of it
    assert moved(method, theta)[1].tolist() == [True, True]
    assert moved(method, theta, least=0.5)[1].tolist() == [False, True]
    assert moved(method, theta, least=0.5, segments=True)[1].tolist() == [False, True]
    theta[0, 2] = 0.5
    assert moved(method, theta)[1].tolist() == [False, True]


def test_an_ellipse_grows_less_than_an_outline():
    method = al.ThetaWarp(al.Affine())
    theta = torch.tensor([[0.5, 0.0, 0.0, 0.0]])
    wide, narrow = (moved(method, theta, box)[0].bboxes for box in ("outline", "ellipse"))
    assert (np.ptp(narrow.reshape(-1, 2, 2), axis=1) < np.ptp(wide.reshape(-1, 2, 2), axis=1)).all()
    same = moved(method, theta, "ellipse", segments=True)[0].bboxes  # the polygon is known
    assert np.allclose(same, moved(method, theta, segments=True)[0].bboxes)


@pytest.mark.parametrize(
    ("task", "stage"), [("detect", "sample"), ("detect", "batch"), ("segment", "sample")]
)
def test_a_training_with_labels_in_step(task, stage, data, tmp_path):
    method = "method: ThetaWarp, std: 0.04, family: {AffineCPAB: {cells: [2, 2]}}"
    spec = spec_file(tmp_path, f"{method}, p: 1, stage: {stage}")
    record = train(task, data(task), tmp_path, spec, epochs=1)
    boxes = []
    for batch in record.epochs[0]:
        half = batch["bboxes"][:, 2:] / 2
        corners = torch.cat([batch["bboxes"][:, :2] - half, batch["bboxes"][:, :2] + half], dim=1)
        assert batch["batch_idx"].tolist() == [0, 1, 2, 3]
        assert (corners * SIZE - lit(batch["img"])).abs().max() <= 2
        boxes.append(corners)
        if task == "segment":
            masks = batch["masks"].float()[:, None]
            scale = SIZE / masks.shape[-1]
            assert (lit(masks) * scale - corners * SIZE).abs().max() <= 1.5 * scale
    assert torch.cat(boxes).std(dim=0).min() * SIZE > 0.5  # every image moved in a way of its own
