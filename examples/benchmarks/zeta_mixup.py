"""How long zeta-mixup takes, beside other mixes and the least that could be done at all.

    python examples/benchmarks/zeta_mixup.py [--device cuda] [--quick]

Everything counts: the random weights, the soft labels, the checks. All columns take turns within
one loop, so that a busy machine slows all of them; each time is the median of its turns. timm mixes
its own buffer in place, over and over, the others leave their input alone and return new images.
Large new tensors cost page faults, timm's working copy included, and how many depends on what the
process did before: read the ratios of several runs.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import torch

import albu_learned as al

CLASSES = 1000
CPU_BUDGET = 1.2  # times timm
CUDA_BUDGET = 1.5  # times reading and writing the batch once
# rows, side, top_k, and whether the CPU budget is promised there
CASES: list[tuple[int, int, int | None, bool]] = [
    (32, 32, None, False),
    (32, 32, 8, False),
    (128, 32, None, False),
    (128, 32, 8, False),
    (512, 32, None, False),
    (512, 32, 8, True),
    (2048, 32, None, False),
    (2048, 32, 8, True),
    (32, 224, None, False),
    (32, 224, 8, False),
    (128, 224, None, True),
    (128, 224, 8, False),
]
Contestants = dict[str, Callable[[], object]]


def optional(name: str) -> ModuleType | None:
    """A host, or None with a note where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        print(f"note: {name} is not installed, its column stays empty")
        return None


def contestants(
    rows: int, side: int, top_k: int | None, device: str, hosts: dict[str, ModuleType | None]
) -> Contestants:
    images = torch.rand(rows, 3, side, side, device=device)
    labels = torch.randint(CLASSES, (rows,), device=device)
    flat, W = images.flatten(1), torch.rand(rows, rows, device=device)
    ours = al.ZetaMixup(num_classes=CLASSES, top_k=top_k)
    found: Contestants = {"ours": lambda: ours(images, labels)}
    timm_data, kornia = hosts["timm.data"], hosts["kornia.augmentation"]
    if timm_data is not None:
        own = images.clone()
        mixup = timm_data.Mixup(mode="batch", mixup_alpha=1.0, num_classes=CLASSES)
        found["timm"] = lambda: mixup(own, labels)
    if kornia is not None:
        mixup_v2 = kornia.RandomMixUpV2(p=1.0, data_keys=["input", "class"])
        found["kornia"] = lambda: mixup_v2(images, labels)
    found["product"] = lambda: W @ flat
    found["clone"] = lambda: images.clone()
    return found


def measure(found: Contestants, turns: int, device: str) -> dict[str, float]:
    """Milliseconds: the median of each, all taking turns."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(turns + 2):  # two to warm up
        for name, call in found.items():
            spent = one_call(call, device)
            if turn >= 2:
                times[name].append(spent * 1e3)
    return {name: statistics.median(spent) for name, spent in times.items()}


def one_call(call: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = call()
    if device == "cuda":
        torch.cuda.synchronize()
    spent = time.perf_counter() - start
    del result  # freed outside of the time, for all alike
    return spent


def verdict(times: dict[str, float], promised: bool, device: str) -> str:
    if device == "cuda":
        ratio, budget, peer = times["ours"] / times["clone"], CUDA_BUDGET, "clone"
    elif "timm" in times:
        ratio, budget, peer = times["ours"] / times["timm"], CPU_BUDGET, "timm"
        if not promised:
            return f"{ratio:5.2f} x timm"
    else:
        return ""
    result = "PASS" if ratio <= budget else "MISS"
    return f"{ratio:5.2f} x {peer}, budget {budget}: {result}"


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def main() -> None:
    parser = argparse.ArgumentParser(description="Times zeta-mixup beside its peers.")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--quick", action="store_true", help="a few turns, small batches only")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs an NVIDIA GPU, and torch finds none")
    torch.set_num_threads(args.threads)
    versions = ", ".join(f"{name} {installed(name)}" for name in ("torch", "timm", "kornia"))
    chip = torch.cuda.get_device_name() if args.device == "cuda" else platform.machine()
    print(f"{versions}; {chip}, {torch.get_num_threads()} threads; float32, {CLASSES} classes")
    hosts = {name: optional(name) for name in ("timm.data", "kornia.augmentation")}
    columns = ["ours", "timm", "kornia", "product", "clone"]
    print("\nmedians in milliseconds; product: one W @ X; clone: a copy of the batch\n")
    print(f"{'batch':>14} {'top_k':>5} " + " ".join(f"{name:>8}" for name in columns))
    for rows, side, top_k, promised in CASES:
        if args.quick and rows * side * side > 512 * 32 * 32:
            continue
        turns = 5 if args.quick else max(11, min(201, 2**24 // (rows * side * side)))
        found = contestants(rows, side, top_k, args.device, hosts)
        times = measure(found, turns, args.device)
        cells = [f"{times[name]:8.3f}" if name in times else f"{'-':>8}" for name in columns]
        name = f"{rows}x3x{side}x{side}"
        print(
            f"{name:>14} {top_k or 'all':>5} {' '.join(cells)}  "
            + verdict(times, promised, args.device),
            flush=True,
        )


if __name__ == "__main__":
    main()
