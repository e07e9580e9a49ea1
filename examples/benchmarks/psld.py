"""What an image drawn by PSLD costs: the published loop beside ours, on one model.

    python examples/benchmarks/psld.py [--device cuda] [--ldm FOLDER] [--quick]

Counted are the images that pass through the network, the decoder and the encoder, forwards and
backwards apart. All of them together are told in one unit, the floating-point operations of
matrix products and convolutions that torch counts for one such pass; and once more with those of
Stable Diffusion 1.5 at 512 px in their place, whose decoder is dear. The published loop takes 1,000
steps, shows the network each image twice (guidance 7.5 between a text and none, which are the same)
and sends gradients through all three; its images come one at a time, since its norm is of a batch.

How good an image is: the PSNR on kept pixels before these are put back, as the median of images.
Of what is made, that says nothing, so `new` compares its sharpness with that of the same places of
the real image; 1 is alike. Ours ends where the autoencoder's own latents do, or at a share (`to`)
of what these leave. Budget: at no lower PSNR than the published loop, at most 1/20 of it.

Times are of this machine and of one image at a time; counts and PSNR are the same everywhere but
for rounding.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import albu_learned as al
from albu_learned.methods.psld.operators import Mask
from albu_learned.methods.psld.problem import Draw, Problem, RowNoise
from albu_learned.methods.psld.samplers import SAMPLERS
from albu_learned.rows import Rows
from albu_learned.synth.gates import psnr

PARTS = ("network", "decoder", "encoder")
KINDS = [f"{part} {way}" for part in PARTS for way in ("forwards", "backwards")]
BUDGET = 1 / 20
STATUS = Path("/proc/self/status")  # of Linux
GUIDANCE = 7.5  # of the published loop
REFERENCE, DEFAULTS = "published", "defaults"
PASSES = "".join(f"{part:>11}" for part in PARTS)
HEAD = f"{'passes, forwards/back':<26}{PASSES}   PSNR   new  seconds   share    cost  SD 1.5"


@dataclass(frozen=True)
class Setting:
    """A sampler and its arguments; `twice`: the network sees each image twice."""

    sampler: str
    steps: int
    arguments: dict[str, Any]
    twice: bool = False


def settings(quick: bool) -> dict[str, Setting]:
    scale = 50 if quick else 1
    published = {"omega": 1.0, "gamma": 0.2, "published": True}
    found = {REFERENCE: Setting("psld", 1000 // scale, published, twice=True)}
    found[DEFAULTS] = Setting("decoder-only", max(2, 50 // scale), {})
    for steps, guidance, beyond in ((100, 3, 1.0), (100, 1, 1.0), (50, 1, 1.0), (30, 2, 0.9)):
        own = {"guidance": guidance, "beyond": beyond}
        name = f"{steps}, guidance {guidance}, to {beyond}"
        found[name] = Setting("decoder-only", max(2, steps // scale), own)
    found["psld 200"] = Setting("psld", max(2, 200 // scale), {})
    found["psld 50"] = Setting("psld", max(2, 50 // scale), {})
    found["blending 100"] = Setting("blending", max(2, 100 // scale), {})
    return found


def scenes(count: int, side: int, seed: int) -> tuple[Tensor, list[Tensor]]:
    """Discs on waves, with noise; and their boxes, as fractions."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*[(torch.arange(side) + 0.5) / side] * 2, indexing="ij")
    images, boxes = [], []
    for _ in range(count):
        draw = torch.rand(5, 3, generator=generator)
        phase = 30 * (draw[0, 0] * x + draw[0, 1] * y) + 6 * draw[0, 2]
        image = 0.35 + 0.15 * torch.sin(phase) + 0.3 * (draw[1].view(3, 1, 1) - 0.5)
        own = []
        for cx, cy, size in draw[2:4].tolist():
            cx, cy, radius = 0.15 + 0.7 * cx, 0.15 + 0.7 * cy, 0.06 + 0.06 * size
            away = ((x - cx).square() + (y - cy).square()).sqrt()
            inside = ((radius - away) * side + 0.5).clamp(0, 1)
            image = image + inside * (draw[4].view(3, 1, 1) * 0.5 + 0.4 - image)
            own.append([cx - radius, cy - radius, cx + radius, cy + radius])
        noise = 0.02 * torch.randn(3, side, side, generator=generator)
        images.append((image + noise).clamp(0, 1))
        boxes.append(torch.tensor(own))
    return torch.stack(images), boxes


def model_of(folder: Path | None, side: int, quick: bool, device: str) -> al.LatentDiffusion:
    """The one in the folder; or a small one, fitted here and kept there."""
    if folder is not None and (folder / "model_index.json").is_file():
        return al.LatentDiffusion.from_pretrained(folder, device=device)
    steps = (20, 20) if quick else (2000, 2000)
    ldm = al.LatentDiffusion.fit(
        scenes(40 if quick else 400, side, seed=1)[0],
        size=side,
        width=8,
        autoencoder_steps=steps[0],
        steps=steps[1],
        batch=8,
        folder=folder,
        device=device,
    )
    print(ldm.summary())
    return ldm.to(device)


class Twice:
    """A model that is asked as the published loop asks: with a text and without, at once."""

    def __init__(self, ldm: al.LatentDiffusion) -> None:
        self.alphas, self.encode, self.decode = ldm.alphas, ldm.encode, ldm.decode
        self.ldm = ldm

    def noise(self, latents: Tensor, time: int) -> Tensor:
        without, told = self.ldm.noise(torch.cat([latents, latents]), time).chunk(2)
        return without + GUIDANCE * (told - without)


@contextmanager
def counted(ldm: al.LatentDiffusion) -> Iterator[Counter[str]]:
    """Counts the images that pass through each part, forwards and backwards."""
    counts: Counter[str] = Counter()
    modules = (ldm.unet, ldm.autoencoder.decoder, ldm.autoencoder.encoder)

    def hook(part: str) -> Callable[..., None]:
        def count(module: Any, given: Any, out: Any) -> None:
            values = out if isinstance(out, Tensor) else out.sample
            rows = len(values)
            counts[f"{part} forwards"] += rows
            if values.requires_grad:
                back = f"{part} backwards"
                values.register_hook(lambda _: counts.update({back: rows}))

        return count

    pairs = zip(modules, PARTS, strict=True)
    handles = [module.register_forward_hook(hook(part)) for module, part in pairs]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def draw(ldm: al.LatentDiffusion, how: Setting, images: Tensor, keep: Tensor, seed: int) -> Tensor:
    """Images as they are decoded, before what is kept is put back."""
    seeds = seed + torch.arange(len(images))
    noise: Draw = RowNoise(seeds)
    model = Twice(ldm) if how.twice else ldm
    with torch.no_grad():
        problem = Problem(Mask(keep), images)
        latents = SAMPLERS[how.sampler](model, problem, noise, how.steps, **how.arguments)
        return ldm.decode(latents).clamp(0, 1)


def passes(ldm: al.LatentDiffusion, side: int) -> dict[str, Callable[[bool], object]]:
    """One image through each part; with gradients, if so told, forwards and back."""
    cells = side // ldm.cell
    latents = torch.randn(1, ldm.unet.config.in_channels, cells, cells, device=ldm.device)
    image = torch.rand(1, ldm.channels, side, side, device=ldm.device)

    def through(call: Callable[[Tensor], Tensor], given: Tensor) -> Callable[[bool], object]:
        def run(back: bool) -> object:
            with torch.set_grad_enabled(back):
                start = given.clone().requires_grad_(back)
                out = call(start)
                return out.sum().backward() if back else out

        return run

    return {
        "network": through(lambda z: ldm.noise(z, 500), latents),
        "decoder": through(ldm.decode, latents),
        "encoder": through(ldm.encode, image),
    }


def operations(ldm: al.LatentDiffusion, side: int) -> dict[str, float]:
    """Floating-point operations of one image through each part, forwards and backwards."""
    found = {}
    for part, run in passes(ldm, side).items():
        totals = []
        for back in (False, True):
            with FlopCounterMode(display=False) as counter:
                run(back)
            totals.append(float(counter.get_total_flops()))
        found[f"{part} forwards"] = totals[0]
        found[f"{part} backwards"] = totals[1] - totals[0]
    return found


def stable_diffusion() -> al.LatentDiffusion:
    """The sizes of Stable Diffusion 1.5, without its numbers."""
    import diffusers

    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, attention_head_dim=8
        )
        autoencoder = diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        )
        words = torch.zeros(1, 77, 768)
    return al.LatentDiffusion(unet, autoencoder, diffusers.DDPMScheduler(), words)


@dataclass
class Run:
    """What became of the images of one setting; passes are those of one image."""

    passes: dict[str, float]
    seconds: float
    psnr: float
    sharp: float

    def cost(self, each: dict[str, float]) -> float:
        return sum(count * each[kind] for kind, count in self.passes.items())


def ran(ldm: al.LatentDiffusion, how: Setting, images: Tensor, keep: Tensor) -> Run:
    """Images one at a time, as the published loop takes them."""
    times, near, sharp = [], [], []
    with counted(ldm) as counts:
        for i, (image, own) in enumerate(zip(images, keep, strict=True)):
            start = time.perf_counter()
            made = draw(ldm, how, image[None], own[None], seed=i)[0].cpu()  # waits for a GPU
            times.append(time.perf_counter() - start)
            near.append(psnr(made, image.cpu(), own.cpu()) or float("nan"))
            sharp.append(sharpness(made, image.cpu(), own.cpu()))
    passes = {kind: counts[kind] / len(images) for kind in KINDS}
    return Run(passes, *(statistics.median(values) for values in (times, near, sharp)))


def sharpness(made: Tensor, real: Tensor, keep: Tensor) -> float:
    """Of what is made, as a share of what was there: the deviation of second differences."""
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    whole = F.conv2d(keep[None].float(), torch.ones(1, 1, 3, 3)) == 0
    both = torch.stack([made, real]).mean(dim=1, keepdim=True)
    edges = [F.conv2d(one[None], kernel)[whole].std() for one in both]
    return float(edges[0] / edges[1])


def race(ldm: al.LatentDiffusion, given: argparse.Namespace) -> None:
    """All settings on the same images, each line as soon as it is known."""
    images, keep = masked(ldm, given.images, given)
    units = [operations(ldm, images.shape[-1])]
    if not given.quick:
        units.append(operations(stable_diffusion(), 512))
    with torch.no_grad():
        alone = ldm.decode(ldm.encode(images)).clamp(0, 1)
    rows = zip(alone.cpu(), images.cpu(), keep.cpu(), strict=True)
    print(
        f"\nPSNR of the autoencoder alone: {statistics.median(psnr(*row) or 0 for row in rows):.2f}"
    )
    print(HEAD)
    found: dict[str, Run] = {}
    for name, how in settings(given.quick).items():
        found[name] = ran(ldm, how, images, keep)
        print(line(name, found[name], found[REFERENCE], units), flush=True)
    if not given.quick:  # so few steps show nothing but that it runs
        verdict(found, units[0])


def line(name: str, run: Run, first: Run, units: list[dict[str, float]]) -> str:
    counts = [
        f"{run.passes[f'{part} forwards']:.0f}/{run.passes[f'{part} backwards']:.0f}"
        for part in PARTS
    ]
    shares = [first.cost(each) / run.cost(each) for each in units]
    return (
        f"{name:<26}"
        + "".join(f"{count:>11}" for count in counts)
        + f"{run.psnr:>7.2f}{run.sharp:>6.2f}{run.seconds:>9.2f}"
        + f"{f'1/{first.seconds / run.seconds:.1f}':>8}"
        + "".join(f"{f'1/{share:.1f}':>8}" for share in shares)
    )


def verdict(found: dict[str, Run], each: dict[str, float]) -> None:
    """The defaults, and the cheapest that is as true to what is kept as the published loop."""
    first = found[REFERENCE]
    true = {name: run for name, run in found.items() if run.psnr >= first.psnr}
    rest = [name for name in true if name != REFERENCE]
    best = min(rest, key=lambda name: true[name].cost(each)) if rest else DEFAULTS
    for name in dict.fromkeys([DEFAULTS, best]):
        share = found[name].cost(each) / first.cost(each)
        met = "met" if share <= BUDGET and name in true else "missed"
        print(
            f"budget {met} by {name}: 1/{1 / share:.1f} of the cost at "
            f"{found[name].psnr - first.psnr:+.2f} dB"
        )


def masked(ldm: al.LatentDiffusion, count: int, given: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Images that the model has not seen, and which of their pixels are kept."""
    images, boxes = scenes(count, ldm.side, seed=2)
    if ldm.channels == 1:
        images = images.mean(dim=1, keepdim=True)
    method = al.PSLDInpaint(ldm, mask=given.mask)
    batch = al.Batch(images=images, boxes=Rows.of(boxes))
    keep = method.plan(batch, method.draw(count, torch.Generator().manual_seed(0)))["keep"]
    return images.to(ldm.device), keep.to(ldm.device)


def rates(ldm: al.LatentDiffusion, given: argparse.Namespace) -> None:
    """Images a minute, and memory, over batch sizes: each in a process of its own, whose memory
    nobody else has used."""
    scale = 50 if given.quick else 1
    print(f"\n{'at once':<26}{'images a minute':>16}{'memory':>12}")
    with tempfile.TemporaryDirectory() as folder:
        ldm.save_pretrained(folder)
        contestants = [
            (DEFAULTS, settings(given.quick)[DEFAULTS], count) for count in given.batches
        ]
        short = replace(settings(given.quick)[REFERENCE], steps=max(2, 20 // scale))
        contestants.append((f"{REFERENCE}, {short.steps} steps", short, 1))
        for name, how, count in contestants:
            with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
                spent, memory = fresh.submit(alone, folder, how, count, given).result()
            print(
                f"{name + f', {count}':<26}{60 * count / spent:>16.2f}{memory:>9.0f} MB", flush=True
            )


def alone(folder: str, how: Setting, count: int, given: argparse.Namespace) -> tuple[float, float]:
    """Seconds, and megabytes above those of the model at rest."""
    torch.set_num_threads(given.threads)
    ldm = al.LatentDiffusion.from_pretrained(folder, device=given.device)
    images, keep = masked(ldm, count, given)
    before = at_rest(given.device)
    draw(ldm, replace(how, steps=2), images, keep, seed=0)  # to warm up
    start = time.perf_counter()
    draw(ldm, how, images, keep, seed=0).cpu()
    return time.perf_counter() - start, peak(given.device) - before


def at_rest(device: str) -> float:
    """Megabytes on the GPU, or resident; what was the most is forgotten."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    if not STATUS.exists():
        return peak(device)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    if STATUS.exists():
        return status("VmHWM")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def status(name: str) -> float:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return float(line.split()[1]) / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--ldm", type=Path, help="folder of a model; one is fitted if there is none"
    )
    parser.add_argument("--side", type=int, default=64, help="pixels of the model that is fitted")
    parser.add_argument("--images", type=int, default=4, help="of each setting")
    parser.add_argument("--mask", default="gaussian-blobs")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument(
        "--quick", action="store_true", help="hardly fitted, a fiftieth of the steps"
    )
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs an NVIDIA GPU, and torch finds none")
    torch.set_num_threads(given.threads)
    ldm = model_of(given.ldm, given.side, given.quick, given.device)
    print(f"torch {torch.__version__}, {given.device}, {given.threads} threads, mask {given.mask}")
    race(ldm, given)
    rates(ldm, given)


if __name__ == "__main__":
    main()
