"""Makes the picture at the top of the README: originals above what the method makes of them.

pip install "albu_learned[cli]"
python examples/gallery.py --out examples
"""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits

import albu_learned as al
from albu_learned import preview

BATCH = 32
SHOWN = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write")
    out = parser.parse_args().out
    print(f"Wrote {preview.save(zeta_mixup(), out / 'gallery.png')}")


def zeta_mixup():
    """A batch of handwritten digits, of which the first of each class is shown."""
    generator = torch.Generator().manual_seed(3)
    digits = load_digits()
    # Dark ink on white paper. Weights sum to 1, so mixing before or after inverting is the same.
    images = 1 - torch.from_numpy(digits.images).float()[:, None] / 16
    labels = torch.from_numpy(digits.target).long()
    rows = torch.randperm(len(labels), generator=generator)[:BATCH]
    images, labels = images[rows], labels[rows]
    mix = al.ZetaMixup(gamma=2.8, num_classes=10)
    mixed, soft = mix(images, labels, generator=generator)
    shown = [int((labels == digit).nonzero()[0]) for digit in range(SHOWN)]
    return preview.mixed_samples(
        images[shown],
        labels[shown],
        mixed[shown],
        soft[shown],
        title="ZetaMixup: every image mixes the whole batch and stays close to one of it",
    )


if __name__ == "__main__":
    main()
