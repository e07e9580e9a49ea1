"""What a PSTN has learned, in Ultralytics: labels stay with pixels, looked at as the core does."""

import numpy as np
import pytest
import torch
from PIL import Image

from albu_learned.ultralytics.sample import change_labels, change_picture
from tests.cases import posterior_warp as made
from tests.ultralytics.runs import in_step, spec_file, train
from tests.ultralytics.scenes import at_work, follow, marked
from tests.ultralytics.shapes import SIZE


@pytest.mark.parametrize("form", ["looks", "marginal"])
def test_boxes_and_keypoints_follow_the_pixels(form):
    step = at_work(made(form), stage="sample")
    torch.manual_seed(1)
    for _ in range(3):
        changed = marked()
        assert change_labels(step, changed)
        follow(changed)


def test_it_sees_the_host_s_pictures_as_rgb():
    core = made(stn=True)
    given = marked()
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
    assert in_step(record).std(dim=0).min() * SIZE > 0.3  # every image moved in a way of its own


def test_a_picture_of_a_classifier_is_moved_as_the_core_moves_it():
    core, picture = made(stn=True), Image.fromarray(marked()["img"])
    moved, changed = change_picture(at_work(core, stage="sample"), picture, 0)
    rgb = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    difference = np.abs(np.array(moved).astype(int) - core(rgb)[0].permute(1, 2, 0).numpy())
    assert changed
    assert np.quantile(difference, 0.99) <= 4
