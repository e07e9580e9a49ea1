"""The picture of a method on samples, by its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from albu_learned.batch import Batch
from albu_learned.kinds import Generate, Mix, Warp
from albu_learned.method import Method
from albu_learned.preview.generated import generated_samples
from albu_learned.preview.mixed import mixed_samples
from albu_learned.preview.warped import warped_samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["samples"]


def samples(
    method: Method,
    batch: Batch,
    class_names: Sequence[str] | None = None,
    title: str = "",
    generator: torch.Generator | None = None,
) -> Figure:
    """Originals, and what the method makes of them.

    Args:
        method: a warp, a mix of images, or a generator of classes.
        batch: a few images with labels, or series for a warp; for a generator as many of each class
            as samples shall be compared with, or labels alone.
        class_names: a name for each class; their numbers if None.
        title: a line above the picture.
        generator: of the noise.
    """
    if isinstance(method, Warp):
        return warped_samples(method, batch, 3, class_names, title, generator)
    if isinstance(method, Mix) and batch.images is not None and batch.labels is not None:
        labels = _soft(method, batch.labels, class_names)
        mixed, soft = method(batch.images, labels, generator=generator)
        return mixed_samples(batch.images, labels, mixed, soft, class_names, title)
    if isinstance(method, Generate) and method.needs <= {"images", "labels"}:
        return generated_samples(method, batch, class_names, title, generator)
    raise ValueError(
        "`method` must be a warp, a mix with labelled images, or a generator of classes, to be "
        f"drawn, got a {type(method).__name__}, which is of the kind {method.kind!r}"
        + (f" and needs {', '.join(sorted(method.needs))}." if method.needs else ".")
    )


def _soft(method: Mix, labels: Tensor, class_names: Sequence[str] | None) -> Tensor:
    """Class numbers as probabilities, where the method does not know how many classes there are."""
    if labels.ndim == 2 or getattr(method, "num_classes", None) is not None:
        return labels
    count = int(labels.max()) + 1 if class_names is None else len(class_names)
    return F.one_hot(labels.long(), count).float()
