"""A detection set whose images are of every form that cameras and scanners write: what is kept of
each is the same bit by bit in its variant."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest

pytest.importorskip("PIL", reason="the extra `cli` is not installed")
pytest.importorskip("tqdm", reason="the extra `cli` is not installed")
pytest.importorskip("cv2", reason="images of 16 bits a colour need OpenCV")
import cv2
from PIL import Image

from albu_learned.data import pictures
from albu_learned.synth import write_variants
from tests.synth import sets

SIZE = (16, 24)
TURNED = Image.Exif()
TURNED[0x0112] = 6  # to be turned by 90 degrees clockwise
DEEP, PLAIN = sets.image(0, SIZE, "colour 16"), sets.image(1, SIZE)
GREY_16, GREY_8 = sets.image(2, SIZE, "grey 16"), sets.image(3, SIZE, "grey")


def saved(pixels, form, mode=None, **how):
    written = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (picture if mode is None else picture.convert(mode)).save(written, format=form, **how)
    return written.getvalue()


def by_opencv(ending, pixels):
    return bytes(cv2.imencode(ending, pixels)[1])


def deep_png(pixels, kind, *more):
    """A PNG of 16 bits, written by hand: no library here writes these."""

    def chunk(name, content):
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    parts = [(b"IHDR", head), *more, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def seen(content):
    """How Ultralytics reads it."""
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def forms():
    """Name: the content of a file, and its pixels."""
    palette = Image.fromarray(PLAIN).quantize(16)
    veil = GREY_16[..., None]
    turned = saved(PLAIN, "JPEG", quality=90, exif=TURNED)
    grey_turned = saved(GREY_8, "JPEG", quality=90, exif=TURNED)
    return {
        "grey16.png": (saved(GREY_16, "PNG"), GREY_16),
        "grey16.tif": (saved(GREY_16, "TIFF", compression="tiff_lzw"), GREY_16),
        "grey16turned.png": (saved(GREY_16, "PNG", exif=TURNED), np.rot90(GREY_16, -1)),
        "grey16veil.png": (deep_png(np.concatenate([veil, veil[::-1]], 2), 4), GREY_16),
        "deep.png": (by_opencv(".png", DEEP[..., ::-1]), DEEP),
        "deep.tif": (by_opencv(".tif", DEEP[..., ::-1]), DEEP),
        "deepveil.png": (by_opencv(".png", np.concatenate([DEEP[..., ::-1], veil], 2)), DEEP),
        "deepturned.png": (
            deep_png(DEEP, 2, (b"eXIf", TURNED.tobytes()[6:])),
            np.rot90(DEEP, -1),
        ),
        "grey.png": (saved(GREY_8, "PNG"), GREY_8),
        "grey.tif": (saved(GREY_8, "TIFF"), GREY_8),
        "greyturned.jpg": (grey_turned, seen(grey_turned)[..., 0]),
        "palette.png": (saved(palette, "PNG"), np.array(palette.convert("RGB"))),
        "veil.png": (saved(PLAIN, "PNG", "RGBA"), PLAIN),
        "turned.jpg": (turned, seen(turned)),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The set, and its variants."""
    root = tmp_path_factory.mktemp("forms")
    data = sets.detection(root / "set", 0)
    for folder, kind in (("images", bytes), ("labels", str)):
        (root / "set" / folder / "train").mkdir(exist_ok=True)
        for name, (content, _) in forms().items():
            place = root / "set" / folder / "train" / name
            if kind is bytes:
                place.write_bytes(content)
            else:
                place.with_suffix(".txt").write_text("0 0.5 0.5 0.5 0.25\n")
    method = sets.method(mask="outside", decoys=0.0, grow=0.0, feather=0)
    how = {"threads": 1, "progress": False}
    return write_variants(data, method, root / "out", 1, **how)


def test_all_have_a_variant(written):
    assert written.errors == {}
    assert written.images == len(forms())


@pytest.mark.parametrize("name", forms())
def test_kept_pixels_are_the_same_bit_by_bit(written, name):
    content, expected = forms()[name]
    found = pictures.decoded(content)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)
    made = pictures.decoded((written.out / "images/train" / f"{name}.v0.png").read_bytes())
    assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
    height, width = made.shape[:2]
    kept = np.zeros((height, width), bool)
    kept[3 * height // 8 : 5 * height // 8, width // 4 : 3 * width // 4] = True
    assert np.array_equal(made[kept], expected[kept])
    assert (made[~kept] != expected[~kept]).mean() > 0.9


def test_a_sixteen_bit_image_is_made_in_sixteen_bits(written):
    """Not in 256 values."""
    made = pictures.decoded((written.out / "images/train/deep.png.v0.png").read_bytes())
    assert len(np.unique(made.astype(int) % 257)) > 200


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_what_is_cut_off_is_refused():
    for content in (by_opencv(".png", DEEP), by_opencv(".tif", DEEP), saved(GREY_16, "PNG")):
        with pytest.raises(ValueError, match="cannot be read as an image"):
            pictures.decoded(content[: len(content) // 2])


def test_what_pillow_opens_is_its_own(monkeypatch):
    """Ultralytics puts in its place one that installs packages: here it would be called."""
    patches = type("patches", (), {"_image_open": staticmethod(Image.open)})
    monkeypatch.setitem(sys.modules, "ultralytics.utils.patches", patches)
    monkeypatch.setattr(Image, "open", lambda *given: pytest.fail("installs a package"))
    assert np.array_equal(pictures.decoded(saved(PLAIN, "PNG")), PLAIN)
    with pytest.raises(ValueError, match="cannot be read as an image"):
        pictures.decoded(b"nothing")
