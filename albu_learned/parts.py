"""Parts: whatever an artifact names by type, described as JSON and built again."""

from __future__ import annotations

import inspect
import math
import sys
from typing import Any, ClassVar

__all__ = ["Part", "build", "describe", "registry", "unknown_type"]

# Names that artifacts use themselves; the last is the hub client's.
_RESERVED = {"format", "type", "arguments", "about", "config"}


class Part:
    """Anything that an artifact names by type: methods, and the parts they are made of.

    A subclass registers itself under its own name when it is defined. Every constructor argument is
    kept as an attribute of the same name, so that `arguments` can read it back.
    """

    _registry: ClassVar[dict[str, type[Part]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if inspect.isabstract(cls) or cls.__dict__.get("_base", False):
            return
        known = Part._registry.get(cls.__name__)
        if known is not None and _home(known) != _home(cls):
            raise TypeError(
                f"The name {cls.__name__!r} is taken by {known.__module__}.{known.__qualname__}: "
                "artifacts are found by it, so it must be unique. Choose another class name."
            )
        Part._registry[cls.__name__] = cls

    def arguments(self) -> dict[str, Any]:
        """The constructor arguments that make this object again, as JSON values."""
        values: dict[str, Any] = {}
        for name in inspect.signature(type(self).__init__).parameters:
            if name == "self":
                continue
            if name in _RESERVED:
                raise ValueError(
                    f"{type(self).__name__} must not call an argument `{name}`: artifacts use the "
                    f"names {sorted(_RESERVED)} themselves. Choose another."
                )
            if not hasattr(self, name):
                raise AttributeError(
                    f"{type(self).__name__} must keep its argument `{name}` as an attribute of the "
                    "same name; without it an artifact cannot be written."
                )
            values[name] = _encode(getattr(self, name), f"{type(self).__name__}.{name}")
        return values


def _home(cls: type) -> tuple[str, str]:
    """Where a class is defined. A script that is run and imported, and a notebook cell that is run
    again, define the same class anew; that is no clash."""
    module = sys.modules.get(cls.__module__)
    return getattr(module, "__file__", None) or cls.__module__, cls.__qualname__


def registry(kind: type[Part] = Part) -> dict[str, type[Part]]:
    """The registered classes of a kind, by name."""
    return {name: c for name, c in sorted(Part._registry.items()) if issubclass(c, kind)}


def describe(part: Part) -> dict[str, Any]:
    return {"type": type(part).__name__, "arguments": part.arguments()}


def build(config: dict[str, Any], where: str) -> Part:
    """The object that `describe` described."""
    name, arguments = config["type"], config["arguments"]
    if name not in Part._registry:
        raise unknown_type(name, where)
    wanted = Part._registry[name]
    known = [n for n in inspect.signature(wanted.__init__).parameters if n != "self"]
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise ValueError(
            f"{where} has the unknown arguments {unknown} for {name}, which takes {known}. "
            "It was written by another version."
        )
    decoded = {key: _decode(value, f"{where}, {key}") for key, value in arguments.items()}
    try:
        return wanted(**decoded)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from error
    except (ValueError, RuntimeError) as error:  # the second is torch's own word for it
        raise ValueError(f"{where}: {error}") from error


def unknown_type(name: str, where: str) -> ValueError:
    return ValueError(
        f"{where} has the unknown type {name!r}. Known: {', '.join(registry())}. "
        "If it is a class of your own, import its module first."
    )


def _encode(value: Any, name: str) -> Any:
    if isinstance(value, Part):
        return describe(value)
    if isinstance(value, (list, tuple)):
        return [_encode(item, name) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"`{name}` must be finite to be saved, got {value}.")
    if isinstance(value, dict) and set(value) == {"type", "arguments"}:
        raise ValueError(f"`{name}` must not have just the keys 'type' and 'arguments': parts do.")
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _encode(item, name) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"`{name}` must be a number, text, list, or a registered part to be saved, got "
        f"{type(value).__name__}. Keep tensors as buffers or parameters instead."
    )


def _decode(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        if set(value) == {"type", "arguments"}:
            return build(value, where)
        return {key: _decode(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item, where) for item in value]
    return value
