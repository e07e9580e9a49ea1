"""What the three operations share: holding a method, its noise and its plan in Kornia's params.

Kornia's params are what a container stores, replays and copies, so only plain tensors go there: the
noise, and the detached plan once it is made. Gradients come from planning anew, in `live`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch
from albu_learned.kinds import Warp
from albu_learned.method import Method, Plan, hold

Params = dict[str, Any]
_KEYS = {"images": "input", "labels": "class", "boxes": "bbox", "instances": "mask"}
CONTAINER = "albu_learned.kornia.LearnedAugmentationSequential"


class Learned:
    """Mixed into one of Kornia's operation bases, before it."""

    method: Method
    same_on_batch: bool
    p: float
    p_batch: float
    device: torch.device
    live: Plan | None = None

    def _hold(
        self, given: Method | str | Path, kind: type[Method], classes: Sequence[str] | None
    ) -> None:
        self.method = hold(given, kind)
        self.class_order = None if classes is None else self.method.class_order(classes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.method!r}, p={min(self.p, self.p_batch)})"

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> Params:
        rows = batch_shape[0]
        if rows == 0:
            return {}
        drawn = self.method.draw(1 if self._shares_noise() else rows, device=self.device)
        return {
            f"noise_{name}": noise.expand(rows, *noise.shape[1:]) if len(noise) != rows else noise
            for name, noise in drawn.items()
        }

    def _shares_noise(self) -> bool:
        return self.same_on_batch

    def rows(self, params: Params) -> Tensor | None:
        """The rows that p selected; None for all of them."""
        if self.p == 1 and self.p_batch == 1:
            return None
        chosen = params["batch_prob"] > 0.5
        return None if bool(chosen.all()) else chosen.nonzero()[:, 0]

    def prepare(self, params: Params, batch: Batch) -> None:
        """Plans for the selected rows of a batch; keeps the plan for this step and for replay."""
        rows = self.rows(params)
        if len(batch) == 0 or (rows is not None and len(rows) == 0):
            return
        check_count(params, images=len(batch))
        if batch.labels is not None and batch.labels.ndim == 1:
            batch = replace(batch, labels=self._numbered(batch.labels))
        stored = _named(params, "plan_")
        can_plan = all(getattr(batch, name) is not None for name in self.method.needs)
        if stored and not (can_plan and self._wants_gradient(batch)):
            self.live = _take(stored, rows, batch.device)
            return
        if not can_plan:
            self._ask_for_more(batch)
        self.method.check(batch)
        if "images" in self.method.needs and batch.images is not None:
            _check_pixels(batch.images, type(self.method).__name__)
        chosen = batch if rows is None else batch.select(rows.to(batch.device))
        self.live = self.method.plan(chosen, _take(_named(params, "noise_"), rows, batch.device))
        # Also when replayed: with other weights it is another plan, and all targets must follow it.
        params.update(_put_back(self.live, rows, len(batch)))

    def _numbered(self, labels: Tensor) -> Tensor:
        """A host's class numbers as those of the artifact, which may know its classes."""
        known, labels = self.method.about.classes, labels.long()
        if self.class_order is not None:
            _check_numbers(labels, len(self.class_order), "names of `classes`")
            return self.class_order.to(labels.device)[labels]
        if known is not None and "labels" in self.method.needs:
            _check_numbers(labels, len(known), f"classes of this {type(self.method).__name__}")
        return labels

    def _ask_for_more(self, batch: Batch) -> None:
        missing = sorted(name for name in self.method.needs if getattr(batch, name) is None)
        keys = ", ".join(repr(_KEYS.get(name, name)) for name in missing)
        raise ValueError(
            f"{type(self.method).__name__} needs {' and '.join(missing)} to plan its change. "
            f"Add to the call, and to data_keys: {keys}.{self.method.instead}"
        )

    def plan_for(self, params: Params, device: torch.device, live: bool = True) -> Plan:
        """The plan of the selected rows, for one target; the stored one unless `live`."""
        if live and self.live is not None:
            return {name: value.to(device) for name, value in self.live.items()}
        rows = self.rows(params)
        stored = _named(params, "plan_")
        if stored:
            return _take(stored, rows, device)
        if self.method.needs:
            raise RuntimeError(
                f"{type(self.method).__name__} needs {' and '.join(sorted(self.method.needs))} to "
                "plan its change, which Kornia's own containers do not give to an operation. "
                f"Put it into {CONTAINER} instead, directly in its list.{self.method.instead}"
            )
        return self.method.plan(Batch(), _take(_named(params, "noise_"), rows, device))

    def change(self, params: Params, batch: Batch, inverse: bool = False) -> Batch:
        """Changes the selected rows of one target, and computes only those."""
        rows = self.rows(params)
        if len(batch) == 0 or (rows is not None and len(rows) == 0):
            return batch
        name = next(f.name for f in fields(batch) if getattr(batch, f.name) is not None)
        check_count(params, **{name: len(batch)})
        # Only pixels carry gradients; and a list of masks comes one by one, with params of one row.
        plan = self.plan_for(params, batch.device, live=batch.images is not None)
        if batch.images is None:
            plan = {name: value.detach() for name, value in plan.items()}
        if rows is None:
            return self._do(batch, plan, inverse)
        rows = rows.to(batch.device)
        return batch.put(rows, self._do(batch.select(rows), plan, inverse))

    def _do(self, batch: Batch, plan: Plan, inverse: bool) -> Batch:
        if not inverse:
            return self.method.apply(batch, plan)
        assert isinstance(self.method, Warp)  # Kornia asks no other operation
        return self.method.invert(batch, plan)

    def _wants_gradient(self, batch: Batch) -> bool:
        read = batch.images if "images" in self.method.needs else None
        leaves = self.method.parameters() if read is None else (read, *self.method.parameters())
        return torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)


def frame(params: Params) -> tuple[int, int]:
    """(H, W) of the images that the params were drawn for."""
    height, width = params["forward_input_shape"].tolist()[-2:]
    return height, width


def check_count(params: Params, **given: int) -> None:
    drawn = len(params["batch_prob"])
    for name, count in given.items():
        if count != drawn:
            raise ValueError(
                f"`{name}` must be as many as the images that `params` were drawn for, {drawn}, "
                f"got {count}."
            )


def as_labels(value: Any) -> Tensor:
    """Labels as a caller gave them: (B,) class numbers or (B, K); one number alone is one row."""
    try:
        labels = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"Labels must be class numbers (B,) or probabilities (B, K), got {value!r:.60}."
        ) from error
    labels = labels[None] if labels.ndim == 0 else labels
    Batch(labels=labels)  # refuses what cannot be class numbers
    return labels


def _check_pixels(images: Tensor, name: str) -> None:
    if torch.compiler.is_compiling() or images.numel() == 0:
        return
    low, high = images.aminmax()
    if not checks.in_unit(float(low), float(high)):
        raise ValueError(
            f"Images must have values in [0, 1] for {name}, which looks at them, got {low:g} to "
            f"{high:g}. Put it before K.Normalize; clamp what a resampling overshot."
        )


def _check_numbers(labels: Tensor, count: int, what: str) -> None:
    inside = (labels >= 0) & (labels < count)
    if not torch.compiler.is_compiling() and not inside.all():
        raise ValueError(
            f"Labels must be in 0..{count - 1} for the {count} {what}, got "
            f"{labels[~inside][0].item()}."
        )


def _named(params: Params, prefix: str) -> Plan:
    return {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)}


def _take(values: Plan, rows: Tensor | None, device: torch.device) -> Plan:
    if rows is None:
        return {name: value.to(device) for name, value in values.items()}
    return {name: value[rows.to(value.device)].to(device) for name, value in values.items()}


def _put_back(plan: Plan, rows: Tensor | None, count: int) -> Params:
    """The detached plan with as many rows as the batch, zeros where p did not select."""
    kept: Params = {}
    for name, value in plan.items():
        full = value.detach().clone()
        if rows is not None:
            empty = full.new_zeros(count, *full.shape[1:])
            full = empty.index_copy(0, rows.to(full.device), full)
        kept[f"plan_{name}"] = full
    return kept
