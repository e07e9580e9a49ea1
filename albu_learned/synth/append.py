"""Generated images behind the real ones of every batch: a collate function for a DataLoader."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from albu_learned import checks
from albu_learned.batch import Batch
from albu_learned.kinds import Generate
from albu_learned.method import Method, hold
from albu_learned.synth.makers import class_names, known_classes

__all__ = ["AppendCollate"]

_READABLE = frozenset({"images", "labels"})
_SLACK = 1e-4  # of floats in [0, 1] that have been through some arithmetic
_USUAL = 0.4


class AppendCollate:
    """Collates samples as torch does, then appends generated images of the batch's classes.

    Every real image stays, so nothing of the data is lost; batches get larger. The class of each
    generated image is that of a real image of the batch, chosen at random.

    Samples are (image, label) pairs or dicts, images (C, H, W), floats in [0, 1] or uint8: so
    normalise after it, in the loop. Randomness is torch's own in the worker: workers differ, and
    `torch.manual_seed` before the DataLoader makes an epoch again.

    Args:
        method: a generator of classes, such as a `ClassVAE`, or the folder of one.
        share: of the enlarged batch that is generated, in [0, 1); 0.4 if `per_batch` is None too.
        per_batch: how many images are appended to each batch, in place of a share.
        collate: makes a batch of samples; torch's `default_collate` if None.
        image_key: where the image of a dict is.
        label_key: where its label is.
        classes: the names of your classes in the order of your numbers, matched by name with those
            of the artifact; None if the numbers are the artifact's own.
        resize: fit generated images of another size to the real ones; without it, that raises.

    Example:
        >>> import torch, albu_learned as al
        >>> from albu_learned.synth import AppendCollate
        >>> vae = al.ClassVAE((1, 8, 8), num_classes=2)  # of no data, so its samples mean nothing
        >>> data = [(torch.rand(1, 8, 8), k % 2) for k in range(12)]
        >>> loader = torch.utils.data.DataLoader(data, 6, collate_fn=AppendCollate(vae, share=0.4))
        >>> [len(labels) for images, labels in loader]
        [10, 10]
    """

    def __init__(
        self,
        method: Method | str | os.PathLike[str],
        share: float | None = None,
        per_batch: int | None = None,
        *,
        collate: Callable[[list[Any]], Any] | None = None,
        image_key: str = "image",
        label_key: str = "label",
        classes: Sequence[str] | None = None,
        resize: bool = False,
    ) -> None:
        live = hold(method, Generate)
        others = sorted(live.needs - _READABLE)
        if others:
            raise ValueError(
                f"`method` must need images and labels alone for {type(self).__name__}, got a "
                f"{type(live).__name__}, which needs {', '.join(others)}."
            )
        checks.on_cpu(live, "a collate function, which works in a DataLoader's processes")
        if share is not None and per_batch is not None:
            raise ValueError(
                f"`share` must be left out where `per_batch` is given, got {share!r} and "
                f"{per_batch!r}."
            )
        self.method = live.resized() if resize else live
        self.share = checks.between("share", _USUAL if share is None else share, "[0, 1)")
        self.per_batch = None if per_batch is None else checks.integer("per_batch", per_batch, 0)
        self.collate = default_collate if collate is None else collate
        self.image_key, self.label_key = image_key, label_key
        self._order = None if classes is None else live.class_order(classes)
        # Rows of these are not drawn from, instead of raising at random.
        unseen = sorted(set(range(len(class_names(live)))) - set(known_classes(live)))
        self._unseen = torch.tensor(unseen, dtype=torch.int64)

    @torch.no_grad()
    def __call__(self, samples: list[Any]) -> Any:
        """The larger batch, in the form of the collated one."""
        batch = self.collate(samples)
        if isinstance(batch, Mapping):
            self._check_keys(batch)
            images, labels = self._appended(batch[self.image_key], batch[self.label_key])
            return {self.image_key: images, self.label_key: labels}
        if isinstance(batch, (tuple, list)) and len(batch) == 2:
            pair = self._appended(*batch)
            return pair if isinstance(batch, tuple) else list(pair)
        got = type(batch).__name__
        if isinstance(batch, (tuple, list)):
            got += f" of {len(batch)}"
        raise TypeError(
            f"Samples must be dicts or (image, label) pairs, got a {got} after collating. Let the "
            "dataset return one of the two."
        )

    def _check_keys(self, batch: Mapping[str, Any]) -> None:
        missing = [key for key in (self.image_key, self.label_key) if key not in batch]
        if missing:
            raise ValueError(
                f"Samples must have the key {missing[0]!r}, got {sorted(batch)}. Return it from "
                "the dataset, or name yours in `image_key` and `label_key`."
            )
        others = sorted(set(batch) - {self.image_key, self.label_key})
        if others:
            raise ValueError(
                f"Samples must have no keys but {self.image_key!r} and {self.label_key!r}, got "
                f"{others} too: generated images have none of these. Drop them in the dataset."
            )

    def _appended(self, images: Any, labels: Any) -> tuple[Tensor, Tensor]:
        """Both with the generated rows behind the real ones."""
        _check(images, labels)
        own = labels.long()
        if self._order is not None:
            checks.class_numbers(own, len(self._order), "these `classes`")
            own = self._order[own]
        rows = (~torch.isin(own, self._unseen)).nonzero()[:, 0]
        count = self._count(len(images)) if len(rows) else 0
        if not count:
            return images, labels
        chosen = rows[torch.randint(len(rows), (count,))]
        given = Batch(images=images[chosen], labels=own[chosen])
        made = self.method.apply(given, self.method.planned(given)).images
        return torch.cat([images, made]), torch.cat([labels, labels[chosen]])

    def _count(self, real: int) -> int:
        if self.per_batch is not None:
            return self.per_batch
        return round(real * self.share / (1 - self.share))


def _check(images: Any, labels: Any) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(
            f"Images must be (C, H, W) tensors or arrays of one size, got {shape} after collating. "
            "Let the dataset return such: of H x W x C arrays, transpose(2, 0, 1)."
        )
    if images.shape[1] > 4 and images.shape[3] in (1, 3, 4):
        raise ValueError(
            f"Images must have their channels first, (C, H, W), got {tuple(images.shape[1:])}. Of "
            "arrays, give transpose(2, 0, 1)."
        )
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
        what = type(labels).__name__
        if isinstance(labels, Tensor):
            what = f"{tuple(labels.shape)} {labels.dtype}"
        raise TypeError(
            f"Labels must be one class number a sample, got {what} after collating. Append before "
            "labels become soft, and encode class names as numbers."
        )
    if images.is_floating_point():
        low, high = float(images.min()), float(images.max())
        if not (low >= -_SLACK and high <= 1 + _SLACK):
            raise ValueError(
                f"Images must be floats in [0, 1] or uint8, got floats from {low:g} to {high:g}. "
                "Normalise in the training loop, behind the loader: generated images are not."
            )
