"""The KL of a PSTN joins the loss of a training loop that knows nothing of it.

In training the logits of a PSTN owe the KL of their rows. Whatever module is called with them, and
with targets, and returns a loss, returns it with the KL added: nn.CrossEntropyLoss, the losses of
timm, or one of yours. It is the output of that module that changes, so what the loop does to its
loss (scaling it against underflow, dividing it by accumulated steps, reducing it over processes)
it does to both terms. Were a gradient added on the way back, none of it would be known there.

Logits are recognised by their node in autograd's graph: so are those that were cast, split, moved
through DistributedDataParallel or divided by a temperature; and nothing is left of them in memory
once the loop has dropped its loss. Of several batches of one model the mean over all rows is added;
what several models owe to one loss is added up, for the bound has a KL for each. A gradient that
comes back to logits whose KL no loss has taken stops the training. The hooks are those of all
modules, there only while something is owed.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules

from albu_learned import checks

__all__ = ["join", "owe"]

_REACH = 64  # nodes of the graph that are looked at, from what a module is given
# Older releases of torch do not tell what a module was given by name.
_KNOWN = inspect.signature(modules.register_module_forward_hook).parameters
_NAMED: dict[str, Any] = {"with_kwargs": True} if "with_kwargs" in _KNOWN else {}
_SETTLED = "albu_learned: the KL is in it"
_REMEDY = (
    "Take a loss that is a module, such as nn.CrossEntropyLoss(), and call it as loss(logits, "
    "targets); or model.loss(x, y); or albu_learned.pstn.join(loss, logits). To train without "
    "the KL, or to add it yourself, set `kl_weight` of the model to 0."
)


class Due:
    """What one batch of logits owes: the weighted KL of each row; and whose logits they are."""

    def __init__(self, rows: Tensor, debtor: object) -> None:
        self.rows, self.debtor = rows, debtor
        self.count = len(rows)
        self.taken = False

    def take(self) -> Tensor:
        if self.taken:
            raise RuntimeError(
                "The KL of a PSTN must join one loss, but its logits were given to a second, so "
                "its weight in the sum of them is unknown. Give them to one module that computes "
                "both; compute under torch.no_grad() what is only to be shown; or set `kl_weight` "
                "of the model to 0 and add model.kl(x).mean() to the sum."
            )
        self.taken = True
        rows, self.rows = self.rows, self.rows.detach()[:0]  # its graph is the loss's now
        return rows


class _Owing(torch.autograd.Function):
    """Nothing but a node of the graph, which knows what its logits owe."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, due: Due) -> Tensor:
        return logits.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Due], output: Tensor) -> None:
        ctx.due = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        if not ctx.due.taken:
            raise RuntimeError(
                "The KL of a PSTN must join the loss, but a gradient came back to logits whose KL "
                f"no loss has taken: it would learn to undo its motions. {_REMEDY}"
            )
        _watch.stop_if_settled()
        return gradient, None


class _Work(threading.local):
    """The outermost module of a thread that is at work on logits that owe something."""

    owner: nn.Module | None = None
    dues: Sequence[Due] = ()


class _Watch:
    """The hooks, which are those of all threads, and what is owed in any."""

    def __init__(self) -> None:
        self.open: weakref.WeakSet[Due] = weakref.WeakSet()
        self.handles: list[Any] = []
        self.work = _Work()
        self.lock = threading.RLock()

    def start(self, due: Due) -> None:
        self.work.owner = None  # of a loss that was interrupted
        with self.lock:
            self.open.add(due)
            if not self.handles:
                after: Any = self.after  # torch has types for hooks that return nothing
                self.handles = [
                    modules.register_module_forward_pre_hook(self.before),
                    modules.register_module_forward_hook(after, always_call=True, **_NAMED),
                ]

    def stop_if_settled(self) -> None:
        with self.lock:
            if all(due.taken for due in self.open):
                named = getattr(modules, "_global_forward_hooks_with_kwargs", {})
                for handle in self.handles:
                    handle.remove()
                    named.pop(handle.id, None)  # which torch forgets, and then believes in hooks
                self.handles = []

    def before(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        if self.work.owner is not None:
            return
        dues = _dues(given)
        if dues and len(given) > 1:  # one without targets is no loss
            self.work.owner, self.work.dues = module, dues
        elif not dues:
            self.stop_if_settled()

    def after(self, module: nn.Module, given: tuple[Any, ...], *rest: Any) -> Tensor | None:
        *named, output = rest  # there are none named either if the module has raised
        values = (*given, *(value for each in named for value in each.values()))
        work = self.work
        dues: Sequence[Due]
        if work.owner is module:
            dues, work.owner, work.dues = work.dues, None, ()
        elif work.owner is None and len(values) > max(1, len(given)):
            dues = _dues(values)
            done = bool(dues) and all(due.taken for due in dues)
            if done and _is_loss(output, dues) and _SETTLED not in output.grad_fn.metadata:
                raise RuntimeError(
                    f"A loss must be called as loss(logits, targets) with the logits of a PSTN, so "
                    f"that the KL joins its result, but {type(module).__name__} was given them by "
                    "name, and a module within it has taken the KL already."
                )
            dues = [due for due in dues if not due.taken]
        else:
            return None
        if not dues or not _is_loss(output, dues):
            return None
        return _joined(output, dues, "mean" if output.ndim else _reduction(module))


_watch = _Watch()


# Not torch.compiler.disable, which takes seconds of every import.
@torch._disable_dynamo  # type: ignore[attr-defined]
def owe(logits: Tensor, rows: Tensor, debtor: object) -> Tensor:
    """The logits (B, K), owing the weighted KL (B,) of their rows to the loss they are given to.
    The debtor is one object for all logits of a model, and another for any other."""
    if not logits.requires_grad:
        return logits
    due = Due(rows, debtor)
    _watch.start(due)
    owing: Tensor = _Owing.apply(logits, due)
    return owing


def join(loss: Tensor, logits: Tensor, reduction: str = "mean") -> Tensor:
    """The loss and the KL that its logits owe: for a loss that no module has computed.

    Args:
        loss: a mean over the rows, or one value a row.
        reduction: "sum" for a loss that is a sum over the rows.
        logits: what a PSTN has returned. In evaluation nothing is owed, and the loss is as it was.

    Example:
        >>> import albu_learned as al
        >>> from torch.nn.functional import cross_entropy
        >>> model = al.PSTN(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)))
        >>> logits = model(torch.rand(6, 1, 8, 8))
        >>> join(cross_entropy(logits, torch.arange(6)), logits).backward()
    """
    dues = _dues((logits,))
    if not dues:
        return loss
    if not _is_loss(loss, dues):
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else loss
        raise ValueError(
            "`loss` must be a mean over the rows of `logits`, or one value for each, with a "
            f"gradient, got {shape}. Give what F.cross_entropy(logits, y) returns."
        )
    return _joined(loss, dues, checks.one_of("reduction", reduction, ("mean", "sum")))


def _reduction(module: nn.Module) -> str:
    """Whether the loss of a module is a sum over the rows: as it says, if it does."""
    own = getattr(module, "reduction", None)
    within = [type(each) for each in module.modules() if getattr(each, "reduction", None) == "sum"]
    if own is None and within:
        raise RuntimeError(
            f"A loss must say whether it is a mean or a sum over the rows, but in "
            f"{type(module).__name__} {within[0].__name__} is a sum, and what becomes of it is "
            'unknown, so the weight of the KL is. Give it an attribute, reduction = "mean" or '
            '"sum"; or set `kl_weight` of the model to 0 and add model.kl(x).mean().'
        )
    return "sum" if own == "sum" else "mean"


def _joined(loss: Tensor, dues: Sequence[Due], reduction: str) -> Tensor:
    whole = loss
    for own in _by_debtor(dues):
        rows = torch.cat([due.take().to(loss.device) for due in own])
        whole = whole + (rows if loss.ndim else rows.sum() if reduction == "sum" else rows.mean())
    checks.require(
        ~whole.isnan().any(),
        "The loss must be a number, got NaN. Training has diverged: lower the learning rate, or "
        "clip gradients.",
    )
    node: Any = whole.grad_fn
    node.metadata[_SETTLED] = True
    return whole


def _by_debtor(dues: Iterable[Due]) -> list[list[Due]]:
    found: dict[int, list[Due]] = {}
    for due in dues:
        found.setdefault(id(due.debtor), []).append(due)
    return list(found.values())


def _is_loss(output: Any, dues: Sequence[Due]) -> bool:
    if not isinstance(output, Tensor) or not output.requires_grad:
        return False
    counts = [sum(due.count for due in own) for own in _by_debtor(dues)]
    return output.ndim == 0 or all(output.shape == (count,) for count in counts)


def _dues(given: Iterable[Any]) -> list[Due]:
    """What tensors owe that these were made of, each once."""
    nodes = [tensor.grad_fn for tensor in _tensors(given) if tensor.grad_fn is not None]
    seen = set(nodes)
    found = []
    for _ in range(_REACH):
        if not nodes:
            break
        node: Any = nodes.pop(0)
        if _SETTLED in node.metadata:
            continue  # what comes of a loss owes nothing more
        due = getattr(node, "due", None)
        if isinstance(due, Due):
            found.append(due)
            continue
        more = {before for before, _ in node.next_functions if before is not None} - seen
        seen |= more
        nodes += more
    return found


def _tensors(given: Iterable[Any]) -> Iterator[Tensor]:
    for value in given:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (each for each in value if isinstance(each, Tensor))
