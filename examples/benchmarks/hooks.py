"""What learned methods cost in real training: images per second of timm's and YOLO's own loaders
and training steps, with and without each method.

    python examples/benchmarks/hooks.py [--host timm] [--data FOLDER] [--workers 2] [--quick]

Every arm has a loader of its own over the same pictures; arms take turns, epoch by epoch, so that a
busy machine slows all of them, and each figure is the median of its epochs. "overhead" is the time
an image takes beside the arm without any method. The warp and the generator here are small ones,
made for this: what a hook costs, not what a method costs. Where workers keep all cores busy, what
is done on the batch competes with them.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import albu_learned as al

CLASSES = 4
os.environ.setdefault("YOLO_OFFLINE", "1")


class SwayField(al.Field):
    """Every row of pixels sways sideways, every column up and down."""

    def __init__(self, size: Tensor) -> None:
        self.size = size[:, None]

    def __len__(self) -> int:
        return len(self.size)

    def points_back(self, points: Tensor) -> Tensor:
        return points + self.size * torch.sin(2 * math.pi * points.flip(-1))

    def points(self, points: Tensor) -> Tensor:
        moved = points
        for _ in range(10):  # a fixed point: the sway is small
            moved = points - self.size * torch.sin(2 * math.pi * moved.flip(-1))
        return moved


class Sway(al.Warp):
    """A small smooth warp."""

    def draw(self, rows: int, generator: Any = None, device: Any = None) -> dict[str, Tensor]:
        return {"z": torch.randn(rows, 2, generator=generator, device=device)}

    def plan(self, batch: al.Batch, noise: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"size": 0.02 * noise["z"]}

    def field(self, plan: dict[str, Tensor]) -> al.Field:
        return SwayField(plan["size"])

    def identity(self, rows: int, device: Any = None) -> dict[str, Tensor]:
        return {"size": torch.zeros(rows, 2, device=device)}


class Tint(al.Generate):
    """Pulls an image towards a colour."""

    def draw(self, rows: int, generator: Any = None, device: Any = None) -> dict[str, Tensor]:
        return {"colour": torch.rand(rows, 3, generator=generator, device=device)}

    def plan(self, batch: al.Batch, noise: dict[str, Tensor]) -> dict[str, Tensor]:
        return noise

    def pixels(self, images: Tensor, plan: dict[str, Tensor]) -> Tensor:
        return images.lerp(plan["colour"][:, :, None, None], 0.3)


Epoch = Callable[[], int]  # runs one epoch and says how many images it had


def make_pictures(folder: Path, count: int, side: int) -> None:
    """JPEG files in a folder for each class, and as a YOLO data set with two boxes each."""
    random = np.random.default_rng(0)
    for i in range(count):
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        name = f"{i:05d}.jpg"
        for place in (folder / "classes" / f"class{i % CLASSES}", folder / "yolo" / "images"):
            place.mkdir(parents=True, exist_ok=True)
            picture.save(place / name, quality=90)
        rows = [f"{c} {x:.4f} {y:.4f} 0.2 0.3" for c, (x, y) in enumerate(random.random((2, 2)))]
        labels = folder / "yolo" / "labels"
        labels.mkdir(exist_ok=True)
        (labels / f"{i:05d}.txt").write_text("\n".join(rows))
    (folder / "yolo" / "data.yaml").write_text(
        f"path: {folder / 'yolo'}\ntrain: images\nval: images\nnames: [a, b]\n"
    )


def write_spec(folder: Path, **keys: Any) -> Path:
    path = folder / ("-".join(str(value) for value in keys.values()) + ".yaml")
    path.write_text("methods:\n- {" + ", ".join(f"{k}: {v}" for k, v in keys.items()) + "}\n")
    return path


def timm_arms(folder: Path, options: argparse.Namespace) -> dict[str, tuple[Epoch, Epoch]]:
    import timm.data
    import timm.loss

    import albu_learned.timm as door

    def pictures() -> Any:
        return timm.data.create_dataset("", root=str(options.data or folder / "classes"))

    def loader(make: Callable[..., Any], **more: Any) -> Any:
        return make(
            pictures(),
            (3, options.size, options.size),
            options.batch,
            is_training=True,
            num_workers=options.workers,
            device=torch.device(options.device),
            **more,
        )

    def learned(**keys: Any) -> Any:
        auto = "rand-m9-n2-tlearned" if keys.get("stage") == "policy" else None
        spec = write_spec(folder, **keys)
        return loader(door.create_loader, spec=spec, auto_augment=auto)

    stock, classes = timm.data.create_loader, pictures().reader.class_to_idx
    mixing = {"num_classes": len(classes)}
    loaders = {
        "timm alone": loader(stock),
        "timm mixup, in workers": loader(
            stock, collate_fn=timm.data.FastCollateMixup(mode="batch", **mixing)
        ),
        "ZetaCollate, in workers": loader(stock, collate_fn=door.ZetaCollate(**mixing)),
        "ZetaMixup, batch": learned(method="ZetaMixup"),
        "ZetaMixup top_k 8, batch": learned(method="ZetaMixup", top_k=8),
        "warp, image": learned(method="Sway", p=1, stage="image"),
        "warp, sample": learned(method="Sway", p=1, stage="sample"),
        "warp, batch": learned(method="Sway", p=1, stage="batch"),
        "generator, sample": learned(method="Tint", p=1, stage="sample"),
        "generator, batch": learned(method="Tint", p=1, stage="batch"),
        "RandAugment": loader(stock, auto_augment="rand-m9-n2"),
        "RandAugment, warp in it": learned(method="Sway", stage="policy"),
    }
    model = timm.create_model(options.model, num_classes=len(classes)).to(options.device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    hard, soft = torch.nn.CrossEntropyLoss(), timm.loss.SoftTargetCrossEntropy()

    def load(found: Any) -> Epoch:
        return lambda: sum(len(images) for images, _ in found)

    def train(found: Any) -> Epoch:
        def epoch() -> int:
            rows = 0
            for images, target in found:
                loss = (hard if target.ndim == 1 else soft)(model(images), target)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                rows += len(images)
            return rows

        return epoch

    return {name: (load(found), train(found)) for name, found in loaders.items()}


def yolo_arms(folder: Path, options: argparse.Namespace) -> dict[str, tuple[Epoch, Epoch]]:
    from ultralytics.models.yolo.detect import DetectionTrainer

    from albu_learned.ultralytics import LearnedDetectionTrainer

    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    settings = {
        "model": "yolo11n.yaml",
        "data": str(options.data or folder / "yolo" / "data.yaml"),
        "imgsz": options.size // 32 * 32,
        "batch": options.batch,
        "device": options.device,
        "project": str(folder / "runs"),
        "plots": False,
        "verbose": False,
    }

    def ready(trainer: Any) -> tuple[Epoch, Epoch]:
        trainer.args.workers = options.workers  # YOLO sets 0 on a CPU
        trainer.epoch = 0
        trainer._setup_train()  # as train() does; from here on we drive it, epoch by epoch
        return lambda: load(trainer), lambda: train(trainer)

    def stock(**more: Any) -> tuple[Epoch, Epoch]:
        return ready(DetectionTrainer(overrides={**settings, **more}))

    def learned(**keys: Any) -> tuple[Epoch, Epoch]:
        spec = str(write_spec(folder, **keys))
        return ready(LearnedDetectionTrainer(overrides={**settings, "spec": spec}))

    return {
        "YOLO alone": stock(),
        "YOLO mixup=1": stock(mixup=1.0),
        "ZetaMixup, batch": learned(method="ZetaMixup"),
        "warp, image": learned(method="Sway", p=1, stage="image"),
        "warp, sample": learned(method="Sway", p=1, stage="sample"),
        "warp, batch": learned(method="Sway", p=1, stage="batch"),
        "generator, image": learned(method="Tint", p=1, stage="image"),
        "generator, batch": learned(method="Tint", p=1, stage="batch"),
    }


def batches(trainer: Any) -> Iterator[dict[str, Any]]:
    trainer.run_callbacks("on_train_epoch_start")
    for batch in trainer.train_loader:
        yield trainer.preprocess_batch(batch)
    trainer.run_callbacks("on_train_epoch_end")


def load(trainer: Any) -> int:
    return sum(len(batch["img"]) for batch in batches(trainer))


def train(trainer: Any) -> int:
    rows = 0
    trainer.model.train()
    for batch in batches(trainer):
        loss, _ = trainer.model(batch)
        trainer.optimizer.zero_grad()
        loss.sum().backward()
        trainer.optimizer.step()
        rows += len(batch["img"])
    return rows


def rates(epochs: dict[str, Epoch], turns: int) -> dict[str, float]:
    """Images a second: the median of each arm's epochs, all taking turns.

    Before each timed epoch runs one that is not: it uses up what workers made in the meantime.
    """
    found: dict[str, list[float]] = {name: [] for name in epochs}
    for _ in range(turns):
        for name, epoch in epochs.items():
            epoch()
            start = time.perf_counter()
            rows = epoch()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            found[name].append(rows / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in found.items()}


def report(title: str, arms: dict[str, tuple[Epoch, Epoch]], turns: int) -> None:
    print(
        f"\n{title:<26}{'loader':>12}{'overhead':>10}{'training':>12}{'overhead':>10}", flush=True
    )
    loading = rates({name: epochs[0] for name, epochs in arms.items()}, turns)
    training = rates({name: epochs[1] for name, epochs in arms.items()}, turns)
    alone = next(iter(arms))
    for name in arms:
        cells = [f"{name:<26}"]
        for found in (loading, training):
            cells.append(f"{found[name]:>10.0f}/s{100 * (found[alone] / found[name] - 1):>8.0f} %")
        print("".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="What learned methods cost in real training.")
    parser.add_argument("--host", choices=["timm", "ultralytics", "both"], default="both")
    parser.add_argument("--data", type=Path, help="image folder (timm), data.yaml (ultralytics)")
    parser.add_argument("--count", type=int, default=128, help="pictures that are made, if no data")
    parser.add_argument("--side", type=int, default=320, help="their size in pixels")
    parser.add_argument("--size", type=int, default=128, help="size in training")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="resnet18", help="of timm")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.count, options.side, options.size, options.batch = 32, 64, 32, 8
        options.model, options.turns = "test_resnet", 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder, options.count, options.side)
        print(
            f"torch {torch.__version__}, {options.device}, {os.cpu_count()} cores, "
            f"{options.workers} workers, {options.size} px, batches of {options.batch}"
        )
        if options.host != "ultralytics":
            report("timm", timm_arms(folder, options), options.turns)
        if options.host != "timm":
            report("Ultralytics", yolo_arms(folder, options), options.turns)


if __name__ == "__main__":
    main()
