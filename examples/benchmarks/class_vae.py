"""How long class VAEs take: to fit, to sample, and for a call in Albumentations.

    python examples/benchmarks/class_vae.py [--device cuda] [--turns 5]

Ten classes are trained as one program and, in turn, one after another; samples take turns with a
network of the same size of pythae, where that is installed. Each time is the median of its turns, a
ratio the median of the ratios turn by turn, so that a busy machine slows all of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import albu_learned as al
from albu_learned.fitting import Checkpoint
from albu_learned.methods.class_vae.network import Networks
from albu_learned.methods.class_vae.training import ROUND, Images, Schedule, seeded, train

CLASSES, SIDE, SAMPLES = 10, 28, 1000
Contestants = dict[str, Callable[[], object]]


def measure(found: Contestants, turns: int, device: str) -> dict[str, list[float]]:
    """Milliseconds of each, all taking turns."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(turns + 1):  # one to warm up
        for name, call in found.items():
            wait(device)
            start = time.perf_counter()
            result = call()
            wait(device)
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start))
            del result
    return times


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def ratio(times: dict[str, list[float]], one: str, other: str) -> float:
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def fit(network: str, each: int, labels: list[int], images: Tensor, device: str) -> None:
    """Two rounds of training of the networks of these classes."""
    nets = Networks(network, len(labels), (1, SIDE, SIDE), 8).to(device)
    nets.begin([seeded(label) for label in labels])
    rows = [torch.arange(label * each, (label + 1) * each) for label in labels]
    nothing = [torch.zeros(0, dtype=torch.long)] * len(labels)
    own = Images(images, torch.zeros(len(images), dtype=torch.long, device=device), rows, nothing)
    how = Schedule(2 * ROUND, 16, 5e-4, 1.0, 0.0, 10**6, "adam", "float32", 0)
    train(nets, own, how, Checkpoint(None))


def fits(turns: int, device: str) -> None:
    print(f"\n{2 * ROUND} steps of ten classes of {SIDE} x {SIDE} pixels, at most 16 images each")
    for network in ("convolutional", "dense"):
        for each in (4, 10, 50):
            images = torch.rand(CLASSES * each, 1, SIDE, SIDE, device=device)

            def together(network: str = network, each: int = each, images: Tensor = images) -> None:
                fit(network, each, list(range(CLASSES)), images, device)

            def apart(network: str = network, each: int = each, images: Tensor = images) -> None:
                for label in range(CLASSES):
                    fit(network, each, [label], images, device)

            times = measure({"together": together, "apart": apart}, turns, device)
            seen = 2 * ROUND * CLASSES * min(16, each) / statistics.median(times["together"]) * 1e3
            print(
                f"  {network:<14} {each:>3} a class: {ratio(times, 'together', 'apart'):.2f} of "
                f"one after another, {seen:,.0f} images a second"
            )


def samples(turns: int, device: str) -> None:
    labels = torch.zeros(SAMPLES, dtype=torch.long, device=device)
    mixed = torch.arange(SAMPLES, device=device) % CLASSES
    vaes = {
        "dense, as large as pythae's": al.ClassVAE((1, SIDE, SIDE), CLASSES, "dense", 10, 400),
        "dense": al.ClassVAE((1, SIDE, SIDE), CLASSES, "dense"),
        "convolutional": al.ClassVAE((1, SIDE, SIDE), CLASSES),
        "garay-2018": al.ClassVAE((1, SIDE, SIDE), CLASSES, "garay-2018"),
    }
    found: Contestants = {}
    for name, vae in vaes.items():
        vae.to(device)
        found[name] = lambda vae=vae: vae.sample(labels)
        found[f"{name}, ten classes"] = lambda vae=vae: vae.sample(mixed)
    peer = pythae(device)
    if peer is not None:
        found["pythae"] = peer
    times = measure(found, max(turns, 9), device)
    print(f"\n{SAMPLES} samples of {SIDE} x {SIDE} pixels")
    for name, spent in times.items():
        beside = f" {ratio(times, name, 'pythae'):6.2f} x pythae" if peer is not None else ""
        print(f"  {name:<42} {statistics.median(spent):8.2f} ms{beside}")


def pythae(device: str) -> Callable[[], object] | None:
    """1,000 samples of the VAE of that name as it comes, a network of one hidden layer."""
    try:
        from pythae.models import VAE, VAEConfig
    except ImportError:
        print("note: pythae is not installed, it is left out")
        return None
    model: Any = VAE(VAEConfig(input_dim=(1, SIDE, SIDE), latent_dim=10)).to(device).eval()
    own = al.ClassVAE((1, SIDE, SIDE), 1, "dense", 10, 400)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (own.networks, model)]
    print(f"\nnumbers of a network: ours {sizes[0]:,}, pythae's {sizes[1]:,}")

    @torch.no_grad()
    def call() -> Tensor:
        z = torch.randn(SAMPLES, 10, device=device)
        decoded: Tensor = model.decoder(z)["reconstruction"]
        return decoded

    return call


def door() -> None:
    try:
        from albu_learned.albumentations import ClassVAE
    except ImportError:
        print("note: albumentations is not installed, its line is left out")
        return
    print("\na call of the Albumentations door, of pictures that are decoded already")
    for side in (SIDE, 128):
        vae = al.ClassVAE((1, side, side), CLASSES)
        transform = ClassVAE(vae, pool=8, p=1.0)
        photo = np.zeros((side, side, 1), np.uint8)
        calls = [{"image": photo, "label": i % CLASSES} for i in range(2000)]
        for call in calls:
            transform(**call)
        start = time.perf_counter()
        for call in calls:
            transform(**call)
        print(f"  {side} px: {1e6 * (time.perf_counter() - start) / len(calls):.0f} microseconds")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given.device}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fits(given.turns, given.device)
        samples(given.turns, given.device)
        door()


if __name__ == "__main__":
    main()
