"""Puts a spec to work in a training script that nobody edits.

timm's train.py imports the modules that `--device-modules` names, first of all and in every rank:

    ALBU_LEARNED=spec.yaml torchrun --nproc_per_node 4 train.py DATA \\
        --device-modules albu_learned.timm.register --mixup 1 ...

Its `create_loader`, and with a mix in the spec its `Mixup` and `FastCollateMixup`, are replaced, as
in every loaded module that holds them, under whatever name.
"""

from __future__ import annotations

import atexit
import copy
import logging
import sys
from typing import Any, NoReturn

from albu_learned.spec import VARIABLE, Spec, of_environment
from albu_learned.timm import host
from albu_learned.timm.create import arguments_of, assemble
from albu_learned.timm.refusals import refuse
from albu_learned.timm.replaced import SpecCollate, SpecMixup

__all__ = ["create_loader", "create_naflex_loader", "install"]

_logger = logging.getLogger("albu_learned")


class _Installed:
    """The spec of this process, and whether a training loader has taken it up."""

    spec: Spec | None = None
    used = False


def install() -> None:
    """Reads the spec that the environment names, and patches timm. May be called again."""
    spec = of_environment()
    if spec is None:
        raise OSError(
            f"The environment variable {VARIABLE} must name a spec, a YAML file with the methods "
            f"of the training, but it is not set. Write {VARIABLE}=spec.yaml python train.py ..."
        )
    if _Installed.spec is None:
        atexit.register(_tell_if_unused)
    _Installed.spec = spec
    _replace(host.create_loader, create_loader)
    _replace(host.create_naflex_loader, create_naflex_loader)
    if spec.mixes:
        _replace(host.Mixup, SpecMixup)
        _replace(host.FastCollateMixup, SpecCollate)


def create_loader(*args: Any, **kwargs: Any) -> Any:
    """timm's create_loader, with the spec of this process in its training loader."""
    spec, given = _Installed.spec, arguments_of(*args, **kwargs)
    if spec is None or not given["is_training"]:
        return host.create_loader(*args, **kwargs)
    _Installed.used = True
    if not spec.mixes:
        return assemble(given, spec, None, None)[0]
    refuse(given, spec, mixed_elsewhere=False)  # before another demand, which it would go against
    collate, mixup = given["collate_fn"], SpecMixup.latest
    prefetches = given["use_prefetcher"]
    carrier = collate if prefetches and isinstance(collate, SpecCollate) else mixup
    if carrier is None or (prefetches and carrier is not collate):
        first = spec.mixes[0]
        raise ValueError(
            f"{first.where}: {first.name} makes labels soft, so the training must take a loss for "
            "soft labels, but it was not told to. Add --mixup 1."
        )
    settings = carrier.settings
    loader, mixes = assemble(given, spec, settings, settings.num_classes)
    if isinstance(carrier, SpecCollate):
        carrier.claimed = True
    elif mixes is not None:
        # A copy: batches are on the CPU in the loader, and on the device in the training loop.
        carrier.attach(mixes, copy.copy(loader.normal))
        loader.mixes = None
    return loader


def create_naflex_loader(*args: Any, **kwargs: Any) -> NoReturn:
    """Refuses: NaFlex batches are sequences of patches."""
    raise NotImplementedError(
        "create_naflex_loader (--naflex-loader) must not be used with a spec: its batches are "
        "sequences of patches, no images. Leave out --naflex-loader, or the spec."
    )


def _replace(original: Any, ours: Any) -> None:
    """Puts ours wherever a loaded module has the original, but where timm asks for its type."""
    for module in list(sys.modules.values()):
        held = getattr(module, "__dict__", {})
        place = str(held.get("__name__"))
        if original is None or place.partition(".")[0] == "albu_learned":
            continue
        for name in [name for name, value in list(held.items()) if value is original]:
            if (place, name) != ("timm.data.loader", "FastCollateMixup"):
                setattr(module, name, ours)


def _tell_if_unused() -> None:
    if _Installed.spec is not None and not _Installed.used:
        _logger.error(
            "albu_learned: no training loader of timm was made after albu_learned.timm.register "
            f"was imported, so the spec {_Installed.spec.path!r} was not used."
        )
