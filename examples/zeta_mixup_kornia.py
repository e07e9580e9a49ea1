"""zeta-mixup behind Kornia's own augmentations: one container carries images and labels.

Trains a small network on ten images of each handwritten digit (from scikit-learn: nothing is
downloaded), with and without zeta-mixup, and prints its accuracy on all the others.

    pip install "albu_learned[kornia]" scikit-learn
    python examples/zeta_mixup_kornia.py
"""

import kornia.augmentation as K
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from albu_learned.kornia import LearnedAugmentationSequential, ZetaMixup

EPOCHS = 60
IMAGES_PER_CLASS = 10


def main() -> None:
    torch.set_num_threads(1)  # for 8 x 8 pixels, several would only wait for one another
    affine = K.RandomAffine(10.0, translate=(0.05, 0.05), p=0.5)
    mix = ZetaMixup(gamma=4, num_classes=10)  # 2.8 is the paper's; with few images 4 was better
    print(f"Kornia alone      test accuracy {train(affine):.3f}")
    print(f"with zeta-mixup   test accuracy {train(affine, mix):.3f}")


def train(*operations: nn.Module) -> float:
    """The test accuracy of a network that was trained with these augmentations."""
    torch.manual_seed(0)
    train_set, test_set = load_sets()
    loader = DataLoader(train_set, batch_size=25, shuffle=True)
    augment = LearnedAugmentationSequential(*operations, data_keys=["input", "class"])
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)

    for _ in range(EPOCHS):
        for images, labels in loader:
            images, labels = augment(images, labels)  # behind a mix, labels are (B, 10)
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return accuracy(network, test_set)


def load_sets() -> tuple[TensorDataset, TensorDataset]:
    """The first images of every digit, and all the others."""
    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    labels = torch.from_numpy(digits.target).long()
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        chosen[(labels == digit).nonzero()[:IMAGES_PER_CLASS, 0]] = True
    return (
        TensorDataset(images[chosen], labels[chosen]),
        TensorDataset(images[~chosen], labels[~chosen]),
    )


@torch.no_grad()
def accuracy(network: nn.Module, data: TensorDataset) -> float:
    images, labels = data.tensors
    return (network(images).argmax(dim=1) == labels).float().mean().item()


if __name__ == "__main__":
    main()
