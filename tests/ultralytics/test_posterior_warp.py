"""What a PSTN has learned, in Ultralytics: labels stay with pixels, looked at as the core does."""

import numpy as np
import pytest
import torch
from PIL import Image

import albu_learned as al
from albu_learned.ultralytics.sample import change_labels, change_picture
from tests.cases import posterior_model, some_images
from tests.ultralytics.runs import spec_file, train
from tests.ultralytics.scenes import at_work
from tests.ultralytics.shapes import SIZE
from tests.ultralytics.test_theta_warp import labels
from tests.ultralytics.test_training import lit


def made(form="looks", **how):
    model = posterior_model(al.AffineCPAB((2, 2)), prior_std=0.04, **how)
    images = some_images()
    return model.as_warp(images, marginal=images if form == "marginal" else None)


@pytest.mark.parametrize("form", ["looks", "marginal"])
def test_boxes_and_keypoints_follow_the_pixels(form):
    step = at_work(made(form), stage="sample")
    torch.manual_seed(1)
    for _ in range(3):
        changed = labels(with_segments=False)
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
            assert abs(xs[near].mean() - x) < 1
            assert abs(ys[near].mean() - y) < 1


def test_it_sees_the_host_s_pictures_as_rgb():
    core = made(stn=True)
    given = labels(with_segments=False)
    rgb = torch.from_numpy(given["img"][..., ::-1].copy()).permute(2, 0, 1)[None]
    expected = core(rgb)[0].permute(1, 2, 0).numpy()
    change_labels(at_work(core, stage="sample"), given)
    difference = np.abs(given["img"][..., ::-1].astype(int) - expected)
    assert np.quantile(difference, 0.99) <= 4  # edges of full contrast, and OpenCV's rounding
    assert np.abs(expected.astype(int) - rgb[0].permute(1, 2, 0).numpy()).mean() > 1


@pytest.mark.parametrize("stage", ["image", "batch"])
def test_a_detector_trains_with_labels_in_step(stage, data, tmp_path):
    made().save_pretrained(tmp_path / "warp")
    spec = spec_file(tmp_path, f"artifact: warp, p: 1, stage: {stage}")
    record = train("detect", data("detect"), tmp_path, spec, epochs=1)
    boxes = []
    for batch in record.epochs[0]:
        half = batch["bboxes"][:, 2:] / 2
        corners = torch.cat([batch["bboxes"][:, :2] - half, batch["bboxes"][:, :2] + half], dim=1)
        assert batch["batch_idx"].tolist() == [0, 1, 2, 3]
        assert (corners * SIZE - lit(batch["img"])).abs().max() <= 2
        boxes.append(corners)
    assert torch.cat(boxes).std(dim=0).min() * SIZE > 0.3  # every image moved in a way of its own


def test_a_picture_of_a_classifier_is_moved_as_the_core_moves_it():
    core, picture = made(stn=True), Image.fromarray(labels(with_segments=False)["img"])
    moved, changed = change_picture(at_work(core, stage="sample"), picture, 0)
    rgb = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    difference = np.abs(np.array(moved).astype(int) - core(rgb)[0].permute(1, 2, 0).numpy())
    assert changed
    assert np.quantile(difference, 0.99) <= 4
