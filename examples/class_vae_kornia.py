"""New digits in Kornia's container: a ClassVAE learned from ten images of each class.

Fits the VAE on scikit-learn's digits (nothing is downloaded), and trains a small network without
and with new images in the place of some, each of the class of the image that it replaces. Expect
little, or nothing. With a folder that `ClassVAE.fit(...).save_pretrained(folder)` has written for
digits of 8 x 8 pixels no VAE is fitted:

    python examples/class_vae_kornia.py [folder]
"""

import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import albu_learned as al
from albu_learned.kornia import ClassVAE, LearnedAugmentationSequential

EPOCHS, IMAGES_PER_CLASS = 100, 10


def main() -> None:
    torch.set_num_threads(1)
    images, labels, chosen = digits()
    if len(sys.argv) > 1:
        vae = al.ClassVAE.from_pretrained(sys.argv[1])
    else:
        vae = al.ClassVAE.fit(images[chosen], labels[chosen], network="dense", expect=False)
    show(vae)
    print(f"without new digits  test accuracy {train(None):.3f}")
    print(f"with 40 % of them   test accuracy {train(ClassVAE(vae, p=0.4)):.3f}")


def digits() -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels, and which are learned from: the first ten of each class."""
    given = load_digits()
    images = torch.from_numpy(given.images).float()[:, None] / 16
    labels = torch.from_numpy(given.target).long()
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        chosen[(labels == digit).nonzero()[:IMAGES_PER_CLASS, 0]] = True
    return images, labels, chosen


def show(vae: al.ClassVAE) -> None:
    """A new 0, 1 and 7, in characters."""
    made = vae.sample([0, 1, 7], generator=torch.Generator().manual_seed(0))[:, 0]
    for rows in made.transpose(0, 1):
        print("   ".join("".join(" .:*#"[int(4.99 * v)] * 2 for v in row) for row in rows))


def train(replace: ClassVAE | None) -> float:
    """The test accuracy of a network that was trained with these replacements."""
    torch.manual_seed(0)
    images, labels, chosen = digits()
    network = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    operations = [] if replace is None else [replace]
    augment = LearnedAugmentationSequential(*operations, data_keys=["input", "class"])
    for _ in range(EPOCHS):
        seen = (images[chosen], labels[chosen])
        with torch.no_grad():  # the VAE is used, and not trained any further
            seen = augment(*seen) if operations else seen
        loss = F.cross_entropy(network(seen[0]), seen[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = network(images[~chosen]).argmax(dim=1) == labels[~chosen]
    return right.float().mean().item()


if __name__ == "__main__":
    main()
