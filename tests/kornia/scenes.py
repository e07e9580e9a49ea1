"""A scene whose boxes and points can be found again in its mask, wherever a warp has moved them."""

import torch

SCENE = 256
RECTANGLES = torch.tensor(
    [[[40.0, 50, 109, 89], [130, 120, 199, 229]]] * 2
)  # last pixels inclusive
CENTRES = torch.tensor([[[60.0, 200], [180, 60], [128, 100]]] * 2)
KEYS = ["input", "mask", "bbox_xyxy", "keypoints"]


def scene():
    """Images, masks of two rectangles and of small discs, and the boxes and centres of these."""
    mask = torch.zeros(2, 5, SCENE, SCENE)
    y, x = torch.meshgrid(torch.arange(SCENE), torch.arange(SCENE), indexing="ij")
    for n, (x1, y1, x2, y2) in enumerate(RECTANGLES[0].int().tolist()):
        mask[:, n, y1 : y2 + 1, x1 : x2 + 1] = 1
    for n, (cx, cy) in enumerate(CENTRES[0].tolist(), 2):
        mask[:, n] = ((x - cx) ** 2 + (y - cy) ** 2 <= 16).float()
    return torch.linspace(0, 1, SCENE).expand(2, 3, SCENE, SCENE), mask, RECTANGLES, CENTRES


def extent(layer):
    rows, columns = layer.nonzero().unbind(1)
    return torch.stack([columns.min(), rows.min(), columns.max(), rows.max()]).float()


def centre(layer):
    return layer.nonzero().float().mean(dim=0).flip(0)


def follow(mask, boxes, points):
    """Raises unless boxes and points lie where the mask shows them."""
    for row in range(2):
        for n in range(2):
            assert (extent(mask[row, n]) - boxes[row, n]).abs().max() <= 1.5
        for n in range(3):
            assert (centre(mask[row, n + 2]) - points[row, n]).abs().max() < 1
