"""Fits a ClassVAE: networks are trained, the codes of images kept, and what came of it is measured.

Images that are held out say when to stop; or they are asked whether samples help, and are learned
from afterwards, in a second training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from albu_learned import artifact
from albu_learned.artifact import About
from albu_learned.batch import as_floats
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
from albu_learned.methods.class_vae import pca
from albu_learned.methods.class_vae.choices import by_class, held_out, latent_of, members_of
from albu_learned.methods.class_vae.expect import TIMES, gain
from albu_learned.methods.class_vae.figures import about_of, losses, measured
from albu_learned.methods.class_vae.safety import Look
from albu_learned.methods.class_vae.settings import Settings
from albu_learned.methods.class_vae.training import History, Images, train

if TYPE_CHECKING:
    from albu_learned.methods.class_vae.method import ClassVAE

__all__ = ["fitted"]

Make = Callable[..., "ClassVAE"]


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
    sample, place = by_class(sample), device_of(device)
    shape = list(sample.images.shape[1:])
    how = replace(how, network=how.network_for(shape))
    members = members_of(sample, how)
    how = replace(how, stop=how.stops(members))
    vae = make(
        shape=shape,
        num_classes=sample.count,
        network=how.network,
        latent=how.latent or latent_of(sample),
        likelihood=how.likelihood or ("bernoulli" if shape[0] == 1 else "gaussian"),
        members=members,
        codes=len(sample.images),
    )
    if folder is not None:  # what cannot be saved in the end is refused now
        artifact.check(vae, About(), folder)
    with opened(folder, _facts(vae, sample, how, place)) as store:
        held, why = held_out(sample, how, how.stop or how.expect or vae.reject is not None)
        figures = _Fit(vae, sample, how, store, progress, place).run(held)
        vae.about = about_of(sample, held, why, bool(how.stop), figures)
        if folder is not None:
            vae.eval().save_pretrained(folder)
        store.finish()
    return vae.eval()


def _facts(vae: ClassVAE, sample: Sample, how: Settings, place: torch.device) -> dict[str, Any]:
    """What the parts of a checkpoint depend on. The sampler is no such thing: it comes after."""
    names = ["network", "latent", "width", "likelihood", "members"]
    settings = {field.name: getattr(how, field.name) for field in fields(how)}
    return {**facts_of(sample, place), **settings, **{name: getattr(vae, name) for name in names}}


@dataclass(frozen=True, eq=False)
class _Fit:
    """A method and all that it is fitted with."""

    vae: ClassVAE
    sample: Sample
    how: Settings
    store: Checkpoint
    progress: Progress
    place: torch.device

    def run(self, held: Tensor) -> dict[str, float]:
        """Fits it, which is on the CPU in the end, and returns the figures of that.

        Args:
            held: (N,) bool, the images that are held out.
        """
        history, seen = self._trained(held)
        # How well their own class explains images that it has not learned from.
        self.vae.scores.copy_(seen.score.masked_fill(~held, torch.inf))
        found = self._gained(held, seen)
        if held.any() and not self.how.stop:  # they have been asked: now they are learned from too
            history, seen = self._trained(torch.zeros_like(held))
        self._keep(seen)
        return {**losses(history), **measured(self.vae, self.sample, self.how.seed), **found}

    def _trained(self, held: Tensor) -> tuple[History | None, Look]:
        """Trains the networks; what their own classes then make of all images."""
        self.vae.to(self.place)
        history = self._train(held)
        self.vae.cpu()
        parts = enumerate(torch.split(as_floats(self.sample.images), self._counts()))
        looks = [self.vae.look(own, label) for label, own in parts if len(own)]
        return history, Look(*map(torch.cat, zip(*looks, strict=True)))

    def _train(self, held: Tensor) -> History | None:
        vae, sample, how = self.vae, self.sample, self.how
        network_of = vae.network_of.cpu()[sample.labels]
        judges = held if how.stop else torch.zeros_like(held)
        rows = [((network_of == i) & ~held).nonzero()[:, 0] for i in range(len(vae.members))]
        apart = [((network_of == i) & judges).nonzero()[:, 0] for i in range(len(vae.members))]
        if how.network == "pca":
            pca.solve(vae.networks, sample.images, rows)
            return None
        members = vae.member_of[sample.labels.to(self.place)]
        images = Images(sample.images.to(self.place), members, rows, apart)
        means = torch.stack([as_floats(sample.images[own]).mean(dim=0) for own in rows])
        vae.networks.begin([seeded(how.seed, "weights", own[0]) for own in vae.members], means)
        schedule = how.schedule(max(map(len, rows)), max(map(len, vae.members)))
        again = not how.stop and not held.any()
        with told(self.progress, 0, schedule.steps, "training", "step") as tell:
            name = "all" if again else "rounds"
            return train(vae.networks, images, schedule, self.store, tell, name)

    def _gained(self, held: Tensor, seen: Look) -> dict[str, float]:
        """What samples change on held-out images, while these are unknown to the networks and to
        the codes that samples are made from."""
        how, labels = self.how, self.sample.labels
        if not how.expect or not held.any():
            return {}

        def sampled(wanted: Tensor, generator: torch.Generator) -> Tensor:
            return self.vae.sample(wanted.to(self.place), generator=generator).cpu()

        def make() -> dict[str, Tensor]:
            self._keep(_of_known(seen, labels, held))
            self.vae.to(self.place)
            with told(self.progress, 0, TIMES, "asking whether it helps", "pair") as tell:
                images = as_floats(self.sample.images)
                found = gain(sampled, images, labels, held, how.share, how.seed, tell)
            return {"gain": torch.tensor(found or [], dtype=torch.float64)}

        kept = self.store.part(self._question(), make)["gain"].tolist()
        if not kept:
            return {}
        names = ("gain", "gain, error", "gain, accuracy")
        asked = {"share": how.share, "held out": float(held.sum())}
        return {**asked, **dict(zip(names, kept, strict=True))}

    def _question(self) -> str:
        """The name of the answer, which depends on how samples are made, as trainings do not."""
        names = ("sampler", "temperature", "components", "reject")
        return " ".join(["gain", *(str(getattr(self.vae, name)) for name in names)])

    def _keep(self, seen: Look) -> None:
        """Codes for samplers to draw from."""
        self.vae.cpu().table.fill(seen.mean, seen.log_variance, self._counts())

    def _counts(self) -> list[int]:
        counts: list[int] = self.sample.labels.bincount(minlength=self.sample.count).tolist()
        return counts


def _of_known(seen: Look, labels: Tensor, held: Tensor) -> Look:
    """The same without what is held out: others of the class stand in its rows, one by one."""
    rows = torch.arange(len(labels))
    for label in torch.unique(labels[held]):
        known, asked = (((labels == label) & side).nonzero()[:, 0] for side in (~held, held))
        rows[asked] = known[torch.arange(len(asked)) % len(known)]
    return Look(*(part[rows] for part in seen))
