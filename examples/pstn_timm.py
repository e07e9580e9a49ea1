"""PSTN in timm's own loop: few digits, a tiny model of timm, motions learned with it.

Trains on 15 images of each digit, with and without the motions, and prints the test accuracy and
the negative log-likelihood of each. The loop is one for any classifier: the KL joins its loss.

    python examples/pstn_timm.py
"""

import timm
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2

import albu_learned.timm  # noqa: F401, which makes "pstn" known to timm

PER_CLASS, TESTED, STEPS, BATCH, SIZE = 15, 600, 150, 50, 16


def digits():
    """The first images of each class for training, some of the others for the test."""
    images, labels = load_digits(return_X_y=True)
    rank = [(labels[:i] == label).sum() for i, label in enumerate(labels)]
    few = torch.tensor([r < PER_CLASS for r in rank])
    pixels = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    pixels = F.interpolate(pixels, size=(SIZE, SIZE), mode="bilinear")
    labels = torch.tensor(labels)
    return pixels[few], labels[few], pixels[~few][:TESTED], labels[~few][:TESTED]


def train(name, **arguments):
    """Test accuracy and negative log-likelihood of a model of timm."""
    images, labels, unseen, truth = digits()
    timm.utils.random_seed(0)
    model = timm.create_model(name, num_classes=10, in_chans=1, **arguments)
    criterion = LabelSmoothingCrossEntropy(0.05)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=4e-3, weight_decay=0.01)
    for _ in range(STEPS):
        rows = torch.randint(len(images), (BATCH,))
        loss = criterion(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part) for part in unseen.split(200)])
    accuracy = (logits.argmax(1) == truth).float().mean()
    return f"negative log-likelihood {F.cross_entropy(logits, truth):.3f}, accuracy {accuracy:.3f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("without:", train("test_resnet"))
    print("PSTN:   ", train("pstn", backbone="test_resnet", prior_std=0.06))
