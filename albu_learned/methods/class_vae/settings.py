"""How a ClassVAE is fitted: what can be told, and what follows where nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from albu_learned import checks
from albu_learned.methods.class_vae.loss import LIKELIHOODS
from albu_learned.methods.class_vae.network import NAMES
from albu_learned.methods.class_vae.training import Schedule

__all__ = ["Settings"]


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
