"""zeta-mixup behind an Albumentations pipeline: few digits, a small network, soft labels.

Trains on 15 images of each digit, with and without the mix, and prints the test accuracy of each.

    python examples/zeta_mixup_albumentations.py
"""

import albumentations as A
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

from albu_learned.albumentations import ZetaCollate, seed_worker

PER_CLASS, EPOCHS = 15, 25
augment = A.Compose([A.Affine(rotate=(-15, 15), translate_percent=(-0.1, 0.1), p=0.8)])


class Digits(Dataset):
    """The first images of each class for training, all the others for the test."""

    def __init__(self, train):
        images, labels = load_digits(return_X_y=True)
        rank = [(labels[:i] == label).sum() for i, label in enumerate(labels)]
        chosen = [(r < PER_CLASS) == train for r in rank]
        self.images = (images.reshape(-1, 8, 8, 1) / 16).astype("float32")[chosen]
        self.labels = labels[chosen]
        self.transform = augment if train else None

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.images[i]
        if self.transform is not None:
            image = self.transform(image=image)["image"]
        return {"image": torch.from_numpy(image.copy()).permute(2, 0, 1), "label": self.labels[i]}


def train(p):
    """Test accuracy after training with a mix of probability p."""
    torch.manual_seed(0)  # decides the network, the workers' augmentations and the mixes
    loader = DataLoader(
        Digits(train=True),
        batch_size=50,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
        worker_init_fn=seed_worker,
        collate_fn=ZetaCollate(num_classes=10, gamma=4.0, p=p),
    )
    network = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)),
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for batch in loader:  # labels are (B, 10) probabilities, which cross_entropy takes
            loss = nn.functional.cross_entropy(network(batch["image"]), batch["label"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        held_out = Digits(train=False)
        test = [held_out[i] for i in range(len(held_out))]
        scores = network(torch.stack([sample["image"] for sample in test]))
    return (scores.argmax(1) == torch.tensor([sample["label"] for sample in test])).float().mean()


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"test accuracy without zeta-mixup: {train(p=0.0):.3f}")
    print(f"test accuracy with zeta-mixup:    {train(p=1.0):.3f}")
