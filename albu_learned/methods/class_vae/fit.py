"""Fits a ClassVAE: images are held out, networks trained, their codes kept, and what came of it is
measured: copies, doubtful samples, and whether samples help a small classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from albu_learned import artifact, checks
from albu_learned.artifact import About
from albu_learned.batch import as_floats
from albu_learned.data import hold_out
from albu_learned.fitting import (
    Checkpoint,
    Progress,
    Sample,
    device_of,
    facts_of,
    opened,
    seeded,
    told,
)
from albu_learned.methods.class_vae import pca, safety
from albu_learned.methods.class_vae.expect import TIMES, gain
from albu_learned.methods.class_vae.loss import LIKELIHOODS
from albu_learned.methods.class_vae.network import NAMES
from albu_learned.methods.class_vae.training import (
    ROUND,
    History,
    Images,
    Schedule,
    train,
)

if TYPE_CHECKING:
    from albu_learned.methods.class_vae.method import ClassVAE

__all__ = ["Settings", "fitted"]

FEWEST = 4  # images of a class that a network of its own can learn from
SEPARATE = 32  # classes at most that have a network each, unless told
_LATENT = (2, 16)
_SHOWN = 64  # samples of each class that are measured
_REJECT = 0.05
_RELEVANT = 1000  # images that say how many directions there are
Make = Callable[..., "ClassVAE"]


@dataclass(frozen=True)
class _Usual:
    """How a network is trained unless told."""

    steps: int
    batch: int
    rate: float
    optimizer: str


_USUAL = {  # where held-out images stop the training
    "convolutional": _Usual(1000, 16, 5e-4, "adam"),
    "dense": _Usual(1000, 32, 5e-4, "adam"),
    "garay-2018": _Usual(0, 100, 1e-3, "rmsprop"),  # its steps follow from its epochs
    "pca": _Usual(0, 1, 1.0, "adam"),
}
_FIXED = _Usual(500, 32, 2e-3, "adam")  # of a dense network that learns from all images
_DENSE = 32  # pixels a side, up to which networks are dense unless told
_EPOCHS = {10: 200, 25: 250, 50: 300}  # of the paper's code, by images of a class; then 350


@dataclass(frozen=True)
class Settings:
    """How to fit; see `ClassVAE.fit`."""

    network: str | None = None
    latent: int | None = None
    likelihood: str | None = None
    beta: float = 1.0
    free_bits: float = 0.0
    steps: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    validation: float = 0.15
    stop: bool | None = None
    conditional: bool | None = None
    few: str = "error"
    share: float = 0.4
    expect: bool = True
    most: int | None = None
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.network is not None:
            checks.one_of("network", self.network, NAMES)
        checks.one_of("few", self.few, ("error", "merge", "keep"))
        checks.one_of("precision", self.precision, ("float32", "bfloat16"))
        if self.likelihood is not None:
            checks.one_of("likelihood", self.likelihood, LIKELIHOODS)
        for name, interval in (
            ("beta", "[0, inf)"),
            ("free_bits", "[0, inf)"),
            ("validation", "[0, 1)"),
            ("share", "(0, 1]"),
        ):
            object.__setattr__(self, name, checks.between(name, getattr(self, name), interval))
        if self.learning_rate is not None:
            checks.between("learning_rate", self.learning_rate, "(0, 1]")
        for name in ("latent", "steps", "batch"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), 1)
        checks.integer("seed", self.seed, 0)
        if self.most is not None:
            checks.integer("most", self.most, 2, ", or None for all images of a class")
        for name in ("stop", "conditional", "expect"):
            if not isinstance(getattr(self, name), (bool, type(None))):
                raise TypeError(f"`{name}` must be True or False, got {getattr(self, name)!r}.")

    def network_for(self, shape: Sequence[int]) -> str:
        """The network of images (C, H, W)."""
        return self.network or ("dense" if max(shape[1:]) <= _DENSE else "convolutional")

    def stops(self, members: Sequence[Sequence[int]]) -> bool:
        """Whether held-out images stop the training of networks of these classes."""
        if self.network == "pca":
            return False
        apart = max(map(len, members)) == 1
        return not (self.network == "dense" and apart) if self.stop is None else self.stop

    def schedule(self, images: int, classes: int) -> Schedule:
        """The training of so many images."""
        assert self.network is not None
        fixed = self.network == "dense" and not self.stop
        usual = _FIXED if fixed else _USUAL[self.network]
        batch, steps = self.batch or usual.batch, self.steps or usual.steps
        if not steps:
            count = images / max(classes, 1)
            epochs = next((n for most, n in _EPOCHS.items() if count <= most), 350)
            steps = max(1, round(epochs * max(1.0, count / batch)))
        return Schedule(
            steps=steps,
            batch=batch,
            learning_rate=self.learning_rate or usual.rate,
            beta=self.beta,
            free_bits=self.free_bits,
            patience=max(150, steps // 5),
            optimizer=usual.optimizer,
            precision=self.precision,
            seed=self.seed,
        )


def fitted(
    make: Make,
    sample: Sample,
    how: Settings,
    folder: Path | None,
    device: torch.device | str | None,
    progress: Progress,
) -> ClassVAE:
    """The fitted method; and, with a folder, its artifact there.

    Args:
        make: makes the method from the facts of the data.
        sample: what it is fitted to.
        how: the settings.
        folder, device, progress: see `ClassVAE.fit`.
    """
    sample = _sorted(sample)
    place = device_of(device)
    counts = sample.labels.bincount(minlength=sample.count)
    how = replace(how, network=how.network_for(sample.images.shape[1:]))
    members = _members(sample, counts, how)
    how = replace(how, stop=how.stops(members))
    grey = sample.images.shape[1] == 1
    vae = make(
        shape=list(sample.images.shape[1:]),
        num_classes=sample.count,
        network=how.network,
        latent=how.latent or _latent(sample),
        likelihood=how.likelihood or ("bernoulli" if grey else "gaussian"),
        members=members,
        codes=len(sample.images),
    )
    if folder is not None:  # what cannot be saved in the end is refused now
        artifact.check(vae, About(), folder)
    with opened(folder, _facts(vae, sample, how, place)) as store:
        held, why = _held(sample, how, how.stop or how.expect or vae.reject is not None)
        vae.to(place)
        history = _trained(vae, sample, held, how, store, progress, place)
        figures = _gained(vae, sample, held, how, store, progress)
        _keep_codes(vae.cpu(), sample)
        _keep_scores(vae, sample, held)
        if held.any() and not how.stop:  # they have been asked: now they are learned from too
            history = _trained(vae.to(place), sample, held & False, how, store, progress, place)
            _keep_codes(vae.cpu(), sample)
        figures = {**_losses(history), **_measured(vae, sample, how), **figures}
        vae.about = _about(sample, counts, held, why, bool(how.stop), figures)
        if folder is not None:
            vae.eval().save_pretrained(folder)
        store.finish()
    return vae.eval()


def _sorted(sample: Sample) -> Sample:
    """The sample in the order of its classes, as codes are kept."""
    if sample.images.ndim != 4:
        raise ValueError(
            f"`images` must be images (N, C, H, W), got {tuple(sample.images.shape)}: a ClassVAE "
            "is not made for series. Use a ThetaWarp for these."
        )
    order = sample.labels.argsort(stable=True)
    groups = None if sample.groups is None else sample.groups[order]
    images, labels = sample.images[order], sample.labels[order]
    return replace(sample, images=images, labels=labels, groups=groups)


def _members(sample: Sample, counts: Tensor, how: Settings) -> list[list[int]]:
    """The classes of each network; classes without images have none."""
    present = [label for label in range(sample.count) if counts[label]]
    rare = [label for label in present if counts[label] < FEWEST]
    together = len(present) > SEPARATE if how.conditional is None else how.conditional
    if how.network == "pca":
        return [[label] for label in present]
    if together:
        return [present]
    if rare and how.few == "error":
        names = ", ".join(f"{sample.class_name(label)} ({counts[label]})" for label in rare)
        raise ValueError(
            f"`images` must have {FEWEST} or more of every class, got fewer of {names}. Give more, "
            'or few="merge", which lets such classes share a network, or few="keep".'
        )
    if not rare or how.few == "keep":
        return [[label] for label in present]
    return [[label] for label in present if label not in rare] + [rare]


def _latent(sample: Sample) -> int:
    """In how many directions the images of a class vary: of the eigenvalues of the covariance
    within the classes, the square of the sum over the sum of the squares."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(sample.images), generator=generator)[:_RELEVANT].sort()[0]
    images, labels = as_floats(sample.images[rows]).flatten(1).double(), sample.labels[rows]
    for label in torch.unique(labels):
        images[labels == label] -= images[labels == label].mean(dim=0)
    gram = images @ images.mT  # which has the eigenvalues of the covariance
    size = float(gram.trace() ** 2 / gram.square().sum().clamp(min=1e-12))
    low, high = _LATENT
    return min(max(round(size), low), high)


def _held(sample: Sample, how: Settings, asked: bool = True) -> tuple[Tensor, str]:
    """A mask of the images that are held out, if they are asked for anything; and why there are
    none, if there are none."""
    none = torch.zeros(len(sample.labels), dtype=torch.bool)
    if how.validation == 0:
        return none, "none was asked for"
    if not asked:
        return none, "nothing is asked of them"
    generator = seeded(how.seed, "validation")
    try:
        held = hold_out(sample.labels, sample.groups, how.validation, generator)
    except ValueError:
        return none, "no choice of whole groups has every class on both sides"
    return held, "" if held.any() else "there is one image of each class"


def _facts(vae: ClassVAE, sample: Sample, how: Settings, place: torch.device) -> dict[str, Any]:
    """What the parts of a checkpoint depend on. The sampler is no such thing: it comes after."""
    names = ["network", "latent", "width", "likelihood", "members"]
    settings = {field.name: getattr(how, field.name) for field in fields(how)}
    return {**facts_of(sample, place), **settings, **{name: getattr(vae, name) for name in names}}


def _trained(
    vae: ClassVAE,
    sample: Sample,
    held: Tensor,
    how: Settings,
    store: Checkpoint,
    progress: Progress,
    place: torch.device,
) -> History | None:
    network_of = vae.network_of.cpu()[sample.labels]
    judges = held if how.stop else torch.zeros_like(held)
    rows = [((network_of == i) & ~held).nonzero()[:, 0] for i in range(len(vae.members))]
    apart = [((network_of == i) & judges).nonzero()[:, 0] for i in range(len(vae.members))]
    if how.network == "pca":
        pca.solve(vae.networks, sample.images, rows)
        return None
    images = Images(sample.images.to(place), vae.member_of[sample.labels.to(place)], rows, apart)
    means = torch.stack([as_floats(sample.images[own]).mean(dim=0) for own in rows])
    vae.networks.begin([seeded(how.seed, "weights", own[0]) for own in vae.members], means)
    schedule = how.schedule(max(map(len, rows)), max(map(len, vae.members)))
    again = not how.stop and not held.any()
    with told(progress, 0, schedule.steps, "training", "step") as tell:
        return train(vae.networks, images, schedule, store, tell, "all" if again else "rounds")


def _gained(
    vae: ClassVAE,
    sample: Sample,
    held: Tensor,
    how: Settings,
    store: Checkpoint,
    progress: Progress,
) -> dict[str, float]:
    """What samples change on held-out images, while these are unknown to the networks."""
    if not how.expect or not held.any():
        return {}
    place = vae.network_of.device

    def sampled(labels: Tensor, generator: torch.Generator) -> Tensor:
        return vae.sample(labels.to(place), generator=generator).cpu()

    def make() -> dict[str, Tensor]:
        with told(progress, 0, TIMES, "asking whether it helps", "pair") as tell:
            found = gain(
                sampled, as_floats(sample.images), sample.labels, held, how.share, how.seed, tell
            )
        return {"gain": torch.tensor(found or [], dtype=torch.float64)}

    kept = store.part("gain", make)["gain"].tolist()
    if not kept:
        return {}
    names = ("gain", "gain, error", "gain, accuracy")
    return {
        "share": how.share,
        "held out": float(held.sum()),
        **dict(zip(names, kept, strict=True)),
    }


def _keep_codes(vae: ClassVAE, sample: Sample) -> None:
    mean, log_variance, _ = _looked(vae, sample)
    vae.table.fill(mean, log_variance, sample.labels.bincount(minlength=sample.count).tolist())


def _keep_scores(vae: ClassVAE, sample: Sample, held: Tensor) -> None:
    """How well their own class explains images that it has not learned from."""
    vae.scores.copy_(_looked(vae, sample).score.masked_fill(~held, torch.inf))


def _looked(vae: ClassVAE, sample: Sample) -> safety.Look:
    """What their own classes make of all images."""
    counts = sample.labels.bincount(minlength=sample.count).tolist()
    parts = enumerate(torch.split(as_floats(sample.images), counts))
    looks = [vae.look(own, label) for label, own in parts if len(own)]
    return safety.Look(*map(torch.cat, zip(*looks, strict=True)))


def _losses(history: History | None) -> dict[str, float]:
    if history is None:
        return {}
    figures = {
        "steps": float((history.best + 1) * ROUND),
        "loss": float(history.train[history.best].mean()),
    }
    held = history.held[history.best]
    return (
        {**figures, "held-out loss": float(held.nanmean())} if not held.isnan().all() else figures
    )


@torch.no_grad()
def _measured(vae: ClassVAE, sample: Sample, how: Settings) -> dict[str, float]:
    """Of samples of every class: how near they are to real images, and how many are doubtful."""
    images = as_floats(sample.images)
    near, between, doubtful = [], [], []
    generator = seeded(how.seed, "figures")
    for label in torch.unique(sample.labels).tolist():
        labels = torch.full((_SHOWN,), label)
        samples = vae.sample(labels, generator=generator)
        away, apart = safety.memorised(samples, images[sample.labels == label])
        near.append(away)
        between.append(apart[apart.isfinite()])
        doubtful.append(vae.doubtful(samples, labels, _REJECT))
    figures = {
        "images": float(len(images)),
        "latent": float(vae.latent),
        "doubtful": float(torch.cat(doubtful).float().mean()),
        "distance to real": float(torch.cat(near).mean()),
    }
    if len(torch.cat(between)):
        figures["distance between real"] = float(torch.cat(between).mean())
    return figures


def _about(
    sample: Sample,
    counts: Tensor,
    held: Tensor,
    why: str,
    stop: bool,
    figures: dict[str, float],
) -> About:
    shape = sample.images.shape
    present = int((counts > 0).sum())
    notes = [
        (f"{sample.name}: " if sample.name else "")
        + f"{shape[0]} images of {' x '.join(map(str, shape[2:]))} pixels in {present} "
        + ("class" if present == 1 else "classes")
        + (f", of {sample.given} that there are" if sample.given > shape[0] else "")
        + (f"; none held out: {why}." if not held.any() else f"; {int(held.sum())} were held out")
        + ("" if not held.any() else "." if stop else ", and learned from in the end.")
    ]
    return About(
        classes=sample.classes,
        image_size=list(shape[2:]),
        channels=shape[1],
        data=" ".join(notes),
        figures=figures,
    )
