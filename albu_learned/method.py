"""The contract between methods and hosts: three steps, three kinds.

A method is described once, in three steps, and each step has one place:

    noise = method.draw(rows, generator)      all of the randomness, nothing learned
    plan  = method.plan(batch, noise)         reads images, labels, boxes and learned parameters
    batch = method.apply(batch, plan)         pure; masks, boxes and points may come later, alone

Noise and plan are dictionaries of tensors whose first dimension is the rows of the batch, so that a
host can keep, slice and replay them without knowing what they mean. The three kinds below turn one
primitive each into every target: mixing weights, a field that moves points, new pixels. Hosts know
these kinds and no method; methods know no host.
"""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar, final, overload

import torch
import torch.nn.functional as F
from huggingface_hub import ModelHubMixin, snapshot_download
from torch import Tensor, nn

from albu_learned import artifact, resample
from albu_learned.artifact import About, Part
from albu_learned.batch import Batch, Rows

__all__ = ["Field", "Generate", "Method", "Mix", "Plan", "Warp", "load", "methods"]

Plan = dict[str, Tensor]
M = TypeVar("M", bound="Method")


class Method(Part, nn.Module, ModelHubMixin, ABC):
    """A learned augmentation. Derive from `Mix`, `Warp` or `Generate`, never from this.

    Class facts:
        needs: the parts of a batch, beside their number, that `plan` reads.
        citation: BibTeX of the paper.
    """

    _base = True
    kind: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    citation: ClassVar[str] = ""

    def __init__(self) -> None:
        super().__init__()
        self.about = About()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("forward", "check", "apply", "change"):
            if name in cls.__dict__ and not cls.__dict__.get("_base", False):
                raise TypeError(f"{cls.__name__} must not override `{name}`.")

    @abstractmethod
    def draw(
        self,
        rows: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Plan:
        """The noise for so many rows, on the given device (the generator's own, if any)."""

    @abstractmethod
    def plan(self, batch: Batch, noise: Plan) -> Plan:
        """What shall happen to each row, from what `needs` names and the noise."""

    @final
    def apply(self, batch: Any, plan: Plan | None = None) -> Any:
        """Does it, to whatever parts the batch has. Returns a new `Batch`.

        torch has a method of this name, which calls a function on every module. A model that holds
        a method must still be able to do that, so a function alone is passed on to it.
        """
        if plan is None and callable(batch):
            return nn.Module.apply(self, batch)
        if not isinstance(batch, Batch) or plan is None:
            raise TypeError(
                f"`batch` must be a Batch, and `plan` what `plan` returned, got "
                f"{type(batch).__name__} and {type(plan).__name__}."
            )
        return self.change(batch, plan)

    @abstractmethod
    def change(self, batch: Batch, plan: Plan) -> Batch:
        """`apply`, as each kind does it."""

    @abstractmethod
    def check(self, batch: Batch) -> None:
        """Raises if the method cannot work on such a batch."""

    @overload  # type: ignore[misc]  # torch declares forward as an attribute
    def forward(
        self, batch: Batch, labels: None = None, *, generator: torch.Generator | None = None
    ) -> Batch: ...
    @overload
    def forward(
        self, batch: Tensor, labels: None = None, *, generator: torch.Generator | None = None
    ) -> Tensor: ...
    @overload
    def forward(
        self, batch: Tensor, labels: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]: ...

    @final
    def forward(
        self,
        batch: Batch | Tensor,
        labels: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Batch | Tensor | tuple[Tensor, Tensor]:
        """Draws, plans and applies. A `Batch` gives a `Batch`; tensors give tensors."""
        given = batch if isinstance(batch, Batch) else Batch(images=batch, labels=labels)
        if len(given) == 0:
            raise ValueError(
                f"{type(self).__name__} needs at least one row, got an empty batch. "
                "Skip empty batches, or set drop_last in the loader."
            )
        self.check(given)
        device = given.device
        noise = self.draw(len(given), generator, device if generator is None else generator.device)
        noise = {name: tensor.to(device) for name, tensor in noise.items()}
        result = self.change(given, self.plan(given, noise))
        if isinstance(batch, Batch):
            return result
        assert result.images is not None
        return result.images if result.labels is None else (result.images, result.labels)

    def class_order(self, classes: Sequence[str]) -> Tensor:
        """For each of a host's classes, the number of the class of that name in the artifact."""
        known = self.about.classes
        if known is None:
            raise ValueError(
                f"`classes` must be left out: this {type(self).__name__} stores no class names."
            )
        if sorted(known) != sorted(classes) or len(set(classes)) != len(classes):
            raise ValueError(
                f"`classes` must name the classes of the artifact, {known}, in the order of your "
                f"labels, got {list(classes)}."
            )
        return torch.tensor([known.index(name) for name in classes])

    def card(self) -> str:
        """The model card, in Markdown."""
        about = self.about
        lines = [
            "---",
            "library_name: albu_learned",
            "tags: [data-augmentation, albu_learned]",
            *([f"license: {about.licence}"] if about.licence else []),
            "---",
            f"# {type(self).__name__}",
            "",
            (type(self).__doc__ or "A learned augmentation.").strip().splitlines()[0],
            "",
            f"Data: {about.data or 'none; this method was not fitted.'}",
        ]
        if about.classes:
            lines.append(f"Classes: {', '.join(about.classes)}")
        if about.figures:
            lines += ["", "| figure | value |", "|---|---|"]
            lines += [f"| {name} | {value:g} |" for name, value in about.figures.items()]
        lines += ["", "```python", "import albu_learned as al", "", 'method = al.load("FOLDER")']
        lines += ["```", "", "```bibtex", self.citation, "```", ""]
        return "\n".join(lines)

    def _save_pretrained(self, save_directory: Path) -> None:
        artifact.write(self, self.about, self.card(), Path(save_directory))

    @classmethod
    def _from_pretrained(
        cls: type[M],
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **unknown: Any,
    ) -> M:
        if unknown:
            raise TypeError(
                f"from_pretrained must not be given {sorted(unknown)}: an artifact stores its own "
                "arguments. Construct the method anew to change them."
            )
        folder = Path(model_id)
        if not folder.is_dir():
            folder = Path(
                snapshot_download(
                    model_id,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                    allow_patterns=[artifact.CONFIG, artifact.TENSORS, artifact.CARD],
                )
            )
        return _load_as(cls, folder)


def methods() -> dict[str, type[Part]]:
    """Every registered method, by name."""
    return artifact.registry(Method)


def load(folder: str | Path) -> Method:
    """The method that was saved in a folder. Never goes to the network.

    Args:
        folder: what `save_pretrained` wrote. To download one, use `Method.from_pretrained`.
    """
    return _load_as(Method, Path(folder))


def hold(given: Method | str | os.PathLike[str], kind: type[M]) -> M:
    """The method that a door shall hold: one that is given, or the artifact in a folder."""
    if isinstance(given, (str, os.PathLike)):
        return _load_as(kind, Path(given))
    if not isinstance(given, kind):
        raise TypeError(
            f"`method` must be a {kind.__name__} method or the folder of one, got "
            f"{type(given).__name__}. {_other_door(given)}"
        )
    return given


def _other_door(given: object) -> str:
    if isinstance(given, type) and issubclass(given, Method):
        return "Make an object of that class first."
    kind = getattr(given, "kind", None)
    return f"It is of the kind {kind!r}: use the door of that kind." if kind else ""


def _load_as(kind: type[M], folder: Path) -> M:
    method, about = artifact.read(folder, kind)
    assert isinstance(method, kind)
    method.about = about
    return method.eval()


class Mix(Method):
    """Convex combinations of the rows of a batch.

    The plan is sparse: output i is the sum over k of weight[i, k] times row index[i, k]. There may
    be fewer outputs than rows.

    Args:
        num_classes: how many classes there are; needed when labels are class numbers.
        smoothing: the share of a class number's probability spread evenly over all classes.
        min_weight: boxes, points and instances of an image are kept in every output in which it
            weighs at least this much.
    """

    _base = True
    kind = "mix"

    def __init__(
        self, num_classes: int | None = None, smoothing: float = 0.0, min_weight: float = 0.2
    ) -> None:
        super().__init__()
        if num_classes is not None and (not isinstance(num_classes, int) or num_classes < 1):
            raise ValueError(f"`num_classes` must be a positive integer, got {num_classes!r}.")
        if not 0 <= smoothing < 1:
            raise ValueError(f"`smoothing` must be in [0, 1), got {smoothing!r}.")
        if not 0 < min_weight <= 1:
            raise ValueError(f"`min_weight` must be in (0, 1], got {min_weight!r}.")
        self.num_classes = num_classes
        self.smoothing = smoothing
        self.min_weight = min_weight

    def identity(self, rows: int, device: torch.device | str | None = None) -> Plan:
        """The plan that leaves every row alone (labels still become soft)."""
        index = torch.arange(rows, device=device)[:, None]
        return {"index": index, "weight": torch.ones(rows, 1, device=device)}

    def check(self, batch: Batch) -> None:
        if batch.masks is not None and not batch.masks.is_floating_point():
            raise TypeError(
                f"`masks` must be float to be mixed, got {batch.masks.dtype}: a mixture of class "
                "numbers means nothing. Give a float mask a class, (B, M, H, W), or leave them out."
            )

    def change(self, batch: Batch, plan: Plan) -> Batch:
        self.check(batch)
        index, weight = plan["index"], plan["weight"]
        images, masks = batch.images, batch.masks
        return Batch(
            images=None if images is None else resample.mix(images, index, weight),
            labels=None if batch.labels is None else self.mix_labels(batch.labels, plan),
            masks=None if masks is None else resample.mix(masks, index, weight),
            boxes=self._gather(batch.boxes, plan),
            points=self._gather(batch.points, plan),
            instances=self._gather(batch.instances, plan),
        )

    def mix_labels(self, labels: Tensor, plan: Plan) -> Tensor:
        """(B, K) soft labels of the outputs."""
        index, weight = plan["index"], plan["weight"]
        if labels.ndim == 2:
            return resample.mix(self._check_soft(labels), index, weight)
        # The same as mixing `soften(labels)`, whose many zeros would cost more than the images.
        numbers, num_classes = self._check_numbers(labels)
        soft = torch.full(
            (len(index), num_classes),
            self.smoothing / num_classes,
            dtype=torch.float32,
            device=labels.device,
        )
        return soft.scatter_add_(1, numbers[index], (1 - self.smoothing) * weight.float())

    def soften(self, labels: Tensor) -> Tensor:
        """Class numbers as (B, K) probabilities; soft and multi-label rows as floats, unchanged."""
        if labels.ndim == 2:
            return self._check_soft(labels)
        numbers, num_classes = self._check_numbers(labels)
        share = self.smoothing / num_classes
        soft = torch.full(
            (len(labels), num_classes), share, dtype=torch.float32, device=labels.device
        )
        return soft.scatter(1, numbers[:, None], 1 - self.smoothing + share)

    def _check_numbers(self, labels: Tensor) -> tuple[Tensor, int]:
        """Class numbers that are in range, as int64, and how many classes there are."""
        if self.num_classes is None:
            raise ValueError(
                "`num_classes` must be given when labels are class numbers, got None. "
                f"Write {type(self).__name__}(..., num_classes=10)."
            )
        _check_range(labels, self.num_classes)
        return labels.long(), self.num_classes

    def _check_soft(self, labels: Tensor) -> Tensor:
        if self.num_classes is not None and labels.shape[1] != self.num_classes:
            raise ValueError(
                f"`labels` must be (B, {self.num_classes}) for num_classes={self.num_classes}, got "
                f"{tuple(labels.shape)}."
            )
        if self.smoothing:
            raise ValueError(
                f"`smoothing` must be 0 when labels are (B, K), got {self.smoothing}: whether they "
                "are probabilities or independent classes cannot be told. Smooth them beforehand."
            )
        soft = labels if labels.is_floating_point() else labels.float()
        _require(
            (soft >= 0).all() & (soft <= 1).all(),
            "`labels` of shape (B, K) must be probabilities in [0, 1] without NaN.",
        )
        return soft

    def _gather(self, rows: Rows | None, plan: Plan) -> Rows | None:
        """The rows of every image that weighs enough, and of the one that weighs most."""
        if rows is None:
            return None
        index, weight = plan["index"], plan["weight"]
        leads = torch.zeros_like(weight, dtype=torch.bool).scatter(1, weight.argmax(1, True), True)
        output, rank = ((weight >= self.min_weight) | leads).nonzero(as_tuple=True)
        parts = rows.split()
        chosen = [parts[int(image)] for image in index[output, rank]]
        lengths = torch.tensor([len(part) for part in chosen], device=output.device)
        return Rows(
            torch.cat([part.values for part in chosen]),
            torch.repeat_interleave(output, lengths),
            len(index),
            torch.cat([part.source for part in chosen]),
            torch.cat([part.valid for part in chosen]),
        )


class Field(ABC):
    """Where the points of each row of a batch go. Points are (B, N, D) fractions of the image."""

    @abstractmethod
    def points(self, points: Tensor) -> Tensor:
        """Where points of the given images lie in the new ones."""

    @abstractmethod
    def points_back(self, points: Tensor) -> Tensor:
        """Where points of the new images lay in the given ones: the inverse of `points`."""

    @abstractmethod
    def __len__(self) -> int:
        """How many rows it moves."""

    def grid(self, size: Sequence[int], like: Tensor) -> Tensor:
        """(B, *size, D): `points_back` of the centre of every pixel of the new images. Override
        where a whole grid is cheaper than its points one by one."""
        centres = resample.pixel_centres(size, like)
        flat = centres.reshape(1, -1, len(size)).expand(len(self), -1, -1)
        return self.points_back(flat).view(len(self), *size, len(size))

    @final
    def inverse(self) -> Field:
        return _Inverse(self)


class _Inverse(Field):
    def __init__(self, field: Field) -> None:
        self.field = field

    def __len__(self) -> int:
        return len(self.field)

    def points(self, points: Tensor) -> Tensor:
        return self.field.points_back(points)

    def points_back(self, points: Tensor) -> Tensor:
        return self.field.points(points)


class Warp(Method):
    """Moves images with everything that lies on them; never changes a class.

    Class facts:
        padding: what lies beyond the border: "border" (the nearest pixel), "zeros", "reflection".
    """

    _base = True
    kind = "warp"
    padding: ClassVar[str] = "border"

    @abstractmethod
    def field(self, plan: Plan) -> Field:
        """The one primitive: the motion that a plan describes."""

    @abstractmethod
    def identity(self, rows: int, device: torch.device | str | None = None) -> Plan:
        """The plan that moves nothing."""

    def check(self, batch: Batch) -> None:
        _check_needs(self, batch)

    def change(self, batch: Batch, plan: Plan) -> Batch:
        return _move(batch, self.field(plan), self.padding)

    def invert(self, batch: Batch, plan: Plan) -> Batch:
        """Undoes `apply`, as far as the frame and the resampling allow."""
        return _move(batch, self.field(plan).inverse(), self.padding)


def _move(batch: Batch, field: Field, padding: str) -> Batch:
    return Batch(
        images=resample.images(batch.images, field, padding),
        labels=batch.labels,
        masks=resample.masks(batch.masks, field, padding),
        boxes=resample.boxes(batch.boxes, field),
        points=resample.points(batch.points, field),
        instances=resample.instances(batch.instances, field, padding),
    )


class Generate(Method):
    """Makes new pixels for the images it is given; never changes a label or moves anything.

    Args:
        resize: whether pixels of another size than the images are resized to fit.
    """

    _base = True
    kind = "generate"

    def __init__(self, resize: bool = False) -> None:
        super().__init__()
        self.resize = resize

    def resized(self) -> Generate:
        """The same generator, sharing its parameters, that fits its pixels to any image."""
        twin = copy.copy(self)
        twin.resize = True
        return twin

    @abstractmethod
    def pixels(self, images: Tensor, plan: Plan) -> Tensor:
        """The one primitive: (B, C, H, W) float pixels in [0, 1] in place of the images."""

    def check(self, batch: Batch) -> None:
        _check_needs(self, batch)
        if batch.labels is not None and batch.labels.ndim != 1:
            raise ValueError(
                f"`labels` must be (B,) class numbers for {type(self).__name__}, got "
                f"{tuple(batch.labels.shape)} soft labels. Put generators before mixes."
            )

    def change(self, batch: Batch, plan: Plan) -> Batch:
        if batch.images is None:
            return batch
        made = self.pixels(batch.images, plan)
        if made.shape[1] != batch.images.shape[1]:
            raise ValueError(
                f"`images` must have {made.shape[1]} channels for this {type(self).__name__}, got "
                f"{tuple(batch.images.shape)}."
            )
        size = batch.images.shape[2:]
        if made.shape[2:] != size:
            if not self.resize:
                raise ValueError(
                    f"`images` must have the size {tuple(made.shape[2:])} of this "
                    f"{type(self).__name__}, got {tuple(size)}. Resize them, or set resize=True."
                )
            made = F.interpolate(made, tuple(size), mode="bilinear", antialias=True)
        return replace(batch, images=resample.to_dtype(made, batch.images.dtype))


def _check_needs(method: Method, batch: Batch) -> None:
    missing = sorted(name for name in method.needs if getattr(batch, name) is None)
    if missing:
        raise ValueError(
            f"{type(method).__name__} needs {' and '.join(missing)} to plan its change, but the "
            "batch has none. Give a Batch with them."
        )


def _check_range(labels: Tensor, num_classes: int) -> None:
    inside = ((labels >= 0) & (labels < num_classes)).all()
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        torch._assert_async(inside, f"`labels` must be in 0..{num_classes - 1}.")
    elif not inside:
        wrong = labels[(labels < 0) | (labels >= num_classes)][0].item()
        raise ValueError(
            f"`labels` must be in 0..{num_classes - 1} for num_classes={num_classes}, got {wrong}."
        )


def _require(condition: Tensor, rule: str) -> None:
    """Raises where that costs nothing; on CUDA the check runs with the kernels, unwaited for."""
    if condition.device.type == "cpu" and not torch.compiler.is_compiling():
        if not condition:
            raise ValueError(rule)
    else:
        torch._assert_async(condition, rule)
