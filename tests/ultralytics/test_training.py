"""Real trainings of every task: what the spec says is what reaches the model."""

import pytest
import torch

from tests.toys import FreeShift
from tests.ultralytics.runs import corners, lit, spec_file, train
from tests.ultralytics.shapes import BOX, POINTS, SIZE

MOVE = 16  # pixels to the right: the rectangle then touches the border


def flooded(images):
    """Which images are one red."""
    pixels = images.flatten(2)
    red = pixels[:, 0].amin(1) > 0.4
    return red & (pixels[:, 1:].amax((1, 2)) == 0)


def shift(folder, noise=0.0):
    """The artifact of a warp that moves everything to the right."""
    method = FreeShift(noise=noise)
    method.shift.data[:] = torch.tensor([MOVE / SIZE, 0.0])
    method.save_pretrained(folder / "shift")
    return f"artifact: {folder / 'shift'}, p: 1"


@pytest.mark.parametrize(
    ("task", "stage"),
    [
        ("detect", "image"),
        ("detect", "sample"),
        ("detect", "batch"),
        ("classify", "image"),
        ("classify", "sample"),
        ("classify", "batch"),
        ("segment", "image"),
        ("pose", "sample"),
        ("obb", "batch"),
    ],
)
def test_pixels_reach_the_model(task, stage, data, tmp_path):
    spec = spec_file(tmp_path, f"method: Flood, p: 1, stage: {stage}")
    record = train(task, data(task), tmp_path, spec)
    for epoch in (0, 1):
        images = record.images(epoch)
        assert len(images) == 8
        assert images.dtype == torch.float32
        assert flooded(images).all()
    assert not torch.equal(record.images(0), record.images(1))


@pytest.mark.parametrize(
    ("task", "stage"),
    [
        ("detect", "image"),
        ("detect", "sample"),
        ("detect", "batch"),
        ("segment", "sample"),
        ("segment", "batch"),
        ("pose", "image"),
        ("obb", "sample"),
    ],
)
def test_labels_move_with_pixels(task, stage, data, tmp_path):
    spec = spec_file(tmp_path, f"{shift(tmp_path)}, stage: {stage}")
    record = train(task, data(task), tmp_path, spec, epochs=1)
    x1, y1, x2, y2 = BOX["train"]
    moved = torch.tensor([x1 + MOVE, y1, x2 + MOVE, y2])
    for batch in record.epochs[0]:
        assert (lit(batch["img"]) == moved).all()
        assert batch["batch_idx"].tolist() == [0, 1, 2, 3]
        assert torch.allclose(corners(batch["bboxes"]) * SIZE, moved.float(), atol=0.6)
        if task == "segment":
            masks = batch["masks"].bool()
            scale = SIZE / masks.shape[-1]
            assert (lit(masks[:, None].float()) * scale - moved).abs().max() <= scale
        if task == "pose":
            wanted = torch.tensor([[x + MOVE, y] for x, y in POINTS]).float()
            assert torch.allclose(batch["keypoints"][..., :2] * SIZE, wanted, atol=0.1)


def test_pictures_are_warped(data, tmp_path):
    record = train("classify", data("classify"), tmp_path, spec_file(tmp_path, shift(tmp_path)))
    plain = torch.tensor(BOX["train"])
    moved = lit(record.images(1)) - plain
    assert (moved - torch.tensor([MOVE, 0, MOVE, 0])).abs().max() <= 1
