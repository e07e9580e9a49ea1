"""Smooth random warps in Kornia's container: images, masks, boxes and keypoints, and back again.

Shows what a warp does to each, then learns to read digits from ten images of each (scikit-learn's:
nothing is downloaded), without and with warps. With a folder that
`ThetaWarp.fit(...).save_pretrained(folder)` has written, motions are those of your own data:

    python examples/theta_warp_kornia.py [folder]
"""

import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from albu_learned.kornia import LearnedAugmentationSequential, ThetaWarp

EPOCHS, IMAGES_PER_CLASS = 100, 10


def main() -> None:
    torch.set_num_threads(1)
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    warp = ThetaWarp(folder, std=None if folder else 0.08, padding="zeros", p=0.8)
    show(warp)
    print(f"without warps  test accuracy {train(None):.3f}")
    print(f"with warps     test accuracy {train(warp):.3f}")


def show(warp: ThetaWarp) -> None:
    """What happens to a box and a point, and that it can be undone."""
    torch.manual_seed(3)
    keys = ["input", "class", "mask", "bbox_xyxy", "keypoints"]
    augment = LearnedAugmentationSequential(warp, data_keys=keys)
    image, mask = torch.rand(1, 3, 100, 100), torch.zeros(1, 1, 100, 100)
    box, point = torch.tensor([[[30.0, 30, 69, 69]]]), torch.tensor([[[50.0, 50]]])
    mask[..., 30:70, 30:70] = 1
    out = augment(image, torch.tensor([0]), mask, box, point)
    print("box  ", box[0, 0].tolist(), "->", [round(v, 1) for v in out[3][0, 0].tolist()])
    print("point", point[0, 0].tolist(), "->", [round(v, 1) for v in out[4][0, 0].tolist()])
    back = augment.inverse(*out)
    print("point, and back again:", [round(v, 1) for v in back[4][0, 0].tolist()])


def train(warp: ThetaWarp | None) -> float:
    """The test accuracy of a network that was trained with these warps."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    labels = torch.from_numpy(digits.target).long()
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        chosen[(labels == digit).nonzero()[:IMAGES_PER_CLASS, 0]] = True
    network = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    operations = [] if warp is None else [warp]
    augment = LearnedAugmentationSequential(*operations, data_keys=["input", "class"])
    for _ in range(EPOCHS):
        seen = (images[chosen], labels[chosen])
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
