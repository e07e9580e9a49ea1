"""PosteriorWarp: the motions that a PSTN has learned, as a warp for any training.

    theta = start + F (mean(x) + scale * deviation(x) z),   z ~ N(0, I)

It looks at every image as the PSTN did; or it is the marginal of that over some images, a Gaussian
that looks at none and is faster. Both are made by `PSTN.as_warp`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch
from albu_learned.families import Affine, Family
from albu_learned.method import Plan
from albu_learned.methods.theta_warp.family_warp import FamilyWarp
from albu_learned.pstn.look import Look

__all__ = ["PosteriorWarp"]

_PRIOR = 0.05  # of a PSTN, unless told
_TRIED = 64  # motions, by which the pace is measured


class PosteriorWarp(FamilyWarp):
    """Warps images, masks, boxes, points and series by the motions that a PSTN has learned.

    `PSTN.as_warp` makes one. Made by hand, its motions are the prior of a PSTN, and of no data.

    Args:
        family: what moves; by default `Affine()`.
        look: what looks at images; None for motions that depend on none.
        scale: multiplies the noise, not what a look finds; 1 is as strong as was learned. A
            deterministic transformer (stn=True) has no noise, so it changes nothing there.
        padding: what is beyond the border: "border" (the nearest pixel), "zeros", "reflection".
        box: what a box is taken for: "outline" (the warped rectangle stays inside the new box),
            "ellipse" (the ellipse within the box does; boxes grow less), "mask" (that of the
            instances given in the same rows).
        min_visible: a box of which less than this share of the area stays in the frame is dropped.

    Example:
        >>> import torch
        >>> from albu_learned import PSTN
        >>> classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> model = PSTN(classifier, example=(1, 8, 8))  # and a training
        >>> warp = model.as_warp()
        >>> warp(torch.rand(4, 1, 8, 8)).shape
        torch.Size([4, 1, 8, 8])
        >>> fast = model.as_warp(marginal=torch.rand(20, 1, 8, 8))
        >>> fast(torch.rand(4, 3, 32, 32)).shape
        torch.Size([4, 3, 32, 32])
    """

    citation = """@article{schwobel2020probabilistic,
  title   = {Probabilistic Spatial Transformers for Bayesian Data Augmentation},
  author  = {Schw{\\"o}bel, Pola and Warburg, Frederik and J{\\o}rgensen, Martin and
             Madsen, Kristoffer H. and Hauberg, S{\\o}ren},
  journal = {arXiv preprint arXiv:2004.03637},
  year    = {2020}
}"""

    instead = " Or use one of PSTN.as_warp(marginal=images), whose motions depend on no image."
    made_by = "PSTN.as_warp"

    start: Tensor
    factor: Tensor

    def __init__(
        self,
        family: Family | None = None,
        look: Look | None = None,
        scale: float = 1.0,
        padding: str = "border",
        box: str = "outline",
        min_visible: float = 0.1,
    ) -> None:
        super().__init__(Affine() if family is None else family, padding, box, min_visible)
        self.look = _fitting(look, self.family)
        self.needs = frozenset() if look is None else frozenset({"images"})
        self.scale = checks.between("scale", scale, "(0, 10]")
        self.register_buffer("start", torch.zeros(self.family.dim, dtype=torch.float32))
        self.register_buffer("factor", (_PRIOR * self.family.smooth).float())
        self.measure()

    def tried(self, generator: torch.Generator) -> Tensor:
        reach = self.scale if self.look is None else self.look.reach * max(1.0, self.scale)
        draws = torch.randn(_TRIED, self.family.dim, generator=generator, dtype=torch.float32)
        return self.start.float().cpu() + reach * draws @ self.factor.float().cpu().mT

    def summary(self) -> str:
        """What was learned, in plain words."""
        figures = self.about.figures
        how = "It looks at every image." if self.look is not None else "It looks at no image."
        if "rms displacement" not in figures:
            return f"{how} How far it moves points was not measured: give as_warp images."
        side = "side" if self.ndim == 2 else "length"
        least, most = (figures[f"posterior deviation, {end}"] for end in ("least", "most"))
        return (
            f"{how} Measured on {self.about.data}\n"
            f"Posterior deviations are {least:.2g} to {most:.2g} of the prior's. Points move by "
            f"{figures['rms displacement']:.1%} of the {side} (root mean square)."
        )

    def plan(self, batch: Batch, noise: Plan) -> Plan:
        z = self.scale * noise["z"]
        with torch.autocast(z.device.type, enabled=False):  # where points go takes all digits
            if self.look is not None:
                assert batch.images is not None
                posterior = self.look(batch.images)
                z = posterior.mean + posterior.deviation * z.to(posterior.mean)
            return {"theta": self.start.to(z) + z @ self.factor.to(z).mT}

    def extra_repr(self) -> str:
        return f"scale={self.scale:g}"


def _fitting(look: Look | None, family: Family) -> Look | None:
    if look is not None and not isinstance(look, Look):
        raise TypeError(f"`look` must be a Look, or None, got {type(look).__name__}.")
    if look is not None and (look.ndim, look.dim) != (family.ndim, family.dim):
        raise ValueError(
            f"`look` must find the {family.dim} latents of {family!r}, got one of {look.dim}."
        )
    return look
