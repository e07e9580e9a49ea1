"""ClassVAE: new images of a class, from a network that has learned how its images vary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from albu_learned import checks
from albu_learned.batch import Batch
from albu_learned.fitting import Progress, collect, folder_of, isolated
from albu_learned.kinds import Generate
from albu_learned.method import Plan
from albu_learned.methods.class_vae import given, safety
from albu_learned.methods.class_vae.fit import fitted
from albu_learned.methods.class_vae.loss import LIKELIHOODS
from albu_learned.methods.class_vae.network import NAMES, Networks
from albu_learned.methods.class_vae.samplers import SAMPLERS, UNIFORMS, Codes
from albu_learned.methods.class_vae.settings import Settings
from albu_learned.methods.class_vae.words import summary

__all__ = ["ClassVAE"]

_TRIES = 4  # samples that are looked at before the least bad is taken


class ClassVAE(Generate):
    """Makes new images of a class, learned from a few images of that class.

    A variational autoencoder for each class, or one for many classes that is told which: `fit`
    trains them. A row keeps its label and gets another image of that class, so use it for a share
    of the rows only: p is 0.4 or less, and real images make up the rest.

    Args:
        shape: (C, H, W) of the images, with sides of 8 to 128 pixels.
        num_classes: how many classes there are.
        network: "convolutional", "dense", "garay-2018" (the paper's), or "pca" (no network but the
            Gaussian of each class: what a VAE has to beat).
        latent: numbers that an image is encoded by.
        width: channels of the first layer, or units of a dense network; None for its default.
        likelihood: "bernoulli" or "gaussian", the latter with a deviation that is learned.
        members: the classes of each network; by default one network for each class.
        codes: how many real images are kept as codes, for the samplers but the prior.
        components: of the mixture of each class.
        sampler: where codes come from: the "prior", the "posterior" of a real image, a "mixture"
            of Gaussians fitted to all of these, or "convex", between two real images of the class.
        temperature: multiplies the spread of codes; below 1 samples are more typical.
        reject: draw again what another class explains better, or its own class worse than all but
            this share of the real images, such as 0.05; None to take every sample.
        resize: whether samples are resized to images of another size.

    Example:
        >>> import torch
        >>> vae = ClassVAE((1, 8, 8), num_classes=2)  # of no data, so its samples mean nothing
        >>> vae.sample(torch.tensor([0, 1, 1])).shape
        torch.Size([3, 1, 8, 8])
    """

    needs = frozenset({"labels"})
    citation = """@inproceedings{garay2018data,
  title     = {Data Augmentation via Variational Auto-Encoders},
  author    = {Garay-Maestre, Unai and Gallego, Antonio-Javier and Calvo-Zaragoza, Jorge},
  booktitle = {Iberoamerican Congress on Pattern Recognition},
  year      = {2018}
}"""
    tries = MappingProxyType({"p": (0.4, 0.2, 0.0)})
    stage = "batch"  # in trials its samples did better as they are than changed like real images

    scores: Tensor
    network_of: Tensor
    member_of: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int,
        network: str = "convolutional",
        latent: int = 8,
        width: int | None = None,
        likelihood: str = "bernoulli",
        members: Sequence[Sequence[int]] | None = None,
        codes: int = 0,
        components: int = 3,
        sampler: str = "prior",
        temperature: float = 1.0,
        reject: float | None = None,
        resize: bool = False,
    ) -> None:
        super().__init__(resize)
        self.shape = given.shape(shape)
        self.num_classes = checks.integer("num_classes", num_classes, 1)
        self.network = checks.one_of("network", network, NAMES)
        self.latent = checks.integer("latent", latent, 1)
        self.width = None if width is None else checks.integer("width", width, 2)
        self.likelihood = checks.one_of("likelihood", likelihood, LIKELIHOODS)
        self.members = given.members(members, self.num_classes)
        self.codes = checks.integer("codes", codes, 0)
        self.components = checks.integer("components", components, 1)
        self.sampler = checks.one_of("sampler", sampler, SAMPLERS)
        self.temperature = checks.between("temperature", temperature, "[0, inf)")
        self.reject = None if reject is None else checks.between("reject", reject, "[0, 1)")
        if not self.codes and (self.sampler != "prior" or self.reject is not None):
            raise ValueError(
                "`codes` must be the number of real images that were encoded, for the sampler "
                f'{self.sampler!r} and to reject samples, got 0. Use the "prior" and reject=None '
                "for networks that were not fitted."
            )
        several = max(map(len, self.members))
        self.networks = Networks(
            self.network,
            len(self.members),
            self.shape,
            self.latent,
            several if several > 1 else 0,
            self.width,
            self.likelihood == "gaussian",
        )
        self.table = Codes(self.codes, self.num_classes, self.latent, self.components)
        self.register_buffer("scores", torch.zeros(self.codes))
        network_of, member_of = given.numbers(self.members, self.num_classes)
        self.register_buffer("network_of", network_of, persistent=False)
        self.register_buffer("member_of", member_of, persistent=False)
        self.float()  # as it is saved, whatever torch makes unless told

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        saved = state_dict.get(f"{prefix}table.starts")
        if saved is not None and saved.shape == self.table.starts.shape:  # else torch refuses it
            given.check_starts(saved, self.codes, self._present())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @classmethod
    @isolated()
    def fit(
        cls,
        images: Any,
        labels: Any = None,
        *,
        network: str | None = None,
        latent: int | None = None,
        width: int | None = None,
        likelihood: str | None = None,
        beta: float = 1.0,
        free_bits: float = 0.0,
        steps: int | None = None,
        batch: int | None = None,
        learning_rate: float | None = None,
        validation: float = 0.15,
        stop: bool | None = None,
        conditional: bool | None = None,
        few: str = "error",
        sampler: str = "prior",
        temperature: float = 1.0,
        components: int = 3,
        reject: float | None = None,
        share: float = 0.4,
        expect: bool = True,
        classes: Sequence[str] | None = None,
        groups: Any = None,
        most: int | None = None,
        seed: int = 0,
        folder: str | os.PathLike[str] | None = None,
        device: torch.device | str | None = None,
        precision: str = "float32",
        progress: Progress = True,
        resize: bool = False,
    ) -> ClassVAE:
        """Learns how the images of each class vary.

        What it found is in `about` of what it returns, which is on the CPU; `summary` says it in
        words.

        Args:
            images: (N, C, H, W), float in [0, 1] or uint8, as a tensor or an array; a Dataset of
                (image, label) or a DataLoader; or the path of a data set (see
                `albu_learned.data.open_data`), of which the training part is read; of one without
                parts seven tenths of each class, unless it is opened with test_share=0.
            labels: (N,) class numbers, where images do not bring their own.
            network: see the class; None: "dense" for sides of up to 32 pixels, "convolutional" for
                larger ones.
            width, sampler, temperature, components, reject, resize: see the class.
            latent: numbers that an image is encoded by; None: as many as there are directions in
                which images of a class vary, 2 to 16.
            likelihood: "bernoulli" or "gaussian"; None: the first for grey images.
            beta: weight of the divergence from the prior; 1 is the evidence lower bound.
            free_bits: nats of each latent number that cost nothing.
            steps: of the training at most; None for the network's own.
            batch: images of each network a step; None for the network's own.
            learning_rate: None for the network's own.
            validation: share of the images that is held out, to say when to stop, or whether
                samples help; 0 for none.
            stop: whether held-out images say when to stop, so that networks do not learn from
                them. If not, networks learn from all images for a fixed number of steps; and once
                before without those that are held out, if `expect` or `reject` asks them. None: for
                all networks but dense ones of a single class.
            conditional: one network for all classes, which is told the class. None: for more than
                32 classes. One for each was better in trials, with few classes.
            few: what becomes of a class of fewer than 4 images: an "error", "merge" (such classes
                share a network that is told the class) or "keep" (it has its own nevertheless).
            share: of a batch that will be samples, to say whether that is expected to help.
            expect: whether to say so, which takes six short trainings of a small network, and one
                more of the networks where they do not `stop`.
            classes: a name for each class, where images do not bring their own.
            groups: (N,) the patient or scene of each image, none of which is held out in part; of
                a folder of images, a CSV file.
            most: images of each class that are looked at, chosen by the seed; None for all.
            seed: of every random choice: the same gives the same fit.
            folder: keeps what is finished, so that a fit that was stopped goes on there; in the
                end it holds the artifact.
            device: where; CUDA if there is one.
            precision: "float32", or "bfloat16" for mixed precision.
            progress: True for a bar, if tqdm is installed and somebody looks; or a function, told
                how many of how many steps are done.

        Example:
            >>> import torch
            >>> images, labels = torch.rand(8, 1, 8, 8), torch.arange(8) % 2
            >>> vae = ClassVAE.fit(images, labels, steps=50, progress=False)
            >>> vae.sample(torch.tensor([0, 1])).shape
            torch.Size([2, 1, 8, 8])
        """
        how = Settings(
            network=network,
            latent=latent,
            likelihood=likelihood,
            beta=beta,
            free_bits=free_bits,
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            validation=validation,
            stop=stop,
            conditional=conditional,
            few=few,
            share=share,
            expect=expect,
            most=most,
            seed=seed,
            precision=precision,
        )

        def make(**facts: Any) -> ClassVAE:
            return cls(
                width=width,
                components=components,
                sampler=sampler,
                temperature=temperature,
                reject=reject,
                resize=resize,
                **facts,
            )

        make(shape=(1, 8, 8), num_classes=1, codes=1)  # what is wrong is told before the work
        place = folder_of(folder)
        sample = collect(images, labels, classes, groups, how.most, how.seed)
        return fitted(make, sample, how, place, device, progress)

    @classmethod
    def unfitted(
        cls, shape: Sequence[int] | None = None, classes: int | None = None, **how: Any
    ) -> ClassVAE:
        """The generator of no data in the place of the one that `fit` would make, and all checks of
        what `fit` is given that need no data.

        Args:
            shape: (C, H, W) of the data; None if nobody knows yet.
            classes: how many; None likewise.
            **how: arguments of `fit` that say how.
        """
        own = {f.name: how.pop(f.name) for f in fields(Settings) if f.name in how}
        settings = Settings(**own)
        shape = shape or (1, 8, 8)
        return cls(
            shape,
            classes or 1,
            settings.network_for(shape),
            settings.latent or 8,
            codes=1,
            **how,
        )

    def summary(self) -> str:
        """What its fit found, in plain words."""
        return summary(self.about)

    def draw(
        self,
        rows: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Plan:
        tries = 1 if self.reject is None else _TRIES
        how: Any = {"generator": generator, "device": device, "dtype": self.scores.dtype}
        return {
            "z": torch.randn(rows, tries, self.latent, **how),
            "u": torch.rand(rows, tries, UNIFORMS, **how),
        }

    def plan(self, batch: Batch, noise: Plan) -> Plan:
        assert batch.labels is not None
        labels = batch.labels.long()
        self._check(labels)
        rows, tries = noise["z"].shape[:2]
        every = labels.repeat_interleave(tries)
        codes = self.table.latent(
            self.sampler,
            every,
            noise["z"].flatten(0, 1),
            noise["u"].flatten(0, 1),
            self.temperature,
        )
        if self.reject is None:
            return {"z": codes, "label": labels}
        with torch.no_grad():
            margin = self._margins(self._decoded(codes, every), every, self.reject)
        taken = safety.chosen(margin.view(rows, tries))
        row = torch.arange(rows, device=codes.device)
        return {"z": codes.view(rows, tries, -1)[row, taken], "label": labels}

    def pixels(self, images: Tensor, plan: Plan) -> Tensor:
        return self._decoded(plan["z"], plan["label"])

    def _decoded(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.networks.made(codes, self.network_of[labels], self.member_of[labels])

    @torch.no_grad()
    def sample(self, labels: Any, *, generator: torch.Generator | None = None) -> Tensor:
        """(B, C, H, W) images in [0, 1] of these classes.

        Args:
            labels: (B,) class numbers.
            generator: of the noise; torch's own if None.
        """
        wanted = given.labels(labels, self.network_of.device)
        plan = self.planned(Batch(labels=wanted), generator)
        return self._decoded(plan["z"], plan["label"])

    @torch.no_grad()
    def doubtful(self, images: Tensor, labels: Tensor, reject: float | None = None) -> Tensor:
        """(B,) which images `reject` would draw again, as images of these classes.

        Args:
            images: (B, C, H, W), float in [0, 1] or uint8.
            labels: (B,) class numbers.
            reject: see the class; its own, or 0.05, if None.
        """
        batch = Batch(images=images, labels=given.labels(labels, self.scores.device))
        self.check(batch)
        assert batch.images is not None
        assert batch.labels is not None
        self._check(batch.labels.long())
        seen = given.images(batch.images, self.shape)
        share = reject if reject is not None else 0.05 if self.reject is None else self.reject
        return self._margins(seen, batch.labels.long(), share) < 0

    def _margins(self, images: Tensor, labels: Tensor, reject: float) -> Tensor:
        scores = images.new_full((len(images), self.num_classes), -torch.inf)
        for label in self._present():
            scores[:, label] = self.look(images, label).score
        return safety.margins(scores, labels, safety.limits(self.scores, self.table.starts, reject))

    def _check(self, labels: Tensor) -> None:
        present, names = set(self._present()), self.about.classes or range(self.num_classes)
        without = [names[label] for label in range(self.num_classes) if label not in present]
        given.check_labels(labels, self.network_of, without)

    def _present(self) -> list[int]:
        """The classes that have a network."""
        return sorted(label for own in self.members for label in own)

    def look(self, images: Tensor, label: int) -> safety.Look:
        """What the class of this number makes of images, floats in [0, 1]."""
        return safety.look(self.networks, images, self.network_of[label], self.member_of[label])

    def extra_repr(self) -> str:
        return f"sampler={self.sampler}, temperature={self.temperature:g}, reject={self.reject}"
