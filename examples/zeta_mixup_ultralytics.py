"""zeta-mixup in an Ultralytics YOLO classifier: few digits, a small network, soft labels.

Trains on 15 images of each digit, with and without the mix, and prints the accuracy of each on all
the other images.

    python examples/zeta_mixup_ultralytics.py
"""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("YOLO_OFFLINE", "1")  # nothing is downloaded, nothing is reported
os.environ.setdefault("YOLO_VERBOSE", "False")

import torch
from PIL import Image
from sklearn.datasets import load_digits
from ultralytics import YOLO

from albu_learned.ultralytics import install

PER_CLASS, EPOCHS = 15, 15
SPEC = """
methods:
  - method: ZetaMixup
    gamma: 4.0
"""


def write(folder):
    """Digits as Ultralytics reads them: a folder for each class, for training and for the test."""
    images, labels = load_digits(return_X_y=True)
    seen = dict.fromkeys(range(10), 0)
    for number, (image, label) in enumerate(zip(images.reshape(-1, 8, 8), labels, strict=True)):
        split = "train" if seen[label] < PER_CLASS else "val"
        seen[label] += 1
        place = folder / split / str(label)
        place.mkdir(parents=True, exist_ok=True)
        pixels = Image.fromarray((image * 255 / 16).astype("uint8"))
        pixels.resize((32, 32), Image.Resampling.BILINEAR).save(place / f"{number}.png")


def train(folder, spec=None):
    """Test accuracy after training with the methods of a spec."""
    model = YOLO("yolo11n-cls.yaml", task="classify")
    if spec is not None:
        install(model, spec)
    metrics = model.train(
        data=str(folder / "digits"),
        project=str(folder / "runs"),
        **{"imgsz": 32, "epochs": EPOCHS, "batch": 50, "optimizer": "AdamW", "lr0": 0.002},
        **{"device": "cpu", "workers": 0, "plots": False, "val": False, "verbose": False},
        **{"scale": 0.2, "fliplr": 0.0, "erasing": 0.0, "auto_augment": None},
    )
    return metrics.top1


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "digits")
        (folder / "spec.yaml").write_text(SPEC)
        print(f"test accuracy without zeta-mixup: {train(folder):.3f}")
        print(f"test accuracy with zeta-mixup:    {train(folder, folder / 'spec.yaml'):.3f}")
