"""What a PSTN costs beside its bare classifier: a training step, and a prediction of ten motions.

    python examples/benchmarks/pstn.py [--device cuda] [--sides 32 224] [--quick]

All columns of a table take turns within one loop, so that a busy machine slows all of them; each
time is the median of its turns, and a ratio is the median of the ratios turn by turn. A prediction
stands beside ten calls of the bare classifier, which is what it cannot do without.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import albu_learned as al
from albu_learned.comparison.networks import small

Contestants = dict[str, Callable[[], object]]
FAMILIES = {"affine": al.Affine(), "CPAB((4, 4))": al.CPAB((4, 4))}
SAMPLES = 10


def measure(found: Contestants, turns: int, device: str) -> dict[str, list[float]]:
    """Milliseconds of each, all taking turns."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(turns + 2):  # two to warm up
        for name, call in found.items():
            wait(device)
            start = time.perf_counter()
            call()
            wait(device)
            if turn >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def show(title: str, times: dict[str, list[float]], beside: str) -> None:
    print(f"\n{title}")
    for name, spent in times.items():
        ratio = statistics.median(a / b for a, b in zip(spent, times[beside], strict=True))
        print(f"  {name:<24} {statistics.median(spent):9.2f} ms {ratio:7.2f} x {beside}")


def ratio(times: dict[str, list[float]], over: str, under: str) -> float:
    return statistics.median(a / b for a, b in zip(times[over], times[under], strict=True))


def networks(side: int, device: str) -> dict[str, Callable[[], nn.Module]]:
    """A small one, and what many train; each call gives one with the same weights."""
    made: dict[str, Callable[[], nn.Module]] = {"small": lambda: small((3, side, side), 10)}
    try:
        import timm
    except ImportError:
        print("note: timm is not installed, resnet18 is left out")
    else:
        made["resnet18"] = lambda: timm.create_model("resnet18", num_classes=10)
    return {name: lambda m=make: seeded(m).to(device) for name, make in made.items()}  # type: ignore[misc]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


def step(loss: Callable[[], Tensor], model: nn.Module) -> Callable[[], object]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def run() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return run


def race(name: str, make: Callable[[], nn.Module], x: Tensor, turns: int, device: str) -> None:
    y = torch.arange(len(x), device=device) % 10
    bare = make()
    steps: Contestants = {"bare": step(lambda: F.cross_entropy(bare(x), y), bare)}
    still = make().eval()
    predictions: Contestants = {
        f"{SAMPLES} x bare": lambda: [still(x) for _ in range(SAMPLES)],
    }
    for family, moves in FAMILIES.items():
        model = al.PSTN(make(), moves, example=x[:1]).to(device)
        steps[family] = step(lambda m=model: m.loss(x, y), model)  # type: ignore[misc]
        ready = al.PSTN(make(), moves, example=x[:1]).to(device).eval()
        predictions[family] = lambda m=ready: m.predict(x, SAMPLES)  # type: ignore[misc]
    of = f"{name}, {tuple(x.shape)}, {device}"
    found = measure(steps, turns, device)
    show(f"training step, {of}", found, "bare")
    print(f"  CPAB over affine: {ratio(found, 'CPAB((4, 4))', 'affine'):.2f}")
    with torch.no_grad():
        found = measure(predictions, turns, device)
    show(f"prediction, {SAMPLES} motions, {of}", found, f"{SAMPLES} x bare")
    print(f"  CPAB over affine: {ratio(found, 'CPAB((4, 4))', 'affine'):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Times a PSTN beside its bare classifier.")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 224])
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--turns", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--quick", action="store_true", help="few turns and rows")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs an NVIDIA GPU, and torch finds none")
    torch.set_num_threads(given.threads)
    rows, turns = (min(8, given.rows), 5) if given.quick else (given.rows, given.turns)
    print(f"torch {torch.__version__}, {given.device}, {given.threads} threads, {rows} rows")
    for side in given.sides:
        x = torch.rand(rows, 3, side, side, device=given.device)
        for name, make in networks(side, given.device).items():
            race(name, make, x, turns, given.device)


if __name__ == "__main__":
    main()
