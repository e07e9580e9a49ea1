"""The only file that imports timm: its own classes and functions, as they are before any patch."""

from __future__ import annotations

try:
    import timm.data
    from timm.data import auto_augment
    from timm.data.loader import MultiEpochsDataLoader, PrefetchLoader, create_loader
    from timm.data.mixup import FastCollateMixup, Mixup, cutmix_bbox_and_lam
except ModuleNotFoundError as error:
    if error.name != "timm":
        raise
    raise ImportError(
        "albu_learned.timm needs timm, which is not installed. "
        'Install it with: pip install "albu_learned[timm]"'
    ) from error

create_naflex_loader = getattr(timm.data, "create_naflex_loader", None)  # not in every release

__all__ = [
    "FastCollateMixup",
    "Mixup",
    "MultiEpochsDataLoader",
    "PrefetchLoader",
    "auto_augment",
    "create_loader",
    "create_naflex_loader",
    "cutmix_bbox_and_lam",
]
