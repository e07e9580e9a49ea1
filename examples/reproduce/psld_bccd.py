"""Do images with new backgrounds help a detector? Table 1 of Prairie et al. (2023) again, on blood
cells, with what it lacks: seeds, the same number of steps in every arm, mAP50-95, and the nulls.

    python examples/reproduce/psld_bccd.py bccd/data.yaml

A latent diffusion model is fitted to the training images (the paper took Stable Diffusion 1.4 as it
is), and makes variants of each of them. YOLO then learns from scratch, in every arm for the same
number of steps from the same batches of images: as they are (`plain`, the paper's baseline), with
YOLO's own augmentation (`recipe`, its "naive"), with a share of them shown as a variant (`psld`),
and with both. What a gain may come from that is no new content:

- `autoencoded`: the same erased parts of the same images, encoded and decoded, with nothing drawn;
- `blank`: the same parts painted over with their mean colour, for which no model is needed;
- `plain` itself: as many steps on real images in the place of variants;
- `recipe + dilution`: the same for `recipe + psld`, that share of images without augmentation.

Beside `recipe` alone, `recipe + psld` has to beat these.

The share is chosen among `--shares` on a third of the training images by one rule for all arms, or
is fixed if there is one. The diffusion model has seen that third, which may favour a larger share;
it has not seen the images of `val`, which are not used at all, or of `test`, which are read once,
when all detectors are trained. There are no subsets of the training images: the model would have
to be fitted to each anew.

`--side` makes all images smaller before anything else, for machines without a GPU. `--classes` are
those whose boxes count: `--classes WBC Platelets` asks for few objects in a wide background of red
cells, as fractures are in the paper. `--ldm` takes a model that is there. `--quick` has tiny
settings, to see that all of it works; what comes out says nothing. Stop it and run it again: it
goes on where it was.
"""

import argparse
import json
from pathlib import Path

import torch
import yaml
from PIL import Image

import albu_learned as al
from albu_learned.comparison.statistics import standard_error
from albu_learned.data import label_file, open_data
from albu_learned.data.yolo import Reader
from albu_learned.methods.psld.tiles import padded
from albu_learned.synth import write_variants

SPEC = """\
methods:
  - method: PSLDPool
    pool: %s
    p: %g
    try: {p: %s}
"""
# The paper's test mAP50 and F1, of one training each of YOLOv7 on 750 images of broken bones.
PAPER = {"plain": (69.9, 0.73), "recipe": (74.6, 0.73), "psld": (78.2, 0.82)}
NULLS = ("autoencoded", "blank")
MEASURES = {"map50": "mAP50", "map50_95": "mAP50-95", "f1": "F1"}
QUICK = {"side": 96, "crop": 32, "width": 8, "fit_steps": [4, 4], "sampling": 2, "tile": 96}
QUICK |= {"variants": 1, "steps": 3, "seeds": 1, "image_size": 96, "shares": [0.5]}


class Autoencoded(al.PSLDInpaint):
    """A null of PSLD: what it erases is encoded and decoded, and nothing is drawn."""

    @torch.no_grad()
    def unglued(self, images, plan):
        prior = self.prior.to(images.device)
        whole = padded(images.float(), prior.multiple, prior.side)
        return prior.decode(prior.encode(whole))[..., : images.shape[2], : images.shape[3]]

    def identity(self) -> str:
        return f"{super().identity()}, autoencoder alone"


class Blank(al.PSLDInpaint):
    """A null without a model: what is erased becomes of one colour, its mean. Objects that have no
    label, which PSLD erases too, are gone, and nothing new is in their place."""

    @torch.no_grad()
    def unglued(self, images, plan):
        erased = (~plan["keep"]).to(images.dtype)
        count = erased.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        return ((images * erased).sum(dim=(2, 3), keepdim=True) / count).expand_as(images)

    def identity(self) -> str:
        return f"none, for masks alone, on cells of {self.prior.cell} pixels"


def main() -> None:
    given = arguments()
    data = prepared(given, given.out / "data") if given.side or given.classes else given.data
    model = given.ldm or given.out / "ldm"
    ldm = fitted(data, model, given)
    print(ldm.summary(), flush=True)
    specs = given.out / "specs"
    specs.mkdir(parents=True, exist_ok=True)
    makers = {"psld": al.PSLDInpaint, "autoencoded": Autoencoded, "blank": Blank}
    for name, kind in makers.items():
        how = {"grow": given.grow, "grain": given.grain, "tile": given.tile}
        method = kind(str(model), given.mask, given.sampling, **how)
        pool = (given.out / name).absolute()
        # Nulls take seconds; and their classes, which are in no module, stay in this process.
        how = {"device": given.device, "jobs": given.jobs if name == "psld" else 1}
        print(f"\n{name}: {write_variants(data, method, pool, given.variants, **how).summary()}")
        text = SPEC % (json.dumps(str(pool)), given.shares[0], given.shares)
        (specs / f"{name}.yaml").write_text(text)
    outcome = compared(data, specs, given).outcome
    text = table(outcome)
    (given.out / "table.md").write_text(text)
    print(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", type=Path, help="the data.yaml of a detection set in YOLO's form")
    add("--side", type=int, help="of the images, the longer one; as they are if left out")
    add("--classes", nargs="+", help="those that are to be found; all if left out")
    add("--ldm", type=Path, help="the folder of a diffusion model that is there, for no fit")
    add("--background", action="store_true", help="learn what is outside of boxes alone")
    add("--crop", type=int, default=128, help="side of what the diffusion model learns from")
    add("--width", type=int, default=32, help="of its networks")
    add("--fit-steps", type=int, nargs=2, default=[4000, 8000], help="autoencoder, network")
    add("--sampling", type=int, default=50, help="noise levels of a variant")
    add("--mask", default="gaussian-blobs", help="the paper's: gaussian-outside")
    add("--grow", type=float, default=16 / 384, help="of objects, as a fraction of the sides")
    add("--grain", action="store_true", help="add the fine texture that decoding loses")
    add("--tile", type=int, help="side of what the network looks at; --crop if left out")
    add("--variants", type=int, default=2, help="of each image")
    add("--shares", type=float, nargs="+", default=[0.5, 0.25, 0], help="of variants in a batch")
    add("--image-size", type=int, default=640, help="at which YOLO learns")
    add("--steps", type=int, default=3000, help="of every detector")
    add("--batch", type=int, default=16, help="images a step")
    add("--learning-rate", type=float, help="of detectors; compare's own if left out")
    add("--seeds", type=int, default=5)
    add("--model", default="yolo11n.yaml", help="a YAML file of YOLO, so that it starts anew")
    add("--device", help="cpu or cuda; CUDA where there is one")
    add("--jobs", type=int, default=2, help="processes at a time")
    add("--quick", action="store_true")
    add("--out", type=Path, default=Path("reproduced/psld_bccd"), help="folder to write")
    given = parser.parse_args()
    if given.quick:
        vars(given).update(QUICK)
    return given


def prepared(given: argparse.Namespace, out: Path) -> Path:
    """The same data set as PNG, with so many pixels along the longer side of images, and with the
    boxes of these classes alone."""
    reader = Reader(given.data)
    names = list(reader.names())
    chosen = given.classes or names
    if unknown := set(chosen) - set(names):
        raise SystemExit(f"--classes must be of {names}, got {sorted(unknown)}.")
    numbers = {str(names.index(name)): str(number) for number, name in enumerate(chosen)}
    keys = {"path": str(out.absolute()), "names": dict(enumerate(chosen))}
    for part in ("train", "val", "test"):
        if not reader.keys.get(part):
            continue
        keys[part] = f"images/{part}"
        images, labels = out / "images" / part, out / "labels" / part
        for folder in (images, labels):
            folder.mkdir(parents=True, exist_ok=True)
        for path in reader.images(part):
            lines = [line.split() for line in label_file.text(label_file.of(path)).splitlines()]
            kept = [[numbers[line[0]], *line[1:]] for line in lines if line and line[0] in numbers]
            (labels / f"{path.stem}.txt").write_text("".join(" ".join(k) + "\n" for k in kept))
            with Image.open(path) as file:
                small = file.convert("RGB")
            if given.side:
                size = [max(1, round(given.side / max(small.size) * side)) for side in small.size]
                small = small.resize(size, Image.Resampling.BOX)
            small.save(images / f"{path.stem}.png")
    (out / "data.yaml").write_text(yaml.safe_dump(keys))
    return out / "data.yaml"


def fitted(data: Path, folder: Path, given: argparse.Namespace) -> al.LatentDiffusion:
    """The model of the training images, which a fit that was stopped goes on with."""
    if (folder / "model_index.json").is_file():
        return al.LatentDiffusion.from_pretrained(folder)
    first, second = given.fit_steps
    return al.LatentDiffusion.fit(
        open_data(data),
        size=given.crop,
        width=given.width,
        autoencoder_steps=first,
        steps=second,
        flip=True,
        background=given.background,
        folder=folder,
        device=given.device,
    )


def compared(data: Path, specs: Path, given: argparse.Namespace):
    arms = [str(specs / f"{name}.yaml") for name in ("psld", *NULLS)]
    beside = [f"recipe + {name}" for name in NULLS]
    return al.compare(
        data,
        ["plain", "recipe", *arms, *(f"recipe + {arm}" for arm in arms)],
        against={"psld": [*NULLS], "recipe + psld": beside},
        sizes="all",
        seeds=given.seeds,
        steps=given.steps,
        batch=given.batch,
        model=given.model,
        learning_rate=given.learning_rate,
        image_size=given.image_size,
        device=given.device,
        jobs=given.jobs,
        out=given.out / "compared",
    )


def table(outcome) -> str:
    """Means over seeds on test images, what an arm gains over plain training and over its control,
    and the paper's figures."""
    heads = ["arm", "share", *(f"{name}, %" for name in MEASURES.values())]
    heads += ["mAP50 over plain", "mAP50-95 over plain", "the paper: mAP50, F1"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for arm in (facts.name for facts in outcome.ran):
        cells = [arm, shares(outcome, arm)]
        cells += [f"{100 * mean(values(outcome, arm, name)):.1f}" for name in MEASURES]
        cells += [gain(outcome, arm, "plain", name) for name in ("map50", "map50_95")]
        cells.append("{:.1f}, {:.2f}".format(*PAPER[arm]) if arm in PAPER else "")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| against its control | mAP50 | mAP50-95 | F1 |", "|---|---|---|---|"]
    for facts in outcome.ran:
        for other in facts.controls:
            gains = [gain(outcome, facts.name, other, name) for name in MEASURES]
            lines.append(f"| {facts.name} - {other} | {' | '.join(gains)} |")
    return "\n".join(lines) + "\n"


def values(outcome, arm: str, measure: str) -> list[float]:
    return outcome.values(arm, outcome.sizes[0], measure)


def mean(of: list[float]) -> float:
    return sum(of) / len(of)


def gain(outcome, arm: str, other: str, measure: str) -> str:
    """The mean over seeds of the paired difference in points, and its standard error."""
    if arm == other:
        return ""
    pairs = zip(values(outcome, arm, measure), values(outcome, other, measure), strict=True)
    found = [100 * (one - another) for one, another in pairs]
    error = standard_error(found)
    return f"{mean(found):+.1f}" + ("" if error is None else f" ± {error:.1f}")


def shares(outcome, arm: str) -> str:
    """Of variants (or of plain images), as validation chose them, seed by seed."""
    chosen = [result.strength for result in outcome.results if result.arm == arm]
    return ", ".join(f"{value:g}" for one in chosen for value in one.values())


if __name__ == "__main__":
    main()
