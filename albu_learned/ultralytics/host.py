"""The guarded import of the host, and what the rest of this folder takes from it.

Ultralytics is AGPL-3.0: it is called and derived from, and nothing of it is copied here.
"""

from __future__ import annotations

import re

try:
    import ultralytics as host
    from ultralytics.data.augment import Albumentations, Format
    from ultralytics.data.dataset import ClassificationDataset, YOLODataset
    from ultralytics.engine.model import Model
    from ultralytics.utils import LOGGER, RANK
    from ultralytics.utils.callbacks import base as callbacks
except ModuleNotFoundError as error:
    if error.name != "ultralytics":
        raise
    raise ImportError(
        "albu_learned.ultralytics needs Ultralytics, which is not installed. "
        'Install it with: pip install "albu_learned[ultralytics]"'
    ) from error

__all__ = [
    "LOGGER",
    "RANK",
    "Albumentations",
    "ClassificationDataset",
    "Format",
    "Model",
    "YOLODataset",
    "callbacks",
]

OLDEST = (8, 4, 140)  # the first that takes callbacks along to the processes of several GPUs
if tuple(map(int, re.findall(r"\d+", host.__version__)[:3])) < OLDEST:
    raise ImportError(
        "albu_learned.ultralytics needs ultralytics >= 8.4.140, got "
        f"{host.__version__}, which would train on several GPUs without your spec. "
        'Install it with: pip install "albu_learned[ultralytics]"'
    )
