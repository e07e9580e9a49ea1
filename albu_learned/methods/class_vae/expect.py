"""Whether samples are expected to help: a small network learns from the real images alone, and from
batches with a share of samples, and is asked about images that neither it nor the VAE has seen.

It is a hint, not a proof: held-out images of small data are few. `albu-learned compare` is the
proof.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from albu_learned.fitting import seeded

__all__ = ["TIMES", "gain"]

_SIDE = 32  # pixels in which images are looked at
_STEPS, _BATCH, TIMES = 300, 32, 3
_RATE = 4e-3

Sampled = Callable[[Tensor, torch.Generator], Tensor]


def gain(
    sample: Sampled,
    images: Tensor,
    labels: Tensor,
    held: Tensor,
    share: float,
    seed: int,
    tell: Callable[[int], object] = lambda steps: None,
) -> tuple[float, float, float] | None:
    """By how much held-out images are told better with samples: log-likelihood in nats an image,
    its standard error over these images, and accuracy. None if there is too little to ask.

    Args:
        sample: images for labels.
        images: (N, C, H, W) floats.
        labels: (N,).
        held: (N,) bool.
        share: of the samples in a batch.
        seed: of the networks and batches.
        tell: is told of every pair of networks that is done.
    """
    learned, asked = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
    if len(set(labels[learned].tolist())) < 2 or len(asked) < 2:
        return None
    small = _shrunk(images)
    logs, right = torch.zeros(len(asked)), 0.0
    for time in range(TIMES):
        plain = _learned(small[learned], labels[learned], None, 0.0, seed + time)
        mixed = _learned(small[learned], labels[learned], sample, share, seed + time)
        for network, sign in ((mixed, 1), (plain, -1)):
            with torch.no_grad():
                found = network(small[asked]).log_softmax(dim=1)
            logs += sign / TIMES * -F.nll_loss(found, labels[asked], reduction="none")
            right += sign / TIMES * float((found.argmax(dim=1) == labels[asked]).float().mean())
        tell(1)
    return float(logs.mean()), float(logs.std() / len(logs) ** 0.5), right


def _learned(
    images: Tensor, labels: Tensor, sample: Sampled | None, share: float, seed: int
) -> nn.Module:
    """A network after its training. Both arms have the same first weights and real images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(images.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS + 1)
    real, made = seeded(seed, "real"), seeded(seed, "made")
    for _ in range(_STEPS):
        rows = torch.randint(len(images), (_BATCH,), generator=real)
        batch, wanted = images[rows], labels[rows]
        if sample is not None:
            chosen = (torch.rand(_BATCH, generator=made) < share).nonzero()[:, 0]
            if len(chosen):
                new = _shrunk(sample(wanted[chosen], made))
                batch = batch.index_copy(0, chosen, new)
        loss = F.cross_entropy(network(batch), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


def _network(channels: int, classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in ((channels, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(4, after), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(576, classes)]
    return nn.Sequential(*layers).float()  # as images are, whatever torch makes unless told


def _shrunk(images: Tensor) -> Tensor:
    size = [min(_SIDE, n) for n in images.shape[2:]]
    return F.interpolate(images, size, mode="area") if size != list(images.shape[2:]) else images
