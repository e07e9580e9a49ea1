"""Which prior a PSTN should have, found on images that are held out.

Every candidate is trained as often and as long as the others, from the same weights, on the same
batches; what is asked for is how likely it finds the labels that were held out. The classifier
alone is trained like that too, for on some data no motion helps. What is finished is kept in a
folder, candidate by candidate: more of them may be asked for later.
"""

from __future__ import annotations

import functools
import itertools
import numbers
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.data import hold_out
from albu_learned.fitting import (
    Progress,
    Sample,
    device_of,
    facts_of,
    folder_of,
    isolated,
    opened,
    told,
)
from albu_learned.fitting.sample import groups_of
from albu_learned.pstn import given
from albu_learned.pstn.trials import Make, Optimizer, how_to, measured, training_facts

__all__ = ["Trial", "Tuned", "tune"]

MEASURES = ("nll", "accuracy")
_BARE = "no pstn"
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class Trial:
    """A candidate, and how well it did on held-out rows: means over the hold-outs. Both numbers of
    the classifier alone are 0."""

    prior_std: float
    kl_weight: float
    nll: float
    accuracy: float


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Attributes:
        prior_std: of the best candidate; make(tuned.prior_std) is a fresh model with it.
        kl_weight: of the best; set it where more than one was tried.
        measure: by which it is the best.
        trials: all candidates, in the order in which they were tried.
        bare: the classifier alone; None with several crops, which it cannot take.
        warning: that this one did better, or that candidates should reach farther; None if neither.
    """

    prior_std: float
    kl_weight: float
    measure: str
    trials: tuple[Trial, ...]
    bare: Trial | None
    warning: str | None

    def __str__(self) -> str:
        lines = ["| prior_std | kl_weight | NLL | accuracy | |", "|---|---|---|---|---|"]
        for trial in self.trials:
            best = (trial.prior_std, trial.kl_weight) == (self.prior_std, self.kl_weight)
            cells = f"{trial.prior_std:g} | {trial.kl_weight:g} | {trial.nll:.4f}"
            lines.append(f"| {cells} | {trial.accuracy:.4f} | {'best' if best else ''} |")
        if self.bare is not None:
            lines.append(f"| no PSTN | | {self.bare.nll:.4f} | {self.bare.accuracy:.4f} | |")
        return "\n".join([*lines, "", self.warning] if self.warning else lines)


@isolated()
def tune(
    make: Make,
    x: Tensor,
    y: Tensor,
    prior_std: Sequence[float],
    kl_weight: Sequence[float] = (1.0,),
    *,
    groups: Any = None,
    holdouts: int = 1,
    share: float = 0.25,
    steps: int = 1000,
    batch: int = 32,
    optimizer: Optimizer | None = None,
    measure: str = "nll",
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    progress: Progress = True,
) -> Tuned:
    """The `prior_std`, and if asked the `kl_weight`, under which held-out labels are likeliest:
    what `PSTN.tune` does.

    Args:
        make: a function of prior_std that makes a new PSTN, with new weights.
        x: images (N, C, H, W) or series (N, C, T), floats, as `loss` takes them.
        y: (N,) class numbers.
        prior_std: the candidates.
        kl_weight: candidates too; each is tried with each of `prior_std`.
        groups: (N,) which rows are of one patient or scene: they are held out together.
        holdouts: how many times rows are held out; the measures are means.
        share: of every class that is held out.
        steps: optimizer steps of every training.
        batch: rows of a step.
        optimizer: a function of the model that makes one; by default Adam, as in the paper.
        measure: "nll" or "accuracy".
        seed: of weights, batches, motions and hold-outs, the same for every candidate.
        folder: where finished trainings are kept; the same call goes on there. Another network is
            refused, as far as its layers and first weights tell it.
        device: of the trainings; by default CUDA where there is one.
        progress: True for a bar, or a function of how many trainings are done and how many there
            are.

    Example:
        >>> import torch
        >>> from albu_learned import PSTN
        >>> def make(prior_std):
        ...     network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        ...     return PSTN(network, prior_std=prior_std)
        >>> x, y = torch.rand(16, 1, 8, 8), torch.arange(16) % 2
        >>> tuned = PSTN.tune(make, x, y, [0.02, 0.1], steps=2, progress=False)
        >>> tuned.prior_std in (0.02, 0.1), len(tuned.trials)
        (True, 2)
        >>> model = make(tuned.prior_std)
    """
    candidates = _candidates(prior_std, kl_weight)
    measure = checks.one_of("measure", measure, MEASURES)
    share = checks.between("share", share, "(0, 1)")
    how = how_to(make, optimizer, steps, batch, seed)
    sample, place = _sample(x, y, groups), device_of(device)
    masks = [
        _mask(sample, share, how.seed, number)
        for number in range(checks.integer("holdouts", holdouts, 1))
    ]
    first = candidates[0][0]
    known, crops = training_facts(how, first, share)
    facts = {**facts_of(sample, place), **known}
    asked = [(f"prior {prior!r} kl {weight!r}", prior, weight) for prior, weight in candidates]
    if crops == 1:
        asked.append((_BARE, first, 0.0))
    total = len(asked) * len(masks)
    with (
        opened(folder_of(folder), facts) as store,
        told(progress, 0, total, "tuning", "training") as tell,
    ):
        trials, bare = [], None
        for name, prior, weight in asked:
            found = []
            for number, mask in enumerate(masks):
                work = functools.partial(
                    measured, how, prior, weight, sample, mask, place, name == _BARE
                )
                found.append(store.part(f"{name} holdout {number}", work)["measures"])
                tell(1)
            means = torch.stack(found).mean(dim=0).tolist()
            if name == _BARE:
                bare = Trial(0.0, 0.0, *means)
            else:
                trials.append(Trial(prior, weight, *means))
    best = _best(trials, measure)
    warning = _warning(best, trials, bare, measure)
    if warning is not None:
        warnings.warn(warning, stacklevel=4)  # of who called PSTN.tune, behind the decorator
    return Tuned(best.prior_std, best.kl_weight, measure, tuple(trials), bare, warning)


def _candidates(prior_std: Any, kl_weight: Any) -> list[tuple[float, float]]:
    priors = [given.prior_std(value) for value in _several("prior_std", prior_std)]
    weights = [
        checks.between("kl_weight", value, "[0, inf)") for value in _several("kl_weight", kl_weight)
    ]
    return list(itertools.product(priors, weights))


def _sample(x: Tensor, y: Tensor, groups: Any) -> Sample:
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim not in (3, 4):
        got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(
            f"`x` must be floats, images (N, C, H, W) or series (N, C, T), got {got}. Of uint8 "
            "images give x.float() / 255."
        )
    if len(x) < 2 or 0 in x.shape:
        raise ValueError(f"`x` must have at least two rows, got {tuple(x.shape)}.")
    if not x.isfinite().all():
        raise ValueError("`x` must be finite, got NaN or infinity.")
    if not isinstance(y, Tensor) or y.shape != (len(x),) or y.dtype not in _WHOLE:
        got = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(
            f"`y` must be ({len(x)},) class numbers from 0, one for each of `x`, got {got}. Of "
            "soft labels give y.argmax(1)."
        )
    if y.min() < 0:
        raise ValueError(f"`y` must be class numbers from 0, got {int(y.min())}.")
    known = groups_of(groups.cpu() if isinstance(groups, Tensor) else groups, len(x))
    kind = torch.get_default_dtype()  # in which models are made
    rows, labels = x.detach().cpu().to(kind).contiguous(), y.cpu().long()
    return Sample(rows, labels, known, None, int(labels.max()) + 1, len(x), "")


def _mask(sample: Sample, share: float, seed: int, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + number)
    mask = hold_out(sample.labels, sample.groups, share, generator)
    if not mask.any() and sample.groups is not None:
        raise ValueError(
            "`groups` must be two or more in some class, of which one can be held out, got one in "
            "each. Leave them out, or give more."
        )
    if not mask.any():
        raise ValueError(
            "`x` must have a class with two rows, of which one can be held out, got one row of "
            "each. With so few images choose prior_std on other data."
        )
    return mask


def _several(name: str, values: Any) -> list[Any]:
    """Candidates; a number alone is one."""
    several = [values] if isinstance(values, numbers.Real) else values
    listed = list(several) if isinstance(several, Iterable) else []
    if not listed or len(set(listed)) < len(listed):
        raise ValueError(
            f"`{name}` must list at least one value, each once, got {values!r}. Write [0.05, 0.1]."
        )
    return listed


def _best(trials: Sequence[Trial], measure: str) -> Trial:
    """The first of the best; among those of one accuracy the likeliest."""
    if measure == "nll":
        return min(trials, key=lambda trial: trial.nll)
    return min(trials, key=lambda trial: (-round(trial.accuracy, 9), trial.nll))


def _warning(best: Trial, trials: Sequence[Trial], bare: Trial | None, measure: str) -> str | None:
    """What a choice among these candidates alone would hide."""
    priors = sorted({trial.prior_std for trial in trials})
    reach = ""
    if len(priors) > 2 and best.prior_std in (priors[0], priors[-1]):
        end, where = (
            ("smallest", "smaller") if best.prior_std == priors[0] else ("largest", "larger")
        )
        reach = f"{best.prior_std:g} is the {end} prior_std that was tried: try {where} ones too."
    if bare is None or _best([best, bare], measure) is best:
        return reach or None
    value, other = getattr(bare, measure), getattr(best, measure)
    return (
        f"Held-out labels are predicted better by the classifier alone ({measure} {value:.4f}) "
        f"than with the motions of any candidate ({other:.4f} at best). These data may not bear "
        f"them: train it without PSTN. {reach}"
    ).rstrip()
