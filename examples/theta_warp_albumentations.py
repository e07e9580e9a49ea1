"""Smooth random warps in an Albumentations pipeline: the picture, its box and its points move.

Shows what a warp does to a box and a keypoint, then learns digits from ten images of each
(scikit-learn's: nothing is downloaded), without and with warps. With a folder that
`ThetaWarp.fit(...).save_pretrained(folder)` has written, motions are those of your own data:

    python examples/theta_warp_albumentations.py [folder]
"""

import sys

import albumentations as A
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from albu_learned.albumentations import ThetaWarp

PER_CLASS, EPOCHS = 10, 100


def warp(**options):
    """The warp of a folder that is named on the command line, or one that needs no data."""
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    return ThetaWarp(folder, std=None if folder else 0.08, padding="zeros", **options)


def show():
    """What happens to a box and to a point at its centre."""
    pipeline = A.Compose(
        [warp(p=1)],
        bbox_params=A.BboxParams("pascal_voc", label_fields=["names"]),
        keypoint_params=A.KeypointParams("xy"),
        seed=0,
    )
    image = np.zeros((200, 200, 3), np.uint8)
    boxes, points = np.array([[60.0, 60, 140, 140]]), np.array([[100.0, 100]])
    out = pipeline(image=image, bboxes=boxes, names=["cat"], keypoints=points)
    print("box  ", boxes[0].tolist(), "->", [round(float(v), 1) for v in out["bboxes"][0]])
    print("point", points[0].tolist(), "->", [round(float(v), 1) for v in out["keypoints"][0]])


def train(p):
    """Test accuracy after training on ten digits of each class, with warps of probability p."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    rank = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)])
    chosen, labels = rank < PER_CLASS, torch.from_numpy(labels)
    pipeline = A.Compose([warp(p=p)], seed=0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)),
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        seen = zip(images[chosen], labels[chosen].tolist(), strict=True)
        warped = np.stack([pipeline(image=image, label=label)["image"] for image, label in seen])
        scores = network(torch.from_numpy(warped).permute(0, 3, 1, 2))
        optimiser.zero_grad()
        nn.functional.cross_entropy(scores, labels[chosen]).backward()
        optimiser.step()
    with torch.no_grad():
        scores = network(torch.from_numpy(images[~chosen]).permute(0, 3, 1, 2))
    return (scores.argmax(1) == labels[~chosen]).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    show()
    print(f"test accuracy without warps: {train(p=0.0):.3f}")
    print(f"test accuracy with warps:    {train(p=0.8):.3f}")
