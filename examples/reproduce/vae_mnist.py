"""Do images of class-wise VAEs help a classifier of few digits? Table 2 of Garay-Maestre et al.
(2018) again, with what it lacks: the same number of steps in every arm, AUG+VAE that is trained on
VAE images, and the controls.

    python examples/reproduce/vae_mnist.py mnist.npz

CNN is `plain`, AUG `recipe`, VAE `class-vae` with the default network, or `class-vae-N` with the
paper's and N latent numbers; `pca-gaussian` is the rival without a network, and `dilution` leaves
as many rows of AUG plain real images as the VAE would replace. Shares of VAE images (none is one of
them) and magnitudes are chosen on validation images by one rule for all arms; no checkpoint is
chosen, for all end one schedule; the whole test part (of MNIST 10,000 images, the paper took 7,000)
is read once, at the end. AUG turns by 20 degrees and shifts by a fifth of the side as in the paper,
or by a half or a quarter of that, but zooms too, may mirror, and reflects at the border.

The paper's network learns for minutes on a CPU: `--latents 3 --vae dense` is quicker, `--latents`
with nothing after it leaves those arms out. Stop it and run it again: it goes on where it was.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

import albu_learned as al
from albu_learned.comparison.result import Outcome
from albu_learned.comparison.statistics import standard_error, wilcoxon_p
from albu_learned.data import open_data

ARMS = ["plain", "recipe", "class-vae", "recipe + class-vae", "pca-gaussian"]
ARMS += ["theta-warp", "theta-warp + class-vae"]
SPEC = """\
methods:
  - method: ClassVAE
    fit: {network: %s, latent: %d}
    stage: batch  # its images stay as they are, whatever the recipe does to the others
    p: 0.4
    try: {p: [0.4, 0.2, 0.0]}
"""
DILUTION = "dilution 0.4/0.2/0"
# The paper's macro F1 in % on MNIST, by images in all; of VAE and AUG+VAE also by latent numbers.
CNN = {50: 76.30, 100: 84.38, 250: 93.03, 500: 94.28, 1000: 96.54}
AUG = {50: 86.10, 100: 94.85, 250: 97.12, 500: 98.11, 1000: 98.36}
VAE = {
    2: {50: 84.89, 100: 90.90, 250: 94.84, 500: 95.65, 1000: 97.24},
    3: {50: 85.40, 100: 91.98, 250: 95.93, 500: 96.38, 1000: 97.74},
    4: {50: 83.77, 100: 91.75, 250: 95.16, 500: 96.28, 1000: 97.38},
    8: {50: 84.46, 100: 91.28, 250: 95.24, 500: 95.95, 1000: 97.50},
}
AUG_VAE = {
    2: {50: 89.05, 100: 94.50, 250: 98.00, 500: 98.22, 1000: 98.87},
    3: {50: 90.86, 100: 95.15, 250: 97.97, 500: 98.26, 1000: 98.87},
    4: {50: 89.67, 100: 94.73, 250: 97.86, 500: 98.30, 1000: 98.90},
    8: {50: 89.32, 100: 94.56, 250: 97.86, 500: 98.41, 1000: 98.79},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="what `albu-learned compare` takes, such as mnist.npz")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[50, 100, 250], help="images in all"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=600, help="of every classifier")
    parser.add_argument("--latents", type=int, nargs="*", default=[2, 3, 4, 8])
    parser.add_argument("--vae", default="garay-2018", help="the network of these; or dense, ...")
    parser.add_argument("--arms", nargs="+", default=ARMS, help="in place of the usual ones")
    parser.add_argument("--model", default="small", help="`garay_2018` is the paper's CNN (timm)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--out", type=Path, default=Path("reproduced"), help="folder to write")
    given = parser.parse_args()
    data = open_data(given.data)
    classes = len(data.classes)
    for size in given.sizes:
        if size < classes or size % classes:
            parser.error(f"`--sizes` must be so many for each of {classes} classes, got {size}.")
    vaes = write_specs(given.out / "specs", given.vae, given.latents)
    found = al.compare(
        given.data,
        [*given.arms, *vaes, *(f"recipe + {path}" for path in vaes)],
        sizes=[size // classes for size in given.sizes],
        seeds=given.seeds,
        steps=given.steps,
        jobs=given.jobs,
        model=given.model,
        image_size=data.shape[-1] if given.model != "small" else None,
        measure="macro_f1",
        out=given.out / f"{data.name}_vae_{given.model}",
    ).outcome
    text = "\n".join([*table_2(found, classes), "", *table_3(found)])
    (given.out / f"{data.name}_vae_{given.model}.md").write_text(f"{text}\n")
    print(f"\n{text}")


def write_specs(folder: Path, network: str, latents: list[int]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"class-vae-{latent}.yaml" for latent in latents]
    for path, latent in zip(paths, latents, strict=True):
        path.write_text(SPEC % (network, latent))
    return [str(path) for path in paths]


def table_2(found: Outcome, classes: int) -> list[str]:
    """Macro F1, with the error of the paired difference to plain; and the shares that were chosen:
    of VAE images, of Gaussian samples or of plain real ones."""
    rows = ["| images in all | arm | macro F1, % | over plain | share chosen | the paper's F1, % |"]
    rows += ["|---|---|---|---|---|---|"]
    for size in found.sizes:
        for arm in [facts.name for facts in found.ran]:
            values = found.values(arm, size)
            gain = "" if arm == "plain" else difference(found, arm, "plain", [size])[0]
            shares = [
                value
                for result in found.results
                if (result.arm, result.size) == (arm, size)
                for key, value in result.strength.items()
                if key.rpartition(".")[2] in ("p", "share")
            ]
            share = f"{sum(shares) / len(shares):.2f}" if shares else ""
            total, mean = size * classes, 100 * sum(values) / len(values)
            rows += [f"| {total} | {arm} | {mean:.1f} | {gain} | {share} | {paper(arm, total)} |"]
    return rows


def paper(arm: str, size: int) -> str:
    *base, last = arm.split(" + ")
    if arm in ("plain", "recipe"):
        return f"{(CNN if arm == 'plain' else AUG).get(size, '')}"
    if not last.startswith("class-vae") or base not in ([], ["recipe"]):
        return ""
    table = AUG_VAE if base else VAE
    latent = last.removeprefix("class-vae").removeprefix("-")
    figures = [row[size] for row in table.values() if size in row]
    if latent:
        return f"{table.get(int(latent), {}).get(size, '')}"
    return f"{min(figures)} to {max(figures)}" if figures else ""


def table_3(found: Outcome) -> list[str]:
    """Wilcoxon's test as in the paper, but with one value a seed, the mean over sizes: the sizes of
    a seed share images, so they are no trials of their own."""
    rows = ["| arm | against | difference in macro F1 | Wilcoxon's p | in the paper (p < 0.01) |"]
    rows += ["|---|---|---|---|---|"]
    ran = [facts.name for facts in found.ran]
    pairs = [("recipe", "plain", "better")]
    for vae in [name for name in ran if name.startswith("class-vae")]:
        both, warped = f"recipe + {vae}", f"theta-warp + {vae}"
        pairs += [(vae, "plain", "better"), (vae, "recipe", "worse"), (vae, "pca-gaussian", "")]
        pairs += [(both, other, "better") for other in ("plain", vae, "recipe")]
        pairs += [(both, f"recipe + {other}", "") for other in (DILUTION, "pca-gaussian")]
        pairs += [(warped, "theta-warp", ""), (warped, f"theta-warp + {DILUTION}", "")]
    for arm, other, said in pairs:
        if arm in ran and other in ran:
            gain, p = difference(found, arm, other, found.sizes)
            rows.append(f"| {arm} | {other} | {gain} | {p:.3f} | {said} |")
    return rows


def difference(found: Outcome, arm: str, other: str, sizes) -> tuple[str, float]:
    """In points, over seeds, with its error; and Wilcoxon's p."""
    by_size = torch.tensor([found.values(arm, size) for size in sizes]) - torch.tensor(
        [found.values(other, size) for size in sizes]
    )
    gains = (100 * by_size.double().mean(dim=0)).tolist()
    error = standard_error(gains)
    return f"{sum(gains) / len(gains):+.1f} ± {error or 0:.1f}", wilcoxon_p(gains)


def paper_cnn(classes: int, channels: int) -> nn.Module:
    """The CNN of the paper's Table 1, for 28 pixels a side; convolutions without padding, of which
    it says nothing."""
    return nn.Sequential(
        *(nn.Conv2d(channels, 64, 3), nn.ReLU(), nn.Conv2d(64, 128, 3), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Dropout(0.5)),
        *(nn.Conv2d(128, 128, 3), nn.ReLU(), nn.Conv2d(128, 128, 3), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Dropout(0.5)),
        *(nn.Flatten(), nn.Linear(128 * 4 * 4, 128), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(128, classes),
    )


try:  # at the top, for every process of a comparison imports this file
    from timm.models import register_model
except ModuleNotFoundError:
    pass
else:

    @register_model
    def garay_2018(pretrained=False, num_classes=10, in_chans=1, **others) -> nn.Module:
        return paper_cnn(num_classes, in_chans)


if __name__ == "__main__":
    main()
