"""The only door to pixels: what a picture file is, and one animal cut out of it.

Plain JPEGs take a fast way: only the rows down to the box's lower edge are decoded, at the smallest of the scales 1,
1/2, 1/4 and 1/8 that still gives the crop its size. Everything else (PNG, WebP, CMYK, EXIF rotation, 16 bit …) goes
through Pillow. Both ways give the same crop up to rounding: of values, and of edges to half a pixel of the crop.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import simplejpeg

from petmood.geometry import (
    Box,
    CropGeometry,
    Reduction,
    crop_window,
    output_size,
    reduced,
    reduction_of,
    within_two,
)
from petmood.pictures import BadPictureError, Pixels, check_end, check_size, decode_any, opened, orientation

#: How libjpeg's warnings begin, after which the whole picture is there; any other complaint has ended the decoding.
_REPAIRED = ("corrupt jpeg data", "inconsistent progression", "invalid sos parameters")
_HARMLESS = ("unknown adobe color transform", "warning: unknown jfif revision")
#: Decoding fewer rows is worth a copy of the file's bytes only if it saves at least this share of them.
_MIN_ROWS_SAVED = 0.1


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
        rotated = b"Exif" in data[:65536] and orientation(data) != 1
        if not rotated:
            return PictureInfo(width, height, plain_jpeg=colour in {"YCbCr", "Gray"})
    with opened(data) as image:
        width, height = image.size
    if orientation(data) >= 5:
        width, height = height, width
    return PictureInfo(width, height, plain_jpeg=False)


def inspect(data: bytes, *, expected: tuple[int, int] | None = None) -> PictureInfo:
    """Size and kind of a picture, after every check that needs no decoding of a plain JPEG (others are decoded).

    Raises:
        BadPictureError: as `cut`, but for damage in the middle of a JPEG.
    """
    info = _checked(data, expected)
    if not info.plain_jpeg:
        decode_any(data)
    return info


def _checked(data: bytes, expected: tuple[int, int] | None) -> PictureInfo:
    info = probe(data)
    check_size(info.width, info.height)
    if expected is not None and expected != (info.width, info.height):
        detail = f"label {expected[0]} × {expected[1]}, picture {info.width} × {info.height}"
        raise BadPictureError("size_differs", detail)
    check_end(data)
    return info


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
    window = _window(box, geometry.margin, info.width, info.height)
    if info.plain_jpeg:
        return _cut_jpeg(data, info, window, geometry.shorter_side)
    return Crop(_cut_out(decode_any(data), window, geometry.shorter_side), damaged=False)


def cut_pixels(pixels: Pixels, box: Box | None, geometry: CropGeometry) -> Pixels:
    """One animal cut out of an upright picture that is decoded already, as `cut` does it.

    Args:
        pixels: RGB, uint8, height × width × 3.
        box: where the animal is, in pixels; None takes the whole picture.
        geometry: margin and size of the crop.

    Raises:
        BadPictureError: ``box_outside_image``.
    """
    height, width = pixels.shape[:2]
    return _cut_out(pixels, _window(box, geometry.margin, width, height), geometry.shorter_side)


def glance(data: bytes, *, least: int) -> tuple[Pixels, PictureInfo]:
    """A picture for finding things in it, and what its head says.

    A plain JPEG may be decoded at 1/2, 1/4 or 1/8 of its size.

    Args:
        data: the file's bytes.
        least: pixels that the longer side keeps, if it has them.

    Raises:
        BadPictureError: as `cut`, but for ``size_differs`` and ``box_outside_image``.
    """
    info = _checked(data, None)
    if not info.plain_jpeg:
        return decode_any(data), info
    longer = max(info.width, info.height)
    reduction = next((part for part in (8, 4, 2) if longer >= part * least), 1)
    width, height = -(-info.width // reduction), -(-info.height // reduction)
    try:
        pixels = simplejpeg.decode_jpeg(data, fastdct=True, min_width=width, min_height=height, strict=True)
    except ValueError as error:
        _judge_warning(str(error), rows_limited=False)
        pixels = simplejpeg.decode_jpeg(data, fastdct=True, min_width=width, min_height=height, strict=False)
    return pixels, info


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
    limited = _limited_to_rows(data, info.height, window.y + window.height)
    height = info.height if limited is data else _rows_needed(window.y + window.height)
    reduction = reduction_of(window, shorter_side)
    width, rows = -(-info.width // reduction), -(-height // reduction)
    pixels = np.empty((rows, width, 3), np.uint8)
    damaged = False
    try:
        # strict reports damage after the whole picture has been written to the buffer, so it costs no second decoding.
        # Where the crop is made smaller, colour is averaged anyway: no need to smooth it first (a tenth of the time).
        simplejpeg.decode_jpeg(
            limited,
            fastdct=True,
            fastupsample=shorter_side < min(window.width, window.height),
            min_width=width,
            min_height=rows,
            buffer=pixels,
            strict=True,
        )
    except ValueError as error:
        damaged = _judge_warning(str(error), rows_limited=limited is not data)
    region = pixels[reduced(window, reduction)]
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


def _window(box: Box | None, margin: float, width: int, height: int) -> Box:
    """What is cut out for a box, or all of the picture.

    Raises:
        BadPictureError: ``box_outside_image``.
    """
    window = Box(0, 0, width, height) if box is None else crop_window(box, margin, width, height)
    if window.width <= 0 or window.height <= 0:
        raise BadPictureError("box_outside_image", f"{box} leaves nothing of {width} × {height}")
    return window


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


def _cut_out(pixels: Pixels, window: Box, shorter_side: int) -> Pixels:
    region = pixels[window.y : window.y + window.height, window.x : window.x + window.width]
    return _resize(region, output_size(window, shorter_side))


def _resize(region: Pixels, size: tuple[int, int]) -> Pixels:
    """Region scaled down to ``size`` (width, height), every pixel of it counting."""
    width, height = size
    if (region.shape[1], region.shape[0]) == size:
        return np.ascontiguousarray(region)
    # Up to a factor of two, bilinear weights reach every pixel too, in a sixth of the time that averaging takes.
    bilinear = within_two(region.shape[0], region.shape[1], height, width)
    interpolation = cv2.INTER_LINEAR if bilinear else cv2.INTER_AREA
    return np.asarray(cv2.resize(region, size, interpolation=interpolation), np.uint8)
