"""ThetaWarp in Ultralytics: inline in a spec and by its box options; labels stay with pixels."""

import numpy as np
import pytest
import torch

import albu_learned as al
from albu_learned.ultralytics.objects import move
from albu_learned.ultralytics.sample import change_labels
from tests.ultralytics.runs import in_step, lit, spec_file, train
from tests.ultralytics.scenes import at_work, follow, marked
from tests.ultralytics.shapes import SIZE


@pytest.mark.parametrize("with_segments", [False, True])
def test_boxes_segments_and_keypoints_follow_the_pixels(with_segments):
    step = at_work(al.ThetaWarp(std=0.03), stage="sample")
    torch.manual_seed(1)
    for _ in range(4):
        changed = marked(with_segments)
        assert change_labels(step, changed)
        follow(changed)


def moved(method, theta, box="outline", least=0.0, segments=False):
    field = method.field({"theta": theta})
    instances = marked(segments)["instances"]
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
    corners = in_step(record)
    if task == "segment":
        masks = torch.cat([batch["masks"].float() for batch in record.epochs[0]])[:, None]
        scale = SIZE / masks.shape[-1]
        assert (lit(masks) * scale - corners * SIZE).abs().max() <= 1.5 * scale
    assert corners.std(dim=0).min() * SIZE > 0.5  # every image moved in a way of its own
