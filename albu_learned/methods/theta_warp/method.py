"""ThetaWarp: random invertible warps whose theta is Gaussian, from a prior or from your images.

theta = scale * std * F z with z ~ N(0, I): F is a square matrix for each class, or one for all,
scaled so that std is how far points move, the root of the mean square, as a fraction of the side.
Before a fit F is the family's smooth prior. The mean is zero and theta is as likely as minus theta:
an augmentation shall not drift.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch
from albu_learned.data import Data
from albu_learned.families import Affine, AffineCPAB, Family
from albu_learned.fitting import Progress, collect, folder_of, isolated
from albu_learned.method import Plan
from albu_learned.methods.theta_warp import fit as fitting
from albu_learned.methods.theta_warp.family import Given, family_for, refuse_grey
from albu_learned.methods.theta_warp.family_warp import FamilyWarp
from albu_learned.methods.theta_warp.words import summary

__all__ = ["ThetaWarp"]

_TRIED = 128  # motions, by which the pace is measured
_STRONGEST = 0.5  # beyond it a motion takes minutes


class ThetaWarp(FamilyWarp):
    """Warps images, masks, boxes, points and series by random motions of a family.

    As it is made, its motions are smooth and of no data; `fit` learns from labelled images which
    motions their classes really have.

    Args:
        family: what moves; by default `AffineCPAB((4, 4))`. For series `AffineCPAB(10)`.
        std: how far points move, the root of the mean square, in sides of the image.
        scale: multiplies std; 1 is as strong as was fitted.
        distributions: 1 for all classes together; else one for each class, chosen by the labels.
        padding: what is beyond the border: "border" (the nearest pixel), "zeros", "reflection".
        box: what a box is taken for: "outline" (the warped rectangle stays inside the new box),
            "ellipse" (the ellipse within the box does; boxes grow less), "mask" (that of the
            instances given in the same rows).
        min_visible: a box of which less than this share of the area stays in the frame is dropped.

    Example:
        >>> import torch
        >>> warp = ThetaWarp(std=0.05)
        >>> boxes = torch.tensor([[[0.2, 0.2, 0.5, 0.5]]] * 2)
        >>> batch = Batch(images=torch.rand(2, 3, 32, 32), boxes=boxes)
        >>> out = warp(batch)
        >>> out.images.shape, out.boxes.values.shape
        (torch.Size([2, 3, 32, 32]), torch.Size([2, 4]))
    """

    citation = """@inproceedings{hauberg2016dreaming,
  title     = {Dreaming More Data: Class-dependent Distributions over Diffeomorphisms for Learned
               Data Augmentation},
  author    = {Hauberg, S{\\o}ren and Freifeld, Oren and Larsen, Anders Boesen Lindbo and
               Fisher III, John W. and Hansen, Lars Kai},
  booktitle = {Artificial Intelligence and Statistics},
  year      = {2016}
}"""

    factor: Tensor

    def __init__(
        self,
        family: Family | None = None,
        std: float = 0.05,
        scale: float = 1.0,
        distributions: int = 1,
        padding: str = "border",
        box: str = "outline",
        min_visible: float = 0.1,
    ) -> None:
        super().__init__(AffineCPAB() if family is None else family, padding, box, min_visible)
        self.std = _positive("std", std)
        self.scale = _positive("scale", scale)
        if self.scale * self.std > _STRONGEST:
            raise ValueError(
                f"`std` times `scale` must be at most {_STRONGEST} of the image's side, which is "
                f"far more than leaves anything to be seen, got {std!r} times {scale!r}. For five "
                "percent of the side give std=0.05."
            )
        # Not `num_classes`, which hosts fill in where a method has it: one for all is the default.
        self.distributions = checks.integer("distributions", distributions, 1)
        if self.distributions > 1:
            self.needs = frozenset({"labels"})
        smooth = self.family.smooth.float()
        self.register_buffer("factor", smooth.repeat(self.distributions, 1, 1))
        self.measure()

    def tried(self, generator: torch.Generator) -> Tensor:
        count = max(_TRIED // self.distributions, 4)
        draws = torch.randn(count, self.family.dim, generator=generator, dtype=torch.float32)
        thetas = self.scale * self.std * draws @ self.factor.float().cpu().mT  # (K, count, dim)
        return thetas.flatten(0, 1)

    @classmethod
    def from_prior(
        cls, family: Family | None = None, std: float = 0.05, **arguments: Any
    ) -> ThetaWarp:
        """A warp of no data: smooth random motions, as strong as std. See the class."""
        return cls(family, std, **arguments)

    @classmethod
    @isolated()
    def fit(
        cls,
        images: Any,
        labels: Any = None,
        *,
        family: Given = None,
        pairs: str = "random",
        partners: int = 5,
        per_class: bool = False,
        scale: float = 1.0,
        classes: Sequence[str] | None = None,
        groups: Any = None,
        most: int | None = 100,
        seed: int = 0,
        folder: str | os.PathLike[str] | None = None,
        chunk: int = 256,
        device: torch.device | str | None = None,
        progress: Progress = True,
        padding: str = "border",
        box: str = "outline",
        min_visible: float = 0.1,
    ) -> ThetaWarp:
        """Learns which motions the classes of images have, from pairs of images that are aligned.

        What it found is in `about` of what it returns, which is on the CPU; `summary` says it in
        words.

        Args:
            images: (N, C, H, W), float in [0, 1] or uint8, or series (N, C, T), as a tensor or an
                array; a Dataset of (image, label) or a DataLoader; or the path of a data set (see
                `albu_learned.data.open_data`), of which the training part is read; of one without
                parts seven tenths of each class, unless it is opened with test_share=0.
            labels: (N,) class numbers, where images do not bring their own.
            family: what moves, or the cells of an `AffineCPAB`; by default (4, 4), for series 10.
            pairs: of a class: each image with "random" others, its nearest "neighbours" or "all".
            partners: of each image; with "all" it has no meaning.
            per_class: learn one distribution for each class. One for all was better in trials.
            scale: multiplies how far points move; 1 is as far as in the pairs.
            classes: a name for each class, where images do not bring their own.
            groups: (N,) the patient or scene of each image; of a folder of images, a CSV file.
                Partners come from other groups where there are any.
            most: images of each class that are looked at, chosen by the seed; None for all.
            seed: of every random choice: the same gives the same fit.
            folder: keeps what is finished, so that a fit that was stopped goes on there; in the
                end it holds the artifact. One that holds a finished artifact is refused.
            chunk: pairs that are aligned at a time.
            device: where; CUDA if there is one.
            progress: True for a bar, if tqdm is installed and somebody looks; or a function, told
                how many of how many pairs are done.
            padding, box, min_visible: of the warp; see the class.

        Example:
            >>> import torch
            >>> images, labels = torch.rand(6, 1, 8, 8), torch.tensor([0, 0, 0, 1, 1, 1])
            >>> warp = ThetaWarp.fit(images, labels, family=(2, 2), progress=False)
            >>> warp(images).shape
            torch.Size([6, 1, 8, 8])
        """
        how = fitting.Settings(pairs, partners, per_class, most, seed, chunk)

        def make(family: Family, std: float = 0.05, distributions: int = 1) -> ThetaWarp:
            return cls(family, std, scale, distributions, padding, box, min_visible)

        make(Affine())  # what is wrong with the strength or the padding is told before the work
        place = folder_of(folder)
        sample = collect(images, labels, classes, groups, how.most, how.seed)
        if not isinstance(images, (str, os.PathLike, Data)):
            refuse_grey("images", sample.images.shape, family)
        return fitting.fitted(make, sample, family, how, place, device, progress)

    @classmethod
    def unfitted(
        cls, shape: Sequence[int] | None = None, classes: int | None = None, **how: Any
    ) -> ThetaWarp:
        """The warp of no data in the place of the one that `fit` would make, and all checks of what
        `fit` is given that need no data.

        Args:
            shape: (C, H, W) or (C, T), of the data; None if nobody knows yet.
            classes: how many; one distribution for all does not depend on it.
            **how: arguments of `fit` that say how.
        """
        settings = {f.name: how.pop(f.name) for f in fields(fitting.Settings) if f.name in how}
        fitting.Settings(**settings)
        return cls(family_for(how.pop("family", None), shape), **how)

    def summary(self) -> str:
        """What its fit found, in plain words."""
        return summary(self.about)

    def plan(self, batch: Batch, noise: Plan) -> Plan:
        factor = self.factor.to(noise["z"].dtype)
        strength = self.scale * self.std
        if self.distributions == 1:
            return {"theta": strength * noise["z"] @ factor[0].mT}
        assert batch.labels is not None
        labels = batch.labels.long()
        checks.class_numbers(labels, self.distributions, "this ThetaWarp")
        own = factor[labels]
        return {"theta": strength * torch.einsum("bij,bj->bi", own, noise["z"])}

    def extra_repr(self) -> str:
        return f"std={self.std:g}, scale={self.scale:g}, distributions={self.distributions}"


def _positive(name: str, value: float) -> float:
    rule = "a number > 0, such as 0.05 of the image's side" if name == "std" else "a number > 0"
    number = checks.real(name, value, rule)
    if number <= 0:
        raise ValueError(f"`{name}` must be {rule}, got {number}.")
    return number
