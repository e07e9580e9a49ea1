"""Masks of objects: one map an image with the objects' numbers, from 1, or one mask an object.

In a map the smaller of two objects hides the larger, as the host paints them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from albu_learned.batch import Rows
from albu_learned.rows import rank_in_group

__all__ = ["are_maps", "as_maps", "renumber", "semantic", "store", "union"]


def are_maps(batch: dict[str, Any], image: Tensor, overlap: bool | None) -> bool:
    """Whether masks are one map an image; found out where `overlap` does not say."""
    masks = batch["masks"]
    if overlap is not None:
        return overlap
    if len(masks) != len(batch["img"]) or len(masks) != len(image):
        return len(masks) == len(batch["img"])
    # As many objects as images. With one on each both forms are the same; else some image is
    # empty, and so is its map.
    bare = torch.bincount(image, minlength=len(masks)) == 0
    return not bool(masks[bare].any())


def renumber(maps: Tensor, image: Tensor, kept: Tensor) -> Tensor:
    """Maps (B, H, W) of int64 without the objects that are not kept (M,); the others close up."""
    width = _width(maps, image)
    number = rank_in_group(image) + 1
    table = maps.new_zeros(len(maps), width)
    table[image[kept], number[kept]] = rank_in_group(image[kept]) + 1
    return _look_up(table, maps)


def union(maps: Tensor, rows: Rows) -> Tensor:
    """Maps (B, H, W) of int64 as a mix has gathered their objects: those of each output, numbered
    in the order of the rows."""
    area = _look_up(_areas(maps), maps)
    source = rows.source[:, 0]
    begins = torch.ones_like(source, dtype=torch.bool)  # of the objects of one source in an output
    begins[1:] = (source[1:] != source[:-1]) | (rows.image[1:] != rows.image[:-1])
    output, source = rows.image[begins], source[begins]
    offset = rank_in_group(rows.image)[begins]
    united = maps.new_zeros(rows.count, *maps.shape[1:])
    least = torch.full_like(united, maps[0].numel() + 1)
    layer = rank_in_group(output)
    for place in range(int(layer.max()) + 1 if len(layer) else 0):
        here = layer == place
        on, of = output[here], source[here]
        wins = (maps[of] > 0) & (area[of] < least[on])
        united[on] = torch.where(wins, maps[of] + offset[here][:, None, None], united[on])
        least[on] = torch.where(wins, area[of], least[on])
    return united


def as_maps(masks: Tensor, image: Tensor, count: int) -> Tensor:
    """Maps (B, H, W) of int64 from one mask (M, H, W) an object."""
    inside = masks > 0.5
    order = inside.flatten(1).sum(dim=1).argsort(stable=True)  # from the smallest
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    nothing = len(order)
    ranks = torch.where(inside, rank[:, None, None], nothing)
    smallest = ranks.new_full((count, *masks.shape[1:]), nothing)
    smallest.scatter_reduce_(0, image[:, None, None].expand_as(ranks), ranks, "amin")
    number = torch.cat([(rank_in_group(image) + 1)[order], order.new_zeros(1)])
    return number[smallest]


def semantic(maps: Tensor, image: Tensor, classes: Tensor) -> Tensor:
    """(B, H, W): the class number of every pixel; where there is no object 0, which the loss, that
    looks at the masks too, does not read."""
    table = classes.new_zeros(len(maps), _width(maps, image))
    table[image, rank_in_group(image) + 1] = classes.reshape(-1)
    return _look_up(table, maps)


def store(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """Maps in the host's dtype, or a wider one where their numbers do not fit."""
    wide = dtype == torch.uint8 and maps.numel() > 0 and int(maps.max()) > 255
    return maps.to(torch.int32 if wide else dtype)


def _width(maps: Tensor, image: Tensor) -> int:
    """One more than any number in the maps, or of any object."""
    most = int(rank_in_group(image).max()) + 1 if len(image) else 0
    return 1 + max(most, int(maps.max()) if maps.numel() else 0)


def _areas(maps: Tensor) -> Tensor:
    """(B, N): how many pixels each number has."""
    width = int(maps.max()) + 1 if maps.numel() else 1
    first = width * torch.arange(len(maps), device=maps.device)
    # Not by scatter_add, which warns on CUDA that it is not deterministic.
    return (
        (maps.flatten(1) + first[:, None])
        .flatten()
        .bincount(minlength=len(first) * width)
        .view(len(maps), width)
    )


def _look_up(table: Tensor, maps: Tensor) -> Tensor:
    return table.gather(1, maps.flatten(1)).view(maps.shape)
