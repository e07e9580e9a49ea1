"""More arguments of a sampler, as `settings` of the method gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from albu_learned import checks

__all__ = ["checked"]


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {value!r}.")
    return value


_COUNT = partial(checks.integer, least=0)
_POSITIVE = partial(checks.between, interval="(0, inf)")
_NONE_OR_MORE = partial(checks.between, interval="[0, inf)")
_SHARE = partial(checks.between, interval="[0, 1]")
_KNOWN: dict[str, dict[str, Callable[[str, Any], Any]]] = {
    "decoder-only": {"guidance": _COUNT, "polish": _COUNT, "beyond": _NONE_OR_MORE},
    "psld": {
        "omega": _NONE_OR_MORE,
        "gamma": _NONE_OR_MORE,
        "pace": _POSITIVE,
        "eta": _SHARE,
        "published": _flag,
    },
    "blending": {"eta": _SHARE},
}


def checked(given: Mapping[str, Any] | None, sampler: str) -> dict[str, Any]:
    """The arguments, if the sampler has them and can work with their values."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(
            f"`settings` must map names to values, such as {{'guidance': 5}}, got {given!r}."
        )
    known = _KNOWN[sampler]
    for name in given:
        if name not in known:
            raise ValueError(
                f"`settings` of the sampler {sampler!r} must be of {[*known]}, got {name!r}."
                + checks.nearest(name, known)
            )
    return {name: known[name](f"settings[{name!r}]", value) for name, value in given.items()}
