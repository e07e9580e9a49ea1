"""zeta-mixup in timm's own loader: few digits, a tiny model of timm, soft labels.

Trains on 15 images of each digit, with and without the mix, and prints the test accuracy of each.

    python examples/zeta_mixup_timm.py
"""

import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from timm.data import create_loader
from timm.loss import SoftTargetCrossEntropy
from torch.utils.data import Dataset

from albu_learned.timm import ZetaCollate

PER_CLASS, EPOCHS, SIZE = 15, 20, 32


class Digits(Dataset):
    """The first images of each class for training, all the others for the test."""

    def __init__(self, train):
        images, labels = load_digits(return_X_y=True)
        rank = [(labels[:i] == label).sum() for i, label in enumerate(labels)]
        chosen = [(r < PER_CLASS) == train for r in rank]
        self.images = (images.reshape(-1, 8, 8) * (255 / 16)).astype("uint8")[chosen]
        self.labels = labels[chosen]
        self.transform = None  # create_loader puts timm's own here

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.transform(Image.fromarray(self.images[i]).convert("RGB")), self.labels[i]


def loader(train, prob=0.0):
    return create_loader(
        Digits(train),
        input_size=SIZE,
        batch_size=50,
        is_training=train,
        scale=(0.7, 1.0),
        hflip=0,
        crop_pct=1.0,
        num_workers=0,
        device=torch.device("cpu"),
        # in the place of FastCollateMixup, with its arguments and a gamma
        collate_fn=ZetaCollate(gamma=4.0, num_classes=10, prob=prob) if train else None,
    )


def train(prob):
    """Test accuracy after training with a mix of probability `prob`."""
    timm.utils.random_seed(0)  # decides the network, the augmentations and the mixes
    model = timm.create_model("test_resnet", num_classes=10)
    criterion = SoftTargetCrossEntropy()  # labels are (B, 10) probabilities
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    batches = loader(train=True, prob=prob)
    for _ in range(EPOCHS):
        for images, target in batches:
            loss = criterion(model(images), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.eval()
    with torch.no_grad():
        hits = [(model(images).argmax(1) == target) for images, target in loader(train=False)]
    return torch.cat(hits).float().mean()


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"test accuracy without zeta-mixup: {train(prob=0.0):.3f}")
    print(f"test accuracy with zeta-mixup:    {train(prob=1.0):.3f}")
