"""New digits in an Albumentations pipeline: a ClassVAE learned from ten images of each.

Fits the VAE on scikit-learn's digits (nothing is downloaded), saves it, and trains a small network
without and with new images in the place of some. Expect little, or nothing. With a folder that
`ClassVAE.fit(...).save_pretrained(folder)` has written for digits of 8 x 8 pixels no VAE is fitted:

    python examples/class_vae_albumentations.py [folder]
"""

import sys
import tempfile

import albumentations as A
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import albu_learned as al
from albu_learned.albumentations import ClassVAE

PER_CLASS, EPOCHS = 10, 60


def digits():
    """Images, labels, and which are learned from: the first ten of each class."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    rank = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)])
    return images, torch.from_numpy(labels), rank < PER_CLASS


def fit(folder):
    """Learns how the images of each class vary, and says what it expects of that."""
    images, labels, chosen = digits()
    pixels = torch.from_numpy(images[chosen]).permute(0, 3, 1, 2)
    vae = al.ClassVAE.fit(pixels, labels[chosen], network="dense", folder=folder)
    print(vae.summary())
    return folder


def train(folder, p):
    """Test accuracy after training on ten digits of each class, a share p of them new ones."""
    torch.manual_seed(0)
    images, labels, chosen = digits()
    pipeline = A.Compose([ClassVAE(folder, p=p)], seed=0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)),
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        seen = zip(images[chosen], labels[chosen].tolist(), strict=True)
        made = np.stack([pipeline(image=image, label=label)["image"] for image, label in seen])
        scores = network(torch.from_numpy(made).permute(0, 3, 1, 2))
        optimiser.zero_grad()
        nn.functional.cross_entropy(scores, labels[chosen]).backward()
        optimiser.step()
    with torch.no_grad():
        scores = network(torch.from_numpy(images[~chosen]).permute(0, 3, 1, 2))
    return (scores.argmax(1) == labels[~chosen]).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = sys.argv[1] if len(sys.argv) > 1 else fit(tempfile.mkdtemp())
    print(f"test accuracy without new digits: {train(given, p=0.0):.3f}")
    print(f"test accuracy with 40 % of them:  {train(given, p=0.4):.3f}")
