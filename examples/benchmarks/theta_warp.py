"""How long warps take, beside bare resampling and the warps of other libraries.

    python examples/benchmarks/theta_warp.py [--device cuda] [--rows 64] [--side 224] [--quick]

All columns of a table take turns within one loop, so that a busy machine slows all of them; each
time is the median of its turns, and a ratio is the median of the ratios turn by turn. What the warp
is wrong by is measured on its own grid, against a motion that is integrated pixel by pixel.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import albu_learned as al
from albu_learned.resample import pixel_centres

Contestants = dict[str, Callable[[], object]]

FULL, NOTHING = "ThetaWarp, 10 boxes, 17 points", "nothing, 10 boxes, 17 points"


def optional(name: str) -> Any:
    """A host, or None with a note where it is not installed."""
    try:
        module: ModuleType = import_module(name)
    except ImportError:
        print(f"note: {name} is not installed, its lines are left out")
        return None
    return module


def measure(found: Contestants, turns: int, device: str = "cpu") -> dict[str, list[float]]:
    """Milliseconds of each, all taking turns."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(turns + 2):  # two to warm up
        for name, call in found.items():
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            result = call()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
            del result
    return times


def show(title: str, times: dict[str, list[float]], beside: str) -> None:
    print(f"\n{title}")
    for name, spent in times.items():
        ratios = [a / b for a, b in zip(spent, times[beside], strict=True)]
        ratio = statistics.median(ratios)
        print(f"  {name:<34} {statistics.median(spent):9.3f} ms {ratio:8.2f} x {beside}")


def off(method: al.ThetaWarp, theta: Tensor, side: int) -> str:
    """What a grid is wrong by, in pixels, of the first rows."""
    theta = theta[:8]
    grid = method.field({"theta": theta}).grid((side, side), theta)
    centres = pixel_centres((side, side), theta)[::7, ::7]
    exact = method.family.transform(theta, centres.reshape(1, -1, 2))
    far = side * (grid[:, ::7, ::7].flatten(1, 2) - exact).norm(dim=-1).flatten()
    return f"off by p99 {far.quantile(0.99):.3f}, at most {far.max():.3f} px"


def batches(rows: int, side: int, turns: int, device: str) -> None:
    """The warp of a batch, with kornia's warps in the same table."""
    images = torch.rand(rows, 3, side, side, device=device)
    found: Contestants = {}
    batch = al.Batch(images=images)
    for name, family in (("CPAB", al.CPAB((4, 4))), ("AffineCPAB", al.AffineCPAB((4, 4)))):
        method = al.ThetaWarp(family).to(device)
        plan = method.plan(batch, method.draw(rows, device=device))
        if not found:
            grid = 2 * method.field(plan).grid((side, side), images) - 1
            found["grid_sample"] = lambda g=grid: F.grid_sample(  # type: ignore[misc]
                images, g, padding_mode="border", align_corners=False
            )
        field = method.field(plan)
        found[f"ThetaWarp, {name}"] = lambda m=method, p=plan: m.apply(batch, p)  # type: ignore[misc]
        found[f"its grid, {name}"] = lambda f=field: f.grid((side, side), images)  # type: ignore[misc]
        print(f"{name} {side} px: {off(method, plan['theta'], side)}")
    kornia = optional("kornia.augmentation")
    if kornia is not None:
        for name in ("RandomThinPlateSpline", "RandomElasticTransform"):
            warp = getattr(kornia, name)(p=1.0)
            found[f"kornia {name}"] = lambda w=warp: w(images)  # type: ignore[misc]
    with torch.no_grad():
        show(f"{rows}x3x{side}x{side}, {device}", measure(found, turns, device), "grid_sample")


def polygons(turns: int) -> None:
    """Vertices of one picture's polygons, moved exactly."""
    method = al.ThetaWarp()
    field = method.field(method.plan(al.Batch(), method.draw(1)))
    found: Contestants = {}
    for count in (10, 1_000, 10_000):
        points = torch.rand(1, count, 2)
        found[f"{count:,} points"] = lambda p=points: field.points(p)  # type: ignore[misc]
    with torch.no_grad():
        show("points of one picture, to 1e-5 of its side", measure(found, turns), "10 points")


def one_picture(side: int, turns: int) -> None:
    """The Albumentations door, with boxes and points and without, in one thread."""
    albumentations, cv2 = optional("albumentations"), optional("cv2")
    if albumentations is None or cv2 is None:
        return
    from albu_learned.albumentations import ThetaWarp

    cv2.setNumThreads(1)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
    low = random.uniform(0, 0.7, (10, 2)) * side
    boxes = np.concatenate([low, low + 0.2 * side], axis=1)
    points = random.uniform(0, side, (17, 2))
    place = np.indices((side, side), dtype=np.float32)[::-1]
    x, y = (np.ascontiguousarray(p + 3 * np.sin(p / 20)) for p in place)
    forms = {
        "bbox_params": albumentations.BboxParams("pascal_voc", label_fields=["names"]),
        "keypoint_params": albumentations.KeypointParams("xy", remove_invisible=False),
    }
    plain = albumentations.Compose([ThetaWarp(std=0.05, p=1)])
    full = albumentations.Compose([ThetaWarp(std=0.05, p=1)], **forms)
    still = albumentations.Compose([albumentations.NoOp(p=1)])
    host = albumentations.Compose([albumentations.NoOp(p=1)], **forms)
    elastic = albumentations.Compose([albumentations.ElasticTransform(p=1)])
    names = [0] * len(boxes)
    found: Contestants = {
        "cv2.remap, float maps": lambda: cv2.remap(image, x, y, cv2.INTER_LINEAR),
        "ThetaWarp": lambda: plain(image=image),
        FULL: lambda: full(image=image, bboxes=boxes, keypoints=points, names=names),
        "nothing": lambda: still(image=image),
        NOTHING: lambda: host(image=image, bboxes=boxes, keypoints=points, names=names),
        "albumentations ElasticTransform": lambda: elastic(image=image),
    }
    small = image[:32, :32]
    for _ in range(600):  # its pool of motions is made as they are drawn
        plain(image=small)
        full(image=small, bboxes=boxes * 32 / side, keypoints=points * 32 / side, names=names)
    times = measure(found, turns)
    show(f"one picture of {side} px, uint8", times, "cv2.remap, float maps")
    more = [added(times, *pair) for pair in (("ThetaWarp", FULL), ("nothing", NOTHING))]
    print(f"  boxes and points add {more[0]:.2f} ms, of which the host alone takes {more[1]:.2f}")


def added(times: dict[str, list[float]], less: str, more: str) -> float:
    return statistics.median(b - a for a, b in zip(times[less], times[more], strict=True))


def alignment(turns: int, counts: tuple[int, ...]) -> None:
    family = al.AffineCPAB((4, 4))
    blur = torch.nn.AvgPool2d(5, 1, 2)
    sources = blur(torch.rand(max(counts), 1, 28, 28))
    targets = al.ThetaWarp(family)(sources)
    print("\naligning pairs of 28x28")
    calls: Contestants = {
        str(n): lambda n=n: al.align(sources[:n], targets[:n], family)  # type: ignore[misc]
        for n in counts
    }
    for name, spent in measure(calls, turns).items():
        middle = statistics.median(spent)
        print(f"  {name:>5} pairs {middle:9.0f} ms {middle / int(name):8.2f} ms a pair")


def series(rows: int, turns: int) -> None:
    """The closed form in one dimension, beside a sum over as many numbers."""
    family = al.CPAB(10)
    theta = 0.1 * torch.randn(rows, family.dim) @ family.smooth.float()
    points = torch.rand(rows, 256, 1)
    basis = torch.rand(256, family.dim)
    found: Contestants = {
        "einsum": lambda: torch.einsum("bd,nd->bn", theta, basis),
        "flow, CPAB(10)": lambda: family.transform(theta, points),
        "velocity, CPAB(10)": lambda: family.velocity(theta, points),
    }
    with torch.no_grad():
        show(f"{rows} series of 256", measure(found, turns), "einsum")


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def main() -> None:
    parser = argparse.ArgumentParser(description="Times warps beside their peers.")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    parser.add_argument("--quick", action="store_true", help="few turns and small batches")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs an NVIDIA GPU, and torch finds none")
    warnings.simplefilter("ignore")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    names = ("torch", "kornia", "albumentations", "opencv-python-headless")
    print(", ".join(f"{name} {installed(name)}" for name in names), f"{args.threads} threads")
    rows = min(args.rows, 16) if args.quick else args.rows
    batches(rows, args.side, 3 if args.quick else 11, args.device)
    series(rows, 20)
    polygons(20)
    alignment(1 if args.quick else 3, (32, 64) if args.quick else (64, 256, 512))
    torch.set_num_threads(1)
    for side in (256, 640):
        one_picture(side, 11 if args.quick else 51)


if __name__ == "__main__":
    main()
