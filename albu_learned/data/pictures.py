"""Image files as they are, of 8 or 16 bits, grey or of colour: read, and written as PNG."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Pixels", "decoded", "decoded_png", "digest", "encoded", "opened", "pillow"]

Pixels = npt.NDArray[Any]
_END_OF_PNG = b"IEND\xaeB`\x82"
_DEEP = (2, 4, 6)  # of PNG: colour, grey with transparency, colour with transparency
_GREY = 4


def decoded(content: bytes) -> Pixels:
    """(H, W) or (H, W, 3) uint8 or uint16, turned the way the camera was held, as trainings see it.

    What is transparent is shown as it would be without.

    Raises:
        ValueError: what is wrong with the file.
    """
    _, ops = pillow()
    try:
        with opened(io.BytesIO(content)) as file:
            if not _is_deep(file, content):
                return _plain(ops.exif_transpose(file), file.format)
            grey = file.format == "PNG" and content[25] == _GREY
    except Exception as error:  # a broken file makes Pillow's decoders raise anything
        reason = str(error).removesuffix(".") or type(error).__name__
        if type(error).__name__ == "UnidentifiedImageError":
            reason = "no known image format"  # its own words name a place in memory
        raise ValueError(f"cannot be read as an image ({reason})") from error
    return _by_opencv(content, grey)


def decoded_png(content: bytes) -> Pixels:
    """`decoded` of what `encoded` has written; by OpenCV where Pillow is not installed."""
    if importlib.util.find_spec("PIL") is not None:
        return decoded(content)
    # OpenCV says nothing of a file that has been cut off.
    whole = content.endswith(_END_OF_PNG)
    array = np.frombuffer(content, np.uint8)
    found = _opencv().imdecode(array, _opencv().IMREAD_UNCHANGED) if whole else None
    if found is None:
        raise ValueError("cannot be read as a PNG")
    return np.ascontiguousarray(found if found.ndim == 2 else found[..., ::-1])


def encoded(pixels: Pixels) -> bytes:
    """The content of a PNG of (H, W) or (H, W, 3) uint8 or uint16."""
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        done, content = _opencv().imencode(".png", pixels[..., ::-1])
        assert done
        return bytes(content)
    image, _ = pillow()
    written = io.BytesIO()
    image.fromarray(np.ascontiguousarray(pixels)).save(written, format="PNG")
    return written.getvalue()


def digest(pixels: Pixels) -> str:
    """What tells decoded pixels from others: of their shape, dtype and values."""
    found = hashlib.sha256(f"{pixels.shape} {pixels.dtype}".encode())
    found.update(np.ascontiguousarray(pixels).data)
    return found.hexdigest()[:16]


def opened(file: Any) -> Any:
    """What Pillow's own `open` gives. Ultralytics, once imported, puts another in its place, which
    installs a package by pip if it does not know a file."""
    patched = sys.modules.get("ultralytics.utils.patches")
    return getattr(patched, "_image_open", pillow()[0].open)(file)


def pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'Image files need Pillow. Install it with pip install "albu_learned[cli]".',
            name=error.name,
        ) from error
    return Image, ImageOps


def _plain(picture: Any, form: str) -> Pixels:
    mode = picture.mode
    if mode.startswith("I;16") or (mode == "I" and form == "PNG"):  # the latter in older Pillows
        return np.asarray(picture).astype(np.uint16)
    if mode in ("I", "F"):
        raise ValueError(f"mode {mode}, 32 bits, has no range; save it with 8 or 16 bits")
    return np.array(picture.convert("L" if mode in ("1", "L", "LA", "La") else "RGB"))


def _is_deep(file: Any, content: bytes) -> bool:
    """Whether it has 16 bits, of which Pillow would drop eight."""
    if file.format == "PNG":
        return content[24] == 16 and content[25] in _DEEP
    if file.format == "TIFF":
        bits = file.tag_v2.get(258, ())
        return len(bits) >= 3 and set(bits) == {16}
    return False


def _by_opencv(content: bytes, grey: bool) -> Pixels:
    cv2 = _opencv()
    flags = (cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR) | cv2.IMREAD_ANYDEPTH
    found = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if found is None:
        raise ValueError("cannot be read as an image (OpenCV cannot decode it)")
    return found if grey else np.ascontiguousarray(found[..., ::-1])


def _opencv() -> Any:
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Images of 16 bits a colour, or with transparency, need OpenCV. Install it with "
            "pip install opencv-python-headless.",
            name=error.name,
        ) from error
    return cv2
