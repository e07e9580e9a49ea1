"""Learned methods in the trainings of Ultralytics YOLO, from one YAML file (`albu_learned.spec`).

    from ultralytics import YOLO
    from albu_learned.ultralytics import install

    model = install(YOLO("yolo11n.pt"), "augment.yaml")
    model.train(data="data.yaml", epochs=100)

The same from a command line is `albu-learned yolo train model=... data=... spec=augment.yaml`, and
with a trainer class `model.train(trainer=LearnedDetectionTrainer, spec="augment.yaml", ...)`.

A classifier learns its motions with `model.train(trainer=PSTNTrainer, ...)`.
"""

from albu_learned.ultralytics.door import install as install
from albu_learned.ultralytics.pstn import PSTNTrainer as PSTNTrainer
from albu_learned.ultralytics.trainers import (
    LearnedClassificationTrainer as LearnedClassificationTrainer,
)
from albu_learned.ultralytics.trainers import LearnedDetectionTrainer as LearnedDetectionTrainer
from albu_learned.ultralytics.trainers import LearnedOBBTrainer as LearnedOBBTrainer
from albu_learned.ultralytics.trainers import LearnedPoseTrainer as LearnedPoseTrainer
from albu_learned.ultralytics.trainers import (
    LearnedSegmentationTrainer as LearnedSegmentationTrainer,
)

__all__ = [
    "LearnedClassificationTrainer",
    "LearnedDetectionTrainer",
    "LearnedOBBTrainer",
    "LearnedPoseTrainer",
    "LearnedSegmentationTrainer",
    "PSTNTrainer",
    "install",
]
