"""The contract between methods and hosts: three steps, three kinds.

A method is described once, in three steps, and each step has one place:

    noise = method.draw(rows, generator)      all of the randomness, nothing learned
    plan  = method.plan(batch, noise)         reads images, labels, boxes and learned parameters
    batch = method.apply(batch, plan)         pure; masks, boxes and points may come later, alone

Noise and plan are dictionaries of tensors whose first dimension is the rows of the batch, so that a
host can keep, slice and replay them without knowing what they mean. The three kinds, in `kinds`,
turn one primitive each into every target: mixing weights, a field that moves points, new pixels.
Hosts know these kinds and no method; methods know no host. (The kinds were first meant to stand in
this file; apart, each is a page that can be read alone.)
"""

from __future__ import annotations

import inspect
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, final, overload

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from torch import Tensor, nn

from albu_learned import artifact, checks
from albu_learned.artifact import About
from albu_learned.batch import Batch, as_floats
from albu_learned.parts import Part, build, describe, registry

__all__ = ["Method", "Plan", "hold", "load", "methods"]

Plan = dict[str, Tensor]
M = TypeVar("M", bound="Method")


class Method(Part, nn.Module, ModelHubMixin, ABC):
    """A learned augmentation. Derive from `Mix`, `Warp` or `Generate`, never from this.

    Class facts:
        needs: the parts of a batch, beside their number, that `plan` reads; an object whose
            arguments decide that sets its own.
        citation: BibTeX of the paper.
        instead: what to use where nobody can give what `needs` names; the end of a message.
        made_by: what makes one that has learned, where it is not a `fit` of the class.
        paths: constructor arguments that are folders, and the file in each that tells its content
            from another's; in a spec they are relative to its file.
        idle: why it may have changed no image of an epoch, for a message.
        stages: of a training at which it can work; all of its kind if there are none.
        tries: arguments that set how strong it is, with values worth trying on validation images;
            "p" is the share of rows that are changed.
    """

    _base = True
    kind: ClassVar[str] = ""
    needs: frozenset[str] = frozenset()
    citation: ClassVar[str] = ""
    instead: ClassVar[str] = ""
    made_by: ClassVar[str] = ""
    paths: ClassVar[Mapping[str, str]] = MappingProxyType({})
    idle: ClassVar[str] = "Something has removed it from the pipeline"
    stages: ClassVar[tuple[str, ...]] = ()
    tries: ClassVar[Mapping[str, tuple[Any, ...]]] = MappingProxyType({})

    def __init__(self) -> None:
        super().__init__()
        self.about = About()
        self._folder: Path | None = None  # where it lies, with its picture

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("forward", "check", "apply", "change"):
            if name in cls.__dict__ and not cls.__dict__.get("_base", False):
                raise TypeError(f"{cls.__name__} must not override `{name}`.")
        # No host has files at every stage, so a method that reads them goes without as well.
        parts = {field.name for field in fields(Batch)} - {"files"}
        if isinstance(cls.needs, str) or not set(cls.needs) <= parts:
            raise TypeError(
                f"`needs` of {cls.__name__} must be a set of parts of a Batch, {sorted(parts)}, "
                f'got {cls.needs!r}. Write needs = frozenset({{"labels"}}).'
            )

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

    def changed(self, plan: Plan) -> int:
        """How many rows the plan changes; the others stay as they are."""
        return len(next(iter(plan.values())))

    def reach(self, rows: int) -> float:
        """How many of so many rows it could change, at least: none may be hit by chance."""
        return rows

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
        given = _as_batch(batch, labels)
        if len(given) == 0:
            raise ValueError(
                f"{type(self).__name__} needs at least one row, got an empty batch. "
                "Skip empty batches, or set drop_last in the loader."
            )
        result = self.change(given, self.planned(given, generator))
        if isinstance(batch, Batch):
            return result
        assert result.images is not None
        return result.images if result.labels is None else (result.images, result.labels)

    @final
    def planned(self, batch: Batch, generator: torch.Generator | None = None) -> Plan:
        """What shall happen to every row, with noise drawn for it. For doors that plan and apply
        apart, and need not keep the noise."""
        self.check(batch)
        device = batch.device
        noise = self.draw(len(batch), generator, _device_of(generator, device))
        checks.rows(self, "draw", noise, len(batch))
        noise = {name: tensor.to(device) for name, tensor in noise.items()}
        plan = self.plan(self.readable(batch), noise)
        checks.rows(self, "plan", plan, len(batch))
        return plan

    @final
    def readable(self, batch: Batch) -> Batch:
        """The batch as `plan` reads it: images are floats in [0, 1]. For doors that call `plan`."""
        if "images" not in self.needs or batch.images is None:
            return batch
        return batch.with_images(as_floats(batch.images))

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

    def with_arguments(self: M, **arguments: Any) -> M:
        """The same method, fitted as it is, with other values of these constructor arguments."""
        self._check_names(arguments)
        given = describe(self)
        config = {**given, "arguments": {**given["arguments"], **arguments}}
        with torch.random.fork_rng(devices=[]):  # a network draws its first weights
            twin = build(config, f"This {type(self).__name__}")
        assert isinstance(twin, type(self))
        try:
            twin.load_state_dict(self.state_dict())
        except RuntimeError as error:
            raise ValueError(
                f"`{'`, `'.join(arguments)}` of this {type(self).__name__} cannot be "
                f"{[*arguments.values()]}: what it has learned is of another shape. Fit it anew."
            ) from error
        twin.about = self.about
        return twin.train(self.training)

    def _check_names(self, arguments: Mapping[str, Any]) -> None:
        known = [n for n in inspect.signature(type(self).__init__).parameters if n != "self"]
        for name in arguments:
            if name not in known:
                raise TypeError(
                    f"`{name}` is no argument of {type(self).__name__}."
                    f"{checks.nearest(name, known)} Known: {', '.join(known)}."
                )

    def card(self) -> str:
        """The model card, in Markdown."""
        summary = (type(self).__doc__ or "A learned augmentation.").strip().splitlines()[0]
        return artifact.card(type(self).__name__, summary, self.about, self.citation)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **options: Any) -> str | None:
        """Writes the artifact to a folder, as described in `albu_learned.artifact`.

        Args:
            save_directory: a folder that is empty, new, or an artifact that shall be replaced.
            **options: see `huggingface_hub.ModelHubMixin.save_pretrained`.
        """
        # Before the mixin, which begins by deleting the old config.
        artifact.check(self, self.about, Path(save_directory))
        return super().save_pretrained(Path(save_directory), **options)

    @classmethod
    def from_pretrained(
        cls: type[M], pretrained_model_name_or_path: str | Path, **options: Any
    ) -> M:
        """The method in a folder, or of a repository of the hub, which is downloaded.

        Args:
            pretrained_model_name_or_path: the folder, or the repository as "user/name".
            **options: see `huggingface_hub.ModelHubMixin.from_pretrained`.
        """
        name = os.fspath(pretrained_model_name_or_path)
        if not os.path.isdir(name) and not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name):
            return _load_as(cls, Path(name))  # it can only be a folder, and raises what is wrong
        return super().from_pretrained(name, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Uploads the artifact; with the picture, if one is where it was saved or loaded from.

        Args:
            repo_id: the repository, as "user/name".
            **options: see `huggingface_hub.ModelHubMixin.push_to_hub`.
        """
        folder = self._folder
        try:
            return super().push_to_hub(repo_id, **options)
        finally:
            self._folder = folder  # not the temporary one from which it is uploaded

    def _save_pretrained(self, save_directory: Path) -> None:
        artifact.write(self, self.about, self.card(), Path(save_directory), self._folder)
        self._folder = Path(save_directory).absolute()

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
        **others: Any,
    ) -> M:
        unknown = {k for k in others if k not in ("proxies", "resume_download")}  # before hub 1.0
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
                    allow_patterns=[*artifact.FILES, *artifact.PARTS],
                )
            )
        return _load_as(cls, folder)


def methods() -> dict[str, type[Part]]:
    """Every registered method, by name."""
    return registry(Method)


def load(folder: str | os.PathLike[str]) -> Method:
    """The method that was saved in a folder. Never goes to the network.

    Args:
        folder: what `save_pretrained` wrote. To download one, use `Method.from_pretrained`.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"`folder` must be a path, got {type(folder).__name__}.")
    return _load_as(Method, Path(folder))


def hold(given: Method | str | os.PathLike[str], kind: type[M], **arguments: Any) -> M:
    """The method that a door shall hold: one that is given, or the artifact in a folder; a copy of
    it where it is told other constructor arguments, of which None leaves its own."""
    if isinstance(given, (str, os.PathLike)):
        given = _load_as(kind, Path(given))
    if not isinstance(given, kind):
        raise TypeError(
            f"`method` must be a {kind.__name__} or the folder of one, got "
            f"{type(given).__name__}{_what_it_is(given)}."
        )
    told = {name: value for name, value in arguments.items() if value is not None}
    return given.with_arguments(**told) if told else given


def _what_it_is(given: object) -> str:
    if isinstance(given, type) and issubclass(given, Method):
        return f": make an object of {given.__name__} first"
    return (
        f", a {given.kind} method: use the door of that kind" if isinstance(given, Method) else ""
    )


def _load_as(kind: type[M], folder: Path) -> M:
    method, about = artifact.read(folder, kind)
    assert isinstance(method, kind)
    method.about, method._folder = about, folder.absolute()
    return method.eval()


def _as_batch(batch: Batch | Tensor, labels: Tensor | None) -> Batch:
    if not isinstance(batch, Batch):
        return Batch(images=batch, labels=labels)
    if labels is not None:
        raise TypeError(
            "`labels` must be part of the Batch where one is given, got both. "
            "Write Batch(images=..., labels=...)."
        )
    return batch


def _device_of(generator: torch.Generator | None, device: torch.device) -> torch.device:
    if generator is None:
        return device
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"`generator` must be a torch.Generator, got {type(generator).__name__}. "
            "Write torch.Generator().manual_seed(0)."
        )
    return generator.device
