"""zeta-mixup in a plain PyTorch loop: one line between the batch and the loss.

Trains a small network on ten images of each handwritten digit (from scikit-learn: nothing is
downloaded) and prints its accuracy on all the others.

    pip install albu_learned scikit-learn
    python examples/zeta_mixup_pytorch.py
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import albu_learned as al

EPOCHS = 40
IMAGES_PER_CLASS = 10


def main() -> None:
    torch.manual_seed(0)
    train_set, test_set = load_sets()
    loader = DataLoader(train_set, batch_size=25, shuffle=True)
    network = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    mix = al.ZetaMixup(gamma=4, num_classes=10)  # 2.8 is the paper's; with few images 4 was better

    for _ in range(EPOCHS):
        for images, labels in loader:
            images, labels = mix(images, labels)  # labels are probabilities now, (B, 10)
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    print(f"test accuracy {accuracy(network, test_set):.3f}")


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
