"""One training of a PSTN, as `tune` compares them, and what is asked of it afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from albu_learned import checks
from albu_learned.fitting import Sample
from albu_learned.pstn.model import PSTN

__all__ = ["How", "Make", "Optimizer", "how_to", "measured", "training_facts"]

_CHUNK = 1024  # held-out rows on the device at a time
Make = Callable[[float], PSTN]
Optimizer = Callable[[PSTN], torch.optim.Optimizer]


@dataclass(frozen=True)
class How:
    """How all candidates are trained."""

    make: Make
    optimizer: Optimizer
    steps: int
    batch: int
    seed: int


def how_to(make: Make, optimizer: Optimizer | None, steps: int, batch: int, seed: int) -> How:
    for name, value in (("make", make), ("optimizer", optimizer or _adam)):
        if not callable(value):
            raise TypeError(
                f"`{name}` must be a function, got {value!r}. Write, such as, "
                "make=lambda prior_std: PSTN(network(), prior_std=prior_std), "
                "optimizer=lambda model: torch.optim.SGD(model.parameters(), 0.1)."
            )
    return How(
        make,
        optimizer or _adam,
        checks.integer("steps", steps, 1),
        checks.integer("batch", batch, 1),
        checks.integer("seed", seed, 0),
    )


def measured(
    how: How,
    prior: float,
    weight: float,
    sample: Sample,
    mask: Tensor,
    place: torch.device,
    bare: bool = False,
) -> dict[str, Tensor]:
    """NLL and accuracy on the rows of the mask, after a training on the others; of its classifier
    alone, if it shall be bare, with the same weights and batches."""
    cuda = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        model = _made(how, prior).to(place)
        model.kl_weight = weight
        _train(how, model, sample.images[~mask], sample.labels[~mask], place, bare)
    y = sample.labels[mask].to(place)
    network = (model.classifier if bare else model).eval()
    with torch.no_grad():
        scores = torch.cat([network(x.to(place)) for x in torch.split(sample.images[mask], _CHUNK)])
    checks.class_numbers(y, scores.shape[1], "the logits of this classifier", "y")
    nll = F.cross_entropy(scores.double(), y)  # of a PSTN these are log-probabilities, and stay so
    right = (scores.argmax(dim=1) == y).double().mean()
    return {"measures": torch.stack([nll, right]).cpu()}


def _train(how: How, model: PSTN, x: Tensor, y: Tensor, place: torch.device, bare: bool) -> None:
    def loss(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model.classifier(x), y) if bare else model.loss(x, y, noise)

    if bare and not any(weight.requires_grad for weight in model.classifier.parameters()):
        return  # it is frozen, and as good as it was
    optimizer = how.optimizer(model)
    noise = torch.Generator().manual_seed(how.seed)
    model.train()
    for rows in _batches(len(x), how):
        optimizer.zero_grad()
        loss(x[rows].to(place), y[rows].to(place)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _batches(count: int, how: How) -> Iterator[Tensor]:
    """Row numbers: epoch after epoch, every row as often as any."""
    generator = torch.Generator().manual_seed(how.seed)
    size = min(how.batch, count)
    rows = torch.empty(0, dtype=torch.long)
    for _ in range(how.steps):
        while len(rows) < size:
            rows = torch.cat([rows, torch.randperm(count, generator=generator)])
        yield rows[:size]
        rows = rows[size:]


def _made(how: How, prior: float) -> PSTN:
    """A new model, its weights by the seed; what follows draws from the same stream."""
    torch.manual_seed(how.seed)
    model = how.make(prior)
    if not isinstance(model, PSTN):
        raise TypeError(f"`make` must return a PSTN, got {type(model).__name__}.")
    if model.prior_std != prior or model.stn:
        raise ValueError(
            f"`make` must return a PSTN with the prior_std that it is given, {prior:g}, and "
            f"without stn=True, got prior_std={model.prior_std:g}, stn={model.stn}. Write "
            "lambda prior_std: PSTN(network(), prior_std=prior_std)."
        )
    return model


def _check_apart(model: PSTN, other: PSTN) -> None:
    """Raises if two models share what is trained: a candidate would begin where the last ended, and
    have seen what is held out of it. What is frozen may be shared."""
    own = {id(weight): name for name, weight in model.named_parameters() if weight.requires_grad}
    for weight in other.parameters():
        if id(weight) in own:
            raise ValueError(
                "`make` must make new networks each time it is called, got a model that shares "
                f"{own[id(weight)]!r} with the one before, so trials would go on from one another. "
                "Make the network within it: lambda prior_std: PSTN(network(), "
                "prior_std=prior_std)."
            )


def _adam(model: PSTN) -> torch.optim.Optimizer:
    """The paper's: torch's defaults, and a decay."""
    return torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=0.01)


def training_facts(how: How, prior: float, share: float) -> tuple[dict[str, Any], int]:
    """What else the trials depend on, as far as it can be told; and how many crops there are."""
    with torch.random.fork_rng(devices=[]):
        model, other = _made(how, prior), _made(how, prior)
    _check_apart(model, other)
    parts = [model.classifier, model.localiser, model.family, model.crops, model.samples]
    digest = hashlib.sha256(repr(parts).encode())
    for weight in [model.start, *model.parameters()]:
        if not isinstance(weight, nn.UninitializedParameter):
            digest.update(weight.detach().cpu().float().numpy().tobytes())
    optimizer = " ".join(repr(how.optimizer(model)).split())
    numbers = {name: getattr(how, name) for name in ("steps", "batch", "seed")}
    facts = {"model": digest.hexdigest()[:12], "optimizer": optimizer, "share": share, **numbers}
    return facts, model.crops
