"""What trainings by gradients share: what is set around them, mixed precision, the word for one
that diverged, and what of an optimizer is kept to go on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["diverged", "in_precision", "isolated", "restore", "state_of"]


@contextmanager
def isolated() -> Iterator[None]:
    """For a fit, which takes gradients and all digits, whatever is set around it: so the same seed
    gives the same fit."""
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


@contextmanager
def in_precision(precision: str, device: torch.device) -> Iterator[None]:
    """In which a loss is computed: "bfloat16" or "float16" mixed with "float32", or that alone."""
    if precision == "float32":
        yield
        return
    with torch.autocast(device.type, dtype=getattr(torch, precision)):
        yield
    # Within another autocast torch keeps the weights as they were cast: a step later they differ.
    torch.clear_autocast_cache()


def diverged(loss: float, step: int, learning_rate: float) -> ValueError:
    """The error of a training whose loss is not finite.

    Args:
        loss: as it is.
        step: counted from 0.
        learning_rate: as it was given.
    """
    return ValueError(
        f"`learning_rate` must let the training stay finite, but its loss is {loss} at step "
        f"{step + 1}, got {learning_rate:g}. Take a third of it."
    )


def state_of(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, Sequence[Tensor]]
) -> dict[str, Tensor]:
    """What the next step needs, on the CPU: the optimizer's own numbers, and lists of weights by
    name."""
    kept = {f"{name}.{i}": w.detach() for name, own in weights.items() for i, w in enumerate(own)}
    for i, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state[parameter].items():
            kept[f"optimizer.{i}.{name}"] = torch.as_tensor(value)
    return {name: tensor.cpu() for name, tensor in kept.items()}


def restore(
    optimizer: torch.optim.Optimizer,
    weights: Mapping[str, Sequence[Tensor]],
    kept: Mapping[str, Tensor],
) -> None:
    """Makes optimizer and weights, in place, what they were when `state_of` was asked."""
    with torch.no_grad():
        for name, own in weights.items():
            for i, tensor in enumerate(own):
                tensor.copy_(kept[f"{name}.{i}"])
    state: dict[int, dict[str, Tensor]] = {}
    for i in range(len(_parameters(optimizer))):
        start = f"optimizer.{i}."
        state[i] = {n[len(start) :]: t for n, t in kept.items() if n.startswith(start)}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
