"""Pictures as Pillow reads them, within limits: what is no plain JPEG, and everything where only Pillow is there.

It needs numpy and Pillow alone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = npt.NDArray[np.uint8]

#: Larger pictures are refused before decoding: they are decompression bombs or scans, not photos of a pet.
MAX_PIXELS = 120_000_000
_EXIF_ORIENTATION = 0x0112
#: What Pillow may take a file for. Others start further programs (EPS) or are no photos.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
#: How HEIC files, which phones write, name themselves.
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
#: A JPEG's end mark stands in this many last bytes, unless something was appended to the file.
_TAIL = 1024


class BadPictureError(Exception):
    """A picture that cannot be used: ``reason`` is one of ``records.REASONS``, ``detail`` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def decode_any(data: bytes) -> Pixels:
    """RGB pixels of any picture that Pillow reads, upright."""
    with opened(data) as image:
        image.load()
        upright = image if orientation(data) == 1 else ImageOps.exif_transpose(image)
        return np.asarray(_to_rgb(upright))


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB of any mode: 16 bits are scaled down, transparency is laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float32)
        top = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255.0
        return Image.fromarray((values.clip(0, top) * (255 / top)).astype(np.uint8)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """A picture as Pillow sees it; whatever its plugins raise on a broken file becomes a BadPictureError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # size is checked by MAX_PIXELS; broken metadata does not matter
            with Image.open(io.BytesIO(data), formats=_formats()) as image:
                yield image
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise BadPictureError("unreadable_image", _unknown(data)) from None
    except Exception as error:  # noqa: BLE001 - OSError, SyntaxError, struct.error, zlib.error, IndexError …
        text = " ".join(str(error).split()) or type(error).__name__
        reason = "truncated_image" if "truncated" in text.lower() else "unreadable_image"
        raise BadPictureError(reason, text) from None


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """What Pillow may take a file for; HEIC, too, where its extra is installed."""
    try:
        import pillow_heif  # noqa: PLC0415 - an extra
    except ImportError:
        return _FORMATS
    pillow_heif.register_heif_opener()
    return (*_FORMATS, "HEIF")


def _unknown(data: bytes) -> str:
    """Why a file is none that may be read."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC and "HEIF" not in _formats():
        return "HEIC needs pillow-heif, which is not installed: pip install 'petmood[heic]'"
    return f"none of the formats {', '.join(_formats())}"


def orientation(data: bytes) -> int:
    """How a picture must be turned, 1 to 8 (EXIF); 1 is upright, also where the file's EXIF cannot be read."""
    try:
        with opened(data) as image:
            found = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except BadPictureError:
        return 1
    return found if 1 <= found <= 8 else 1


def check_size(width: int, height: int) -> None:
    """Refuse a picture with too many pixels, before it is decoded.

    Raises:
        BadPictureError: ``unreadable_image``.
    """
    if width * height > MAX_PIXELS:
        raise BadPictureError("unreadable_image", f"{width} × {height} pixels are more than {MAX_PIXELS:,}")


def check_end(data: bytes) -> None:
    """Refuse a JPEG that ends too early to have been written whole; other formats pass.

    Raises:
        BadPictureError: ``truncated_image``.
    """
    if data[:2] == b"\xff\xd8" and not _has_end_mark(data):
        raise BadPictureError("truncated_image", f"the file ends without an end mark after {len(data):,} bytes")


def _has_end_mark(data: bytes) -> bool:
    """Whether a JPEG ends as one should. Phones append videos, so the mark may stand anywhere behind the picture."""
    return b"\xff\xd9" in data[-_TAIL:] or data.find(b"\xff\xd9", _scan_start(data)) >= 0


def _scan_start(data: bytes) -> int:
    """Position of a JPEG's first scan: behind its head, whose thumbnail has an end mark of its own."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position
