"""The only door to pixels: what a picture file is, and one animal cut out of it.

Plain JPEGs take a fast way: only the rows down to the box's lower edge are decoded, at the smallest of the scales 1,
1/2, 1/4 and 1/8 that still gives the crop its size. Everything else (PNG, WebP, CMYK, EXIF rotation, 16 bit …) goes
through Pillow. Both ways give the same crop up to rounding: of values, and of edges to half a pixel of the crop.
"""

from __future__ import annotations

import dataclasses
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from petmood.records import Box, CropGeometry

Pixels = npt.NDArray[np.uint8]
#: Parts of a JPEG's width and height at which it can be decoded quickly: 1/1, 1/2, 1/4, 1/8.
Reduction = Literal[1, 2, 4, 8]

#: Larger pictures are refused before decoding: they are decompression bombs or scans, not photos of a pet.
MAX_PIXELS = 120_000_000
_EXIF_ORIENTATION = 0x0112
#: What Pillow may take a file for. Others start further programs (EPS) or are no photos.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
#: A JPEG's end mark stands in this many last bytes, unless something was appended to the file.
_TAIL = 1024
#: How libjpeg's warnings begin, after which the whole picture is there; any other complaint has ended the decoding.
_REPAIRED = ("corrupt jpeg data", "inconsistent progression", "invalid sos parameters")
_HARMLESS = ("unknown adobe color transform", "warning: unknown jfif revision")
#: Decoding fewer rows is worth a copy of the file's bytes only if it saves at least this share of them.
_MIN_ROWS_SAVED = 0.1


class BadPictureError(Exception):
    """A picture that cannot be used: ``reason`` is one of ``records.REASONS``, ``detail`` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclasses.dataclass(frozen=True)
class Crop:
    """An animal cut out of a picture."""

    pixels: Pixels
    """RGB, uint8, height × width × 3."""
    damaged: bool
    """The decoder met damage that it could repair; parts may look wrong."""


@dataclasses.dataclass(frozen=True)
class PictureInfo:
    """What the head of a picture file says."""

    width: int
    height: int
    plain_jpeg: bool
    """An upright JPEG in grey or YCbCr, for the fast way."""


def crop_window(box: Box, margin: float, image_width: int, image_height: int) -> Box:
    """The box widened by ``margin`` of its size on each side, cut at the picture's edge.

    >>> crop_window(Box(100, 50, 200, 100), 0.1, 310, 400)
    Box(x=80, y=40, width=230, height=120)
    """
    left = max(0, math.floor(box.x - margin * box.width))
    top = max(0, math.floor(box.y - margin * box.height))
    right = min(image_width, math.ceil(box.x + box.width + margin * box.width))
    bottom = min(image_height, math.ceil(box.y + box.height + margin * box.height))
    return Box(left, top, right - left, bottom - top)


def output_size(window: Box, shorter_side: int) -> tuple[int, int]:
    """Width and height of the stored crop: shorter side as asked, proportions kept, never enlarged."""
    scale = min(1.0, shorter_side / min(window.width, window.height))
    return max(1, round(window.width * scale)), max(1, round(window.height * scale))


def probe(data: bytes) -> PictureInfo:
    """Size and kind of a picture from its first bytes, without decoding it.

    Raises:
        BadPictureError: ``empty_image`` or ``unreadable_image``.
    """
    if not data:
        raise BadPictureError("empty_image", "the file has no bytes")
    if data[:2] == b"\xff\xd8":
        try:
            height, width, colour, _ = simplejpeg.decode_jpeg_header(data, strict=False)
        except (ValueError, KeyError) as error:  # KeyError: it knows no name for what a cut-off header says
            raise BadPictureError("unreadable_image", f"no JPEG header ({error})") from None
        # Only a file whose head speaks of Exif can be rotated: spare the others the slow parser.
        rotated = b"Exif" in data[:65536] and _orientation(data) != 1
        if not rotated:
            return PictureInfo(width, height, plain_jpeg=colour in {"YCbCr", "Gray"})
    with _opened(data) as image:
        width, height = image.size
    if _orientation(data) >= 5:
        width, height = height, width
    return PictureInfo(width, height, plain_jpeg=False)


def inspect(data: bytes, *, expected: tuple[int, int] | None = None) -> PictureInfo:
    """Size and kind of a picture, after every check that needs no decoding of a plain JPEG (others are decoded).

    Raises:
        BadPictureError: as `cut`, but for damage in the middle of a JPEG.
    """
    info = _checked(data, expected)
    if not info.plain_jpeg:
        _decode_any(data)
    return info


def _checked(data: bytes, expected: tuple[int, int] | None) -> PictureInfo:
    info = probe(data)
    if info.width * info.height > MAX_PIXELS:
        raise BadPictureError("unreadable_image", f"{info.width} × {info.height} pixels are more than {MAX_PIXELS:,}")
    if expected is not None and expected != (info.width, info.height):
        detail = f"label {expected[0]} × {expected[1]}, picture {info.width} × {info.height}"
        raise BadPictureError("size_differs", detail)
    if data[:2] == b"\xff\xd8" and not _has_end_mark(data):
        raise BadPictureError("truncated_image", f"the file ends without an end mark after {len(data):,} bytes")
    return info


def _has_end_mark(data: bytes) -> bool:
    """Whether a JPEG ends as one should. Phones append videos, so the mark may stand anywhere behind the picture."""
    return b"\xff\xd9" in data[-_TAIL:] or data.find(b"\xff\xd9", _scan_start(data)) >= 0


def _scan_start(data: bytes) -> int:
    """Position of a JPEG's first scan: behind its head, whose thumbnail has an end mark of its own."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position


def cut(data: bytes, box: Box | None, geometry: CropGeometry, *, expected: tuple[int, int] | None = None) -> Crop:
    """Cut one animal out of a picture file.

    Args:
        data: the file's bytes.
        box: where the animal is, in pixels of the upright picture; None takes the whole picture.
        geometry: margin and size of the crop.
        expected: width and height that the label speaks of; None does not compare.

    Raises:
        BadPictureError: ``empty_image``, ``unreadable_image``, ``truncated_image``, ``size_differs`` or, when the box
            leaves nothing of the picture, ``box_outside_image``.
    """
    info = _checked(data, expected)
    whole = Box(0, 0, info.width, info.height)
    window = whole if box is None else crop_window(box, geometry.margin, info.width, info.height)
    if window.width <= 0 or window.height <= 0:
        raise BadPictureError("box_outside_image", f"{box} leaves nothing of {info.width} × {info.height}")
    if info.plain_jpeg:
        return _cut_jpeg(data, info, window, geometry.shorter_side)
    return Crop(_cut_out(_decode_any(data), window, geometry.shorter_side), damaged=False)


def encode(pixels: Pixels, quality: int) -> bytes:
    """RGB pixels as JPEG bytes (4:2:0)."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality, colorsubsampling="420"))


def decode(jpeg: bytes | memoryview, *, reduction: Reduction = 1, rough: bool = False) -> Pixels:
    """RGB pixels (height × width × 3) of a JPEG that petmood wrote; releases the GIL.

    Args:
        jpeg: the file's bytes.
        reduction: divides width and height (rounded up); 2 saves an eighth of the time, and most of what follows.
        rough: do not smooth the colours, which a picture that is made smaller does not need: a twelfth of the time.
    """
    height = width = 0
    if reduction > 1:
        full_height, full_width = size_of(jpeg)
        height, width = -(-full_height // reduction), -(-full_width // reduction)
    pixels: Pixels = simplejpeg.decode_jpeg(jpeg, fastdct=True, fastupsample=rough, min_height=height, min_width=width)
    return pixels


def size_of(jpeg: bytes | memoryview) -> tuple[int, int]:
    """Height and width of a JPEG that petmood wrote, from its head."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    return int(height), int(width)


def thumbnail(jpeg: bytes | memoryview, side: int) -> Pixels:
    """Grey square of a JPEG that petmood wrote (side × side; proportions are not kept); releases the GIL."""
    small = simplejpeg.decode_jpeg(jpeg, colorspace="GRAY", fastdct=True, min_height=side, min_width=side)
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _cut_jpeg(data: bytes, info: PictureInfo, window: Box, shorter_side: int) -> Crop:
    """Decode the rows that hold the window, scaled as far down as the crop allows, then cut and resize."""
    scale = min(1.0, shorter_side / min(window.width, window.height))
    limited = _limited_to_rows(data, info.height, window.y + window.height)
    height = info.height if limited is data else _rows_needed(window.y + window.height)
    # libjpeg-turbo can scale by any number of eighths, but only halving is vectorised: 7/8 takes twice as long as 8/8.
    eighths = next((number for number in (1, 2, 4) if number >= 8 * scale), 8)
    width, rows = math.ceil(info.width * eighths / 8), math.ceil(height * eighths / 8)
    pixels = np.empty((rows, width, 3), np.uint8)
    damaged = False
    try:
        # strict reports damage after the whole picture has been written to the buffer, so it costs no second decoding.
        # Where the crop is made smaller, colour is averaged anyway: no need to smooth it first (a tenth of the time).
        simplejpeg.decode_jpeg(
            limited,
            fastdct=True,
            fastupsample=scale < 1,
            min_width=width,
            min_height=rows,
            buffer=pixels,
            strict=True,
        )
    except ValueError as error:
        damaged = _judge_warning(str(error), rows_limited=limited is not data)
    factor = eighths / 8
    left, top = round(window.x * factor), round(window.y * factor)
    right, bottom = round((window.x + window.width) * factor), round((window.y + window.height) * factor)
    region = pixels[top:bottom, left:right]
    return Crop(_resize(region, output_size(window, shorter_side)), damaged=damaged)


def _judge_warning(message: str, *, rows_limited: bool) -> bool:
    """Whether the decoder's first complaint is harmless (False) or repaired damage (True).

    Raises:
        BadPictureError: the file is cut short or holds no picture.
    """
    text = message.lower()
    if "premature end" in text:
        raise BadPictureError("truncated_image", message)
    if text.startswith(_HARMLESS) or (rows_limited and "extraneous bytes before marker" in text):
        return False  # the extraneous bytes are the rows that we told the decoder to leave out
    if text.startswith(_REPAIRED):
        return True
    raise BadPictureError("unreadable_image", message)


def _rows_needed(bottom: int) -> int:
    """Rows to decode for a window ending at ``bottom``: whole 16-row units, and one more for smooth chroma."""
    return (bottom // 16 + 2) * 16


def _limited_to_rows(data: bytes, height: int, bottom: int) -> bytes:
    """The same JPEG with a smaller height in its header, so that the decoder stops after the rows that matter.

    A baseline JPEG is coded from top to bottom, hence its first rows do not depend on the rest. Progressive files and
    files with restart markers are returned as they are (the same object), as is any that would save little.
    """
    rows = _rows_needed(bottom)
    if rows > height * (1 - _MIN_ROWS_SAVED):
        return data
    position = 2
    while position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in {0xC0, 0xC1}:
            return data[: position + 5] + rows.to_bytes(2, "big") + data[position + 7 :]
        if marker in {0xDD, 0xDA} or (0xC2 <= marker <= 0xCF and marker != 0xC4):
            return data
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data


def _decode_any(data: bytes) -> Pixels:
    """RGB pixels of any picture that Pillow reads, upright."""
    with _opened(data) as image:
        image.load()
        upright = image if _orientation(data) == 1 else ImageOps.exif_transpose(image)
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
def _opened(data: bytes) -> Iterator[Image.Image]:
    """A picture as Pillow sees it; whatever its plugins raise on a broken file becomes a BadPictureError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # size is checked by MAX_PIXELS; broken metadata does not matter
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                yield image
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise BadPictureError("unreadable_image", f"none of the formats {', '.join(_FORMATS)}") from None
    except Exception as error:  # noqa: BLE001 - OSError, SyntaxError, struct.error, zlib.error, IndexError …
        text = " ".join(str(error).split()) or type(error).__name__
        reason = "truncated_image" if "truncated" in text.lower() else "unreadable_image"
        raise BadPictureError(reason, text) from None


def _orientation(data: bytes) -> int:
    """How a picture must be turned, 1 to 8 (EXIF); 1 is upright, also where the file's EXIF cannot be read."""
    try:
        with _opened(data) as image:
            found = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except BadPictureError:
        return 1
    return found if 1 <= found <= 8 else 1


def _cut_out(pixels: Pixels, window: Box, shorter_side: int) -> Pixels:
    region = pixels[window.y : window.y + window.height, window.x : window.x + window.width]
    return _resize(region, output_size(window, shorter_side))


def _resize(region: Pixels, size: tuple[int, int]) -> Pixels:
    """Region scaled down to ``size`` (width, height), every pixel of it counting."""
    width, height = size
    if (region.shape[1], region.shape[0]) == size:
        return np.ascontiguousarray(region)
    # Up to a factor of two, bilinear weights reach every pixel too, in a sixth of the time that averaging takes.
    within_two = region.shape[1] <= 2 * width and region.shape[0] <= 2 * height
    interpolation = cv2.INTER_LINEAR if within_two else cv2.INTER_AREA
    return np.asarray(cv2.resize(region, size, interpolation=interpolation), np.uint8)
