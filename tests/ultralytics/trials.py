"""Tiny detectors and data for trials, and what a trial did, as its callbacks saw it."""

import hashlib
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from ultralytics.utils.callbacks import default_callbacks

from albu_learned.ultralytics import trial

COUNT, SIZE = 7, 64
CLASSES = ["low", "high"]
NETWORK = """
nc: 2
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
head:
  - [[2, 3, 4], 1, Detect, [nc]]
"""


def make(folder, count=COUNT):
    """Images of one bright rectangle each, no two alike, with labels; and a network."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    paths = []
    for number in range(count):
        image = np.full((SIZE, SIZE, 3), 4 * number, np.uint8)
        x, y = 4 + 3 * number, 28 - 3 * number
        image[y : y + 28, x : x + 32] = 120 if number % 2 == 0 else 240
        box = [(x + 16) / SIZE, (y + 14) / SIZE, 32 / SIZE, 28 / SIZE]
        paths.append(folder / "images" / f"{number}.png")
        cv2.imwrite(str(paths[-1]), image)
        line = " ".join(map(str, [number % 2, *box]))
        (folder / "labels" / f"{number}.txt").write_text(line + "\n")
    (folder / "tiny.yaml").write_text(NETWORK)
    return paths


def settings(folder, **changed):
    given = {"model": str(folder / "tiny.yaml"), "image_size": SIZE, "steps": 5, "batch": 3}
    return trial.DetectorSettings(**{**given, **changed})


def state(weights):
    return torch.load(weights, weights_only=False)["model"].state_dict()


def same(one, other):
    one, other = state(one), state(other)
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


class Record:
    """Of one training: the first weights, the names and images of batches, the learning rates."""

    def __init__(self, workers=0):
        self.workers = workers
        self.batches, self.images, self.rates, self.epochs = [], [], [], []
        self.start = self.trainer = None
        self.steps = self.validations = 0

    @contextmanager
    def listening(self):
        heard = {
            "on_pretrain_routine_start": self.early,
            "on_train_start": self.begin,
            "on_train_batch_end": self.step,
            "on_val_start": self.validated,
        }
        # Ultralytics copies callbacks deeply, and leaves only functions as they are.
        functions = {event: (lambda t, f=function: f(t)) for event, function in heard.items()}
        for event, function in functions.items():
            default_callbacks[event].append(function)
        try:
            yield self
        finally:
            for event, function in functions.items():
                default_callbacks[event].remove(function)

    def early(self, trainer):
        trainer.args.workers = self.workers  # the host takes none on a CPU

    def begin(self, trainer):
        self.trainer = trainer
        weights = trainer.model.state_dict()
        whole = b"".join(weights[key].numpy().tobytes() for key in sorted(weights))
        self.start = hashlib.sha256(whole).hexdigest()
        trainer.optimizer.register_step_post_hook(lambda *_: self.count())
        last = trainer.preprocess_batch

        def recorded(batch):
            names = [path.rpartition("_")[2] for path in batch["im_file"]]
            batch = last(batch)
            self.batches.append(names)
            self.images.append(batch["img"].clone())
            self.epochs.append(trainer.epoch)
            return batch

        trainer.preprocess_batch = recorded

    def count(self):
        self.steps += 1

    def step(self, trainer):
        self.rates.append([group["lr"] for group in trainer.optimizer.param_groups])

    def validated(self, _):
        self.validations += 1

    def epoch(self, number):
        """The images of an epoch by their names."""
        return {
            name: image
            for names, images, epoch in zip(self.batches, self.images, self.epochs, strict=True)
            if epoch == number
            for name, image in zip(names, images, strict=True)
        }
