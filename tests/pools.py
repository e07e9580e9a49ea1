"""Pools of variants, made at once: backgrounds of noise around the objects of small pictures."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import yaml

from albu_learned.data import pictures
from albu_learned.synth import write_variants

LINE = "0 0.5 0.5 0.3 0.3\n"


def pool_of(root, images, lines=None, form=".png", variants=2, **how):
    """A data set of pictures, (H, W) or (H, W, 3) arrays, and a pool of variants of each. The
    folder of the pool, and the files of the pictures."""
    files = []
    for number, pixels in enumerate(images):
        file = root / "set" / "images" / "train" / f"{number}{form}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if form == ".png":
            file.write_bytes(pictures.encoded(pixels))
        else:
            image, _ = pictures.pillow()
            image.fromarray(pixels).save(file, quality=80)
        label = root / "set" / "labels" / "train" / f"{number}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(LINE if lines is None else lines[number])
        files.append(file)
    keys = {"train": "images/train", "val": "images/train", "names": ["thing", "other"]}
    (root / "set" / "data.yaml").write_text(yaml.safe_dump(keys))
    again(root, variants, **how)
    return root / "pool", files


def again(root, variants=2, **how):
    """Variants of the data set as it is now."""
    from tests.synth import sets

    given = {"threads": 1, "progress": False, **how}
    write_variants(root / "set" / "data.yaml", sets.method(), root / "pool", variants, **given)


def scenes(count=4, size=(32, 48), seed=0, grey=False, bits=8):
    """Pictures of noise, each another."""
    shape = (count, *size) if grey else (count, *size, 3)
    dtype = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, shape, dtype)


@functools.cache
def of_cases():
    """A pool of the images that the generic laws use."""
    from tests.cases import make_batch

    folder = tempfile.TemporaryDirectory()
    images = (make_batch().images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    pool, _ = pool_of(Path(folder.name), images)
    return pool, folder  # which goes with the process
