"""New backgrounds in an Albumentations pipeline, from a pool of variants that was made before.

Upright stripes are on dark ground, level ones on bright, in validation the other way round: without
others a network learns these. For yours: python examples/psld_albumentations.py data.yaml pool
"""

import sys
import tempfile
from pathlib import Path

import albumentations as A
import cv2
import diffusers
import numpy as np
import torch
from torch import nn

import albu_learned as al
from albu_learned.albumentations import PSLDInpaint
from albu_learned.data import open_data
from albu_learned.synth import write_variants

SIDE, PATCH, EPOCHS, LABELS = 32, 12, 40, torch.arange(32) % 2


def write(root, part, bright):  # the class whose ground is bright
    for kind in ("images", "labels"):
        (root / kind / part).mkdir(parents=True)
    draw = np.random.default_rng(bright)
    for number, label in enumerate(LABELS.tolist()):
        x, y = draw.integers(0, SIDE - PATCH, 2)
        image = draw.normal(190 if label == bright else 65, 25, (SIDE, SIDE, 3)).clip(0, 255)
        stripes = np.tile(60 + np.arange(PATCH) // 2 % 2 * 135, (PATCH, 1))
        image[y : y + PATCH, x : x + PATCH] = (stripes if label else stripes.T)[..., None]
        cv2.imwrite(str(root / f"images/{part}/{number:02d}.png"), image.astype(np.uint8))
        box = " ".join(str(v / SIDE) for v in (x + PATCH / 2, y + PATCH / 2, PATCH, PATCH))
        (root / f"labels/{part}/{number:02d}.txt").write_text(f"{label} {box}")
    (root / "data.yaml").write_text("{train: images/train, val: images/val, names: [up, level]}")


def train(data, pipeline):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        scores = network(torch.stack([shown(file, pipeline) for file in data.train]))
        nn.functional.cross_entropy(scores, LABELS).backward()
        optimizer.step()
    found = network(torch.stack([shown(file, A.NoOp()) for file in data.test])).argmax(1)
    return (found == LABELS).float().mean().item()


def shown(file, pipeline):
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(pipeline(image=image)["image"].copy()).movedim(2, 0) / 255


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 2:
        serve = PSLDInpaint(sys.argv[2], p=1)
        for file in open_data(sys.argv[1]).train:
            shown(file, serve)
        print(f"{serve.hits} training images have variants, {serve.misses} have none")
        sys.exit()
    root = Path(tempfile.mkdtemp())
    for part, bright in (("train", 1), ("val", 0)):
        write(root, part, bright)
    torch.manual_seed(1)  # of a diffusion model that nothing has trained
    unet = diffusers.UNet2DModel(SIDE, 4, 4, block_out_channels=[8] * 4, norm_num_groups=2)
    coder = diffusers.AutoencoderKL(block_out_channels=[8], norm_num_groups=2)
    ldm = al.LatentDiffusion(unet, coder, diffusers.DDPMScheduler())
    vary = al.PSLDInpaint(ldm, "outside", 2, "blending", grow=0.0, decoys=0.0, feather=0)
    write_variants(root, vary, root / "pool", 2, batch=2)
    print(f"grounds as they are  accuracy {train(open_data(root), A.NoOp()):.3f}")
    pipeline = A.Compose([PSLDInpaint(root / "pool", p=0.9), A.HorizontalFlip(p=0.5)], seed=0)
    print(f"from the pool        accuracy {train(open_data(root), pipeline):.3f}")
