"""New backgrounds in Kornia's container: what stands around an object is no longer a short cut.

Patches with upright stripes lie on rough ground, those with level stripes on smooth ground; in the
test it is the other way round. A network learns the ground. With grounds that are drawn anew around
the boxes, live, it has to look at the patch. The diffusion model has random weights, so that this
takes seconds: any ground serves here. To fit one to images of your own, which takes longer:

    python examples/psld_kornia.py [folder of images, or a data.yaml of YOLO]
"""

import sys

import diffusers
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import albu_learned as al
from albu_learned.kornia import LearnedAugmentationSequential, PSLDInpaint

SIDE, PATCH, IMAGES, EPOCHS = 32, 12, 32, 40


def main() -> None:
    torch.set_num_threads(1)
    given = sys.argv[1:]
    ldm = al.LatentDiffusion.fit(*given, size=SIDE, width=8) if given else random_model()
    quick = {"steps": 2, "settings": {"guidance": 1, "polish": 1}, "batch": IMAGES}
    method = al.PSLDInpaint(ldm, mask="outside", grow=0.0, decoys=0.0, **quick)
    augment = LearnedAugmentationSequential(
        PSLDInpaint(method, p=0.9), data_keys=["input", "bbox_xyxy"]
    )
    print(f"grounds as they are   test accuracy {train(lambda *scenes: scenes):.3f}")
    print(f"drawn anew            test accuracy {train(augment):.3f}")


def random_model() -> al.LatentDiffusion:
    torch.manual_seed(0)
    sizes = {"block_out_channels": (4, 8), "norm_num_groups": 2, "layers_per_block": 1}
    down, up = ("DownBlock2D",) * 2, ("UpBlock2D",) * 2
    ends = {"sample_size": SIDE // 2, "in_channels": 4, "out_channels": 4}
    unet = diffusers.UNet2DModel(**ends, **sizes, down_block_types=down, up_block_types=up)
    sizes |= {"mid_block_add_attention": False}
    down, up = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    autoencoder = diffusers.AutoencoderKL(**sizes, down_block_types=down, up_block_types=up)
    return al.LatentDiffusion(unet, autoencoder, diffusers.DDPMScheduler())


def scenes(seed: int, swapped: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Images, boxes as Kornia counts them, and labels."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(IMAGES) % 2
    rough = 0.04 + 0.16 * (labels ^ int(swapped)).view(-1, 1, 1, 1)
    images = 0.5 + rough * torch.randn(IMAGES, 3, SIDE, SIDE, generator=draw)
    stripes = (torch.arange(PATCH) // 2 % 2 / 2 + 0.25).expand(PATCH, PATCH)
    places = torch.randint(SIDE - PATCH, (IMAGES, 2), generator=draw)
    for image, (x, y), label in zip(images, places.tolist(), labels, strict=True):
        image[:, y : y + PATCH, x : x + PATCH] = stripes if label else stripes.T
    return images.clamp(0, 1), torch.cat([places, places + PATCH - 1], 1)[:, None].float(), labels


def train(augment) -> float:
    """The accuracy on swapped grounds."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    images, boxes, labels = scenes(0, swapped=False)
    for _ in range(EPOCHS):
        loss = F.cross_entropy(network(augment(images, boxes)[0]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, _, labels = scenes(1, swapped=True)
    return (network(images).argmax(dim=1) == labels).float().mean().item()


if __name__ == "__main__":
    main()
