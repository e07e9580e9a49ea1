"""Short trainings, and what their batches were like when they reached the model."""

import tempfile
from pathlib import Path

import torch
from ultralytics import YOLO

from tests.ultralytics.shapes import SIZE

# What is built, copied and saved for a training of a few images should not be large.
NETWORK = """
nc: 2
kpt_shape: [2, 3]
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
head:
  - [{head}]
"""
HEADS = {
    "detect": "[2, 3, 4], 1, Detect, [nc]",
    "segment": "[2, 3, 4], 1, Segment, [nc, 8, 16]",
    "pose": "[2, 3, 4], 1, Pose, [nc, kpt_shape]",
    "obb": "[2, 3, 4], 1, OBB, [nc, 1]",
    "classify": "-1, 1, Classify, [nc]",
}
NETWORKS = tempfile.TemporaryDirectory()
MODEL = {task: str(Path(NETWORKS.name, f"{task}.yaml")) for task in HEADS}
for _task, _head in HEADS.items():
    Path(MODEL[_task]).write_text(NETWORK.format(head=_head))
# Nothing of the host's own that moves or colours.
STILL = dict.fromkeys(["mosaic", "mixup", "cutmix", "copy_paste", "perspective", "degrees"], 0.0)
STILL |= dict.fromkeys(["translate", "scale", "shear", "flipud", "fliplr", "erasing"], 0.0)
STILL |= dict.fromkeys(["hsv_h", "hsv_s", "hsv_v"], 0.0)
SETTINGS = {
    "imgsz": SIZE,
    "epochs": 2,
    "batch": 4,
    "device": "cpu",
    "plots": False,
    "val": False,
    "verbose": False,
    "exist_ok": True,
    "warmup_epochs": 0,
    "close_mosaic": 0,
    "auto_augment": None,
    "augmentations": [],
}


class Recorder:
    """The batches of a training, by epoch, as the model gets them."""

    def __init__(self, workers=0):
        self.workers = workers
        self.epochs = {}

    def listen(self, model):
        model.add_callback("on_pretrain_routine_start", self.set_workers)
        model.add_callback("on_train_start", self.wrap)
        return self

    def set_workers(self, trainer):
        trainer.args.workers = self.workers  # the host takes none on a CPU

    def wrap(self, trainer):
        last = trainer.preprocess_batch

        def recorded(batch):
            batch = last(batch)
            kept = {k: v.clone() for k, v in batch.items() if isinstance(v, torch.Tensor)}
            self.epochs.setdefault(trainer.epoch, []).append(kept)
            return batch

        trainer.preprocess_batch = recorded

    def images(self, epoch):
        return torch.cat([batch["img"] for batch in self.epochs[epoch]])


def spec_file(folder, *methods, modules=("tests.ultralytics.toys", "tests.toys"), top=""):
    """A spec with methods, each a line of YAML."""
    path = folder / "spec.yaml"
    lines = [f"  - {{{method}}}" for method in methods]
    path.write_text("\n".join([f"modules: [{', '.join(modules)}]", top, "methods:", *lines, ""]))
    return path


def model(task):
    return YOLO(MODEL[task], task=task)


def train(task, data, folder, spec, workers=0, still=True, **settings):
    """A training with a spec, and its record."""
    from albu_learned.ultralytics import install

    made = install(model(task), spec)
    record = Recorder(workers).listen(made)
    given = {**SETTINGS, **(STILL if still else {}), **settings}
    made.train(data=data, project=str(folder), name="run", **given)
    return record


def lit(images):
    """x1, y1, x2, y2 of what is not black in each image, in pixels."""
    found = []
    for image in images.amax(1) > 0.2:
        rows, columns = image.any(1).nonzero(), image.any(0).nonzero()
        found.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return torch.tensor(found)


def corners(boxes):
    """From x, y, w, h, or x, y, w, h, angle of boxes that lie straight."""
    half = boxes[:, 2:4] / 2
    if boxes.shape[1] == 5 and (boxes[:, 4].abs() > 0.7).all():  # width and height swapped
        half = half.flip(1)
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], dim=1)


def in_step(record):
    """The boxes of the first epoch as corners, in fractions; raises unless every image has one,
    around what is lit."""
    found = []
    for batch in record.epochs[0]:
        boxes = corners(batch["bboxes"])
        assert batch["batch_idx"].tolist() == [0, 1, 2, 3]
        assert (boxes * SIZE - lit(batch["img"])).abs().max() <= 2
        found.append(boxes)
    return torch.cat(found)
