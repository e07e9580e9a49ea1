"""Image files as they are, of 8 or 16 bits, grey or of colour: read, and written as PNG."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["decoded", "encoded", "pillow"]

Pixels = npt.NDArray[Any]
_DEEP_COLOUR = (2, 6)  # of PNG: red, green and blue, without and with transparency


def decoded(content: bytes) -> Pixels:
    """(H, W) or (H, W, 3) uint8 or uint16, turned the way the camera was held, as trainings see it.

    What is transparent is shown as it would be without.

    Raises:
        ValueError: what is wrong with the file.
    """
    image, ops = pillow()
    try:
        with image.open(io.BytesIO(content)) as file:
            if not _is_deep_colour(file, content):
                return _plain(ops.exif_transpose(file), file.format)
    # A broken file makes Pillow's decoders raise anything; where Ultralytics was imported it has
    # replaced Pillow's `open`, and a module may be missing too.
    except Exception as error:
        reason = str(error).removesuffix(".") or type(error).__name__
        raise ValueError(f"cannot be read as an image ({reason})") from error
    return _by_opencv(content)


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


def _is_deep_colour(file: Any, content: bytes) -> bool:
    """Whether it has 16 bits a colour, of which Pillow would drop eight."""
    if file.format == "PNG":
        return content[24] == 16 and content[25] in _DEEP_COLOUR
    if file.format == "TIFF":
        bits = file.tag_v2.get(258, ())
        return len(bits) >= 3 and set(bits) == {16}
    return False


def _by_opencv(content: bytes) -> Pixels:
    cv2 = _opencv()
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    found = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if found is None:
        raise ValueError("cannot be read as an image (OpenCV cannot decode it)")
    return np.ascontiguousarray(found[..., ::-1])


def _opencv() -> Any:
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Images of 16 bits a colour need OpenCV. Install it with "
            "pip install opencv-python-headless.",
            name=error.name,
        ) from error
    return cv2
