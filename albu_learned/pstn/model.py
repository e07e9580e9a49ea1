"""PSTN: a classifier that learns how its images may be moved.

What comes out of a call follows from how training loops use it. In training it is one row of logits
a row, and the KL joins the loss that a loop computes of them: so it trains with `loss` of one
sample, see `albu_learned.pstn.joined`. In evaluation it is the logarithm of the predicted
probabilities, which accuracy and cross-entropy read as logits; their noise is fixed, so that they
are the same from call to call, and in any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from albu_learned import checks, resample
from albu_learned.families import Affine, Family, Pace
from albu_learned.methods.theta_warp.family import checked
from albu_learned.methods.theta_warp.field import ThetaField
from albu_learned.pstn import given
from albu_learned.pstn.elbo import Posterior, divergence, minus_log_likelihood
from albu_learned.pstn.joined import owe
from albu_learned.pstn.localiser import Heads, Localiser
from albu_learned.pstn.making import posterior_warp
from albu_learned.pstn.motion import lengths, pace_of_prior, theta_of, wildest
from albu_learned.pstn.predict import drawn, evaluating, logits, predicted, still
from albu_learned.pstn.warp import PosteriorWarp

if TYPE_CHECKING:
    from albu_learned.pstn.tune import Tuned

__all__ = ["PSTN"]

_SAMPLES = 10  # of a prediction, as in the paper
_CHUNK = 256  # warped images that are classified at a time in a prediction


class PSTN(nn.Module):
    r"""A probabilistic spatial transformer around a classifier.

    A small network, the localiser, looks at an image and gives a distribution of motions: normal
    latents z, each of mean 0 and deviation 1 as far as nothing is known. The classifier sees the
    image moved by theta = start + prior_std * L z, where L is the smooth prior of the family. Both
    learn from one loss, minus the evidence lower bound. So it is an augmentation that is learned
    with the classifier and goes on at test time, where probabilities are averaged over motions.

    Args:
        classifier: (B, C, H, W) images, or (B, C, T) series, to logits (B, K). With several crops
            it is given crops * C channels, one crop after the other: x.chunk(crops, dim=1) parts
            them, for a network each or for one.
        family: what moves; by default `Affine()`. For series `Affine(2)` or `CPAB(10)`.
        prior_std: how far the prior moves points, the root of the mean square, as a fraction of the
            side. The stronger it is, the less sure predictions are.
        samples: motions of each image in `loss`.
        crops: how many differently moved copies of an image the classifier sees at once.
        localiser: any module from images to (B, features); a small one by default.
        stn: the deterministic transformer, to compare with: no noise, no KL, all else alike.
        start: (crops, dim) thetas at which the crops begin and to which the KL draws them; by
            default none is moved. Crops that search a part of the image each begin there.
        example: a batch, or the shape of an image such as (1, 28, 28). Without one, sizes of the
            localiser follow from the first batch, as torch's lazy layers do: optimizers may be made
            before; to count parameters or to train on several GPUs sizes are needed.

    Attributes:
        kl_weight: of the KL in `loss`; 1 is the bound. Set it while training to anneal it.

    Example:
        >>> import torch
        >>> classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> model = PSTN(classifier, prior_std=0.05)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> images, labels = torch.rand(6, 1, 8, 8), torch.arange(6)
        >>> model.loss(images, labels).backward()
        >>> optimizer.step()
        >>> probabilities, spread = model.predict(images, samples=10, return_spread=True)
        >>> probabilities.shape, spread.shape
        (torch.Size([6, 10]), torch.Size([6, 10]))
    """

    factor: Tensor
    start: Tensor
    noise: Tensor
    motion: Tensor

    def __init__(
        self,
        classifier: nn.Module,
        family: Family | None = None,
        prior_std: float = 0.05,
        samples: int = 1,
        crops: int = 1,
        localiser: nn.Module | None = None,
        stn: bool = False,
        *,
        start: Tensor | None = None,
        example: Tensor | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        classifier = given.module("classifier", classifier, "torchvision's resnet18()")
        self.family = checked(Affine() if family is None else family)
        self.prior_std = given.prior_std(prior_std)
        self.samples = checks.integer("samples", samples, 1)
        self.crops = checks.integer("crops", crops, 1)
        self.stn = given.flag("stn", stn)
        self.kl_weight = 1.0
        self.debtor = object()  # which replicas of the model share, but no copy
        ndim, dim = self.family.ndim, self.family.dim
        self.localiser = (
            Localiser(ndim)
            if localiser is None
            else given.module("localiser", localiser, "a network that ends with nn.Flatten()")
        )
        self.heads = Heads(self.crops, dim, self.stn)
        self.classifier = classifier  # the last, whose head timm takes the last parameters for
        factor = self.prior_std * self.family.smooth
        self.pace = pace_of_prior(self.family, factor)
        self.most = wildest(self.pace, self.prior_std)
        self.register_buffer("motion", lengths(self.family, factor).float(), persistent=False)
        # Saved, though made of arguments: weights mean nothing with others.
        self.register_buffer("factor", factor.float())
        self.register_buffer("start", given.start(start, self.crops, self.family))
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(_SAMPLES, 1, self.crops, dim, generator=generator)
        self.register_buffer("noise", noise, persistent=False)
        if example is not None:
            self._size(given.example_shape(example, ndim), torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, K): logits of one random motion in training, whose KL joins the loss that they are
        given to; else log-probabilities, averaged over ten motions. See the module's page."""
        if self.training:
            posterior = self.posterior(x)
            scores = logits(self, x, posterior, drawn(self, 1, x))[0]
            kl = None if self.stn else self._weighted_kl(posterior)
            return scores if kl is None or self.kl_weight == 0 else owe(scores, kl, self.debtor)
        scores, _ = predicted(self, x, still(self) if self.stn else self.noise, _CHUNK)
        return scores

    def loss(self, x: Tensor, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Minus the evidence lower bound, its mean over the batch.

        Args:
            x: images or series.
            y: (B,) class numbers, or (B, K) soft labels.
            generator: of the motions.
        """
        posterior = self.posterior(x)
        scores = logits(self, x, posterior, drawn(self, self.samples, x, generator))
        y = given.targets(y, len(x), scores.shape[-1])
        each = minus_log_likelihood(scores.log_softmax(dim=-1), y)
        if not self.stn:
            each = each + self._weighted_kl(posterior)
        loss = each.mean()
        checks.require(
            ~loss.isnan(),
            "The loss must be a number, got NaN, though the logits are none. Look for NaN or "
            "infinity in the logits and in soft labels; if there is none, lower the learning rate.",
        )
        return loss

    @overload
    def predict(
        self,
        x: Tensor,
        samples: int = ...,
        generator: torch.Generator | None = ...,
        return_spread: Literal[False] = ...,
        chunk: int = ...,
    ) -> Tensor: ...
    @overload
    def predict(
        self,
        x: Tensor,
        samples: int = ...,
        generator: torch.Generator | None = ...,
        *,
        return_spread: Literal[True],
        chunk: int = ...,
    ) -> tuple[Tensor, Tensor]: ...

    @torch.no_grad()
    def predict(
        self,
        x: Tensor,
        samples: int = _SAMPLES,
        generator: torch.Generator | None = None,
        return_spread: bool = False,
        chunk: int = _CHUNK,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """(B, K): probabilities, their mean over random motions of each image. The model is in
        evaluation mode while it predicts.

        Args:
            x: images or series.
            samples: motions of each.
            generator: of the motions.
            return_spread: also (B, K), the deviation of the probabilities over the motions.
            chunk: how many moved images are classified at a time, which bounds the memory.
        """
        samples = checks.integer("samples", samples, 1)
        chunk = checks.integer("chunk", chunk, 1)
        with evaluating(self):
            given.rows(x, self.family.ndim)  # whose number the noise must have
            scores, spread = predicted(self, x, drawn(self, samples, x, generator), chunk)
        return (scores.exp(), spread) if return_spread else scores.exp()

    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x), in units of the prior: (B, crops, dim) means and deviations."""
        given.rows(x, self.family.ndim)
        if not torch.compiler.is_compiling():
            if isinstance(self.localiser, Localiser):
                self.localiser.check(x)
            if torch.is_inference_mode_enabled() and self._is_lazy():
                # Sizes given here would come with weights that can never be trained.
                self._size([1, *x.shape[1:]], x)
        found: Posterior = self.heads(given.features(self.localiser(x), len(x)))
        return found

    def kl(self, x: Tensor) -> Tensor:
        """(B,): the KL of each image, in nats; zeros for a deterministic transformer."""
        posterior = self.posterior(x)
        return posterior.mean.new_zeros(len(x)) if self.stn else divergence(posterior)

    def theta(
        self, x: Tensor, samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """(samples, B, crops, dim): random motions of each image, as the family's theta."""
        posterior = self.posterior(x)
        noise = drawn(self, checks.integer("samples", samples, 1), x, generator)
        return theta_of(self, posterior, noise)

    def move(self, x: Tensor, theta: Tensor) -> Tensor:
        """(S, B, crops, C, ...): images moved by thetas (S, B, crops, dim), with gradients to both.
        With those of `theta(x)` they are what the classifier sees."""
        shape = (*theta.shape[:3], *x.shape[1:])
        every = x[None, :, None].expand(shape).flatten(0, 2)
        flat = theta.flatten(0, 2)
        # At least the work of the prior: so an image hardly depends on the others of its batch.
        own = map(max, self.family.pace(flat.detach()), self.pace)
        pace = Pace(*map(min, own, self.most))
        moved = resample.images(every, ThetaField(self.family, flat, pace), "border")
        assert moved is not None
        return moved.view(shape)

    @staticmethod
    def tune(
        make: Callable[[float], PSTN],
        x: Tensor,
        y: Tensor,
        prior_std: Sequence[float] = (0.02, 0.05, 0.1, 0.2),
        **how: Any,
    ) -> Tuned:
        """Chooses `prior_std` on rows that are held out: for every candidate `make(prior_std)` is
        trained in the same way. See `albu_learned.pstn.tune` for what else can be said."""
        from albu_learned.pstn.tune import tune  # which makes models of this class

        return tune(make, x, y, prior_std, **how)

    def as_warp(
        self,
        example: Tensor | Sequence[int] | None = None,
        marginal: Tensor | None = None,
        crop: int | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        **how: Any,
    ) -> PosteriorWarp:
        """What was learned as a warp for any training, a copy on the CPU: it moves images with all
        that lies on them, and is saved as an artifact.

        Args:
            example: some of the training images, or the shape of one: images of another size are
                resized to be looked at. With images the artifact tells what was learned.
            marginal: images over whose posteriors the warp shall be averaged. It then looks at no
                image, which is faster, and what any localiser has learned can be saved.
            crop: which one, if there are several.
            mean, std: of each channel, by which the training images were normalised, if they were.
                Warps see images in [0, 1], as shall `example` and `marginal`.
            **how: `scale`, `padding`, `box` and `min_visible` of `PosteriorWarp`.
        """
        return posterior_warp(self, example, marginal, crop, mean, std, **how)

    def _weighted_kl(self, posterior: Posterior) -> Tensor:
        return checks.between("kl_weight", self.kl_weight, "[0, inf)") * divergence(posterior)

    def _is_lazy(self) -> bool:
        return any(map(is_lazy, [*self.localiser.parameters(), *self.heads.parameters()]))

    def _size(self, shape: list[int], like: Tensor) -> None:
        """Gives layers their sizes, and weights that can be trained."""
        with torch.inference_mode(False), torch.no_grad(), evaluating(self):
            self.posterior(torch.zeros(shape, dtype=like.dtype, device=like.device))

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        wrong = given.other_factor(self.factor, state_dict.get(f"{prefix}factor"))
        error_msgs += wrong
        if wrong:
            return  # torch raises in the end, but copies what it can before
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def extra_repr(self) -> str:
        return (
            f"prior_std={self.prior_std:g}, samples={self.samples}, crops={self.crops}, "
            f"stn={self.stn}"
        )
