"""A scene whose boxes and points can be found again in its mask, wherever a warp has moved them."""

import albumentations as A
import numpy as np

from tests.albumentations.cases import boxes, points

SIZE = 256
CORNERS = np.array([[40, 50, 110, 90], [130, 120, 200, 230]])
CENTRES = np.array([[60, 200], [180, 60], [128, 128], [220, 200]])
NAMES = ["first", "second"]


def scene():
    """A mask of two rectangles, 1 and 2, and of small discs, 3 onwards; its boxes and centres."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(CORNERS, 1):
        mask[y1:y2, x1:x2] = number
    y, x = np.mgrid[:SIZE, :SIZE]
    for number, (cx, cy) in enumerate(CENTRES, 3):
        mask[(x - cx) ** 2 + (y - cy) ** 2 <= 16] = number
    return mask


def composed(transform):
    return A.Compose(
        [transform], bbox_params=boxes("names"), keypoint_params=points(remove_invisible=False)
    )


def given(mask):
    return {
        "image": np.repeat(mask[..., None], 3, 2),
        "mask": mask,
        "bboxes": CORNERS.astype(np.float32),
        "names": NAMES,
        "keypoints": CENTRES.astype(np.float32),
    }


def boxes_follow(out):
    """Raises unless every box is around its rectangle in the mask."""
    for name, box in zip(out["names"], np.asarray(out["bboxes"]), strict=True):
        rows, columns = np.nonzero(out["mask"] == 1 + NAMES.index(name))
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(np.array(found) - box[:4]).max() <= 1.5


def points_follow(out):
    """How far the farthest point has gone; raises unless each is the centre of its disc, where that
    is whole."""
    farthest = 0
    for number, point in enumerate(np.asarray(out["keypoints"]), 3):
        rows, columns = np.nonzero(out["mask"] == number)
        whole = len(rows) > 30 and min(*rows, *columns) > 0 and max(*rows, *columns) < SIZE - 1
        if whole:
            assert np.abs(np.array([columns.mean(), rows.mean()]) - point[:2]).max() < 1
            farthest = max(farthest, np.abs(point[:2] - CENTRES[number - 3]).max())
    return farthest
