"""A device that is none: its tensors are computed on the CPU, but are refused beside tensors of the
CPU, and with generators of the CPU, as those of a GPU are. So code that forgets to move a tensor is
found where there is no GPU.

It goes by the name of torch's device `meta`, which every torch has and which asks for no driver.
What only a GPU does (its rounding, its kernels, autocast, the branches for CUDA) is not tested.
"""

import importlib
from contextlib import contextmanager, nullcontext

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["DEVICE", "elsewhere"]

DEVICE = torch.device("meta")
aten = torch.ops.aten
_MOVES = (aten.copy_.default, aten._to_copy.default)
_READS = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
_READS += (aten._index_put_impl_.default,)


@contextmanager
def elsewhere():
    """Within, `DEVICE` can be computed on."""
    optimizers = importlib.import_module("torch.optim.optimizer")
    autocast, fused = torch.autocast, optimizers._get_fused_kernels_supported_devices
    known = [*fused(), DEVICE.type]
    torch.autocast = lambda kind, *given, **how: (
        nullcontext() if kind == DEVICE.type else autocast(kind, *given, **how)
    )
    optimizers._get_fused_kernels_supported_devices = lambda: known
    try:
        with _Dispatched(), _Called():
            yield
    finally:
        torch.autocast = autocast
        optimizers._get_fused_kernels_supported_devices = fused


class _There(torch.Tensor):
    """Says that it is elsewhere; `inner` has its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        how = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        how |= {"dtype": inner.dtype, "layout": inner.layout, "device": DEVICE}
        made = torch.Tensor._make_wrapper_subclass(cls, inner.size(), **how)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def tolist(self):
        return self.inner.tolist()

    def __repr__(self):
        return f"_There({self.inner!r})"


class _Dispatched(TorchDispatchMode):
    """For operations without a tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Called(TorchFunctionMode):
    """What torch does with `meta` before it dispatches would leave numbers out."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and _is_there(kwargs.get("device")):
            del kwargs["device"]
            return func(*args, **kwargs).to(DEVICE)
        here = [isinstance(value, _There) for value in args]
        if func is torch.Tensor.new_tensor and here[0]:
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}).to(DEVICE)
        if func in (torch.repeat_interleave, torch.Tensor.repeat_interleave) and any(here):
            _refuse(func, [value for value in args if isinstance(value, torch.Tensor)])
            return _There(func(*map(_inner, args), **kwargs))
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and here[0]:
            at = args[1] if isinstance(args[1], tuple) else (args[1],)
            at = tuple(torch.tensor(one) if isinstance(one, list) else one for one in at)
            return func(args[0], at, *args[2:])
        return func(*args, **kwargs)


def _run(func, args, kwargs):
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    there = [value for value in tensors if isinstance(value, _There)]
    asked = kwargs.get("device")
    if func in _READS and there:
        _refuse(func, [args[0], *args[2:3]])  # places to read may be of the CPU
        if not isinstance(args[0], _There):
            _refuse(func, tensors)
    elif func not in _MOVES:
        _refuse(func, tensors, func._schema.is_mutable and tensors and tensors[0] is args[0])
    if kwargs.get("generator") is not None and (there or _is_there(asked)):
        raise RuntimeError(f"{func} expects a generator of the device, got one of the CPU")
    given = {**kwargs, "device": "cpu"} if _is_there(asked) else kwargs
    made = func(*tree_map(_inner, args), **tree_map(_inner, given))
    goes = bool(there) if asked is None else _is_there(asked)
    if func is aten.copy_.default:
        goes = isinstance(args[0], _There)
    known = {id(value.inner): value for value in there}  # what was changed in place stays the same

    def sent(value):
        if not isinstance(value, torch.Tensor):
            return value
        return known[id(value)] if id(value) in known else _There(value)

    return tree_map(sent, made) if goes else made


def _refuse(func, tensors, changed=False):
    """As torch: single numbers of the CPU may be read anywhere, but not be changed."""
    here = [value for value in tensors if not isinstance(value, _There)]
    strange = any(value.dim() > 0 for value in here)
    if len(here) < len(tensors) and (strange or (changed and not isinstance(tensors[0], _There))):
        raise RuntimeError(f"{func} expects all tensors on one device, but found {DEVICE} and cpu")


def _is_there(device):
    return device is not None and torch.device(device) == DEVICE


def _inner(value):
    return value.inner if isinstance(value, _There) else value
