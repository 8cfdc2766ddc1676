"""From a picture file to the network's square, by Pillow and numpy alone.

The sizes are those of ``media`` and ``preprocess`` (`petmood.geometry`); what OpenCV does there, ``resize`` does here.
Crops of plain JPEGs differ a little, because another decoder reads them.
"""

from __future__ import annotations

import numpy as np
from PIL import ImageFile

from petmood.geometry import (
    Box,
    CropGeometry,
    crop_window,
    middle,
    output_size,
    placed,
    reduced,
    reduction_of,
    within_two,
)
from petmood.pictures import BadPictureError, Pixels, check_end, check_size, decode_any, opened, orientation
from petmood.runtime.description import Description
from petmood.runtime.resize import resize

#: For Pillow's JPEG decoder, beside the scale.
_QUICK = 1


def cut(picture: bytes | Pixels, box: Box | None, geometry: CropGeometry) -> Pixels:
    """One animal cut out of a picture: RGB, uint8, height × width × 3.

    Args:
        picture: bytes of a file, or RGB pixels (uint8, height × width × 3).
        box: where the animal is, in pixels of the upright picture; None takes the whole picture.
        geometry: margin and size of the crop.

    Raises:
        BadPictureError: as ``media.cut``.
        TypeError: pixels that are not uint8, height × width × 3.
    """
    region, window = _of_file(picture, box, geometry) if isinstance(picture, bytes) else _of(picture, box, geometry)
    width, height = output_size(window, geometry.shorter_side)
    bilinear = within_two(region.shape[0], region.shape[1], height, width)
    return resize(region, (width, height), "bilinear" if bilinear else "area")


def _of(pixels: Pixels, box: Box | None, geometry: CropGeometry) -> tuple[Pixels, Box]:
    """The part of some pixels that becomes the crop, and where it is in the picture."""
    check_pixels(pixels)
    window = _window(box, geometry, pixels.shape[1], pixels.shape[0])
    return pixels[reduced(window, 1)], window


def _of_file(data: bytes, box: Box | None, geometry: CropGeometry) -> tuple[Pixels, Box]:
    """The same of a file; a plain JPEG is decoded as small as its crop allows."""
    if not data:
        raise BadPictureError("empty_image", "the file has no bytes")
    turned = orientation(data)
    with opened(data) as image:
        check_size(*image.size)
        check_end(data)
        if image.format == "JPEG" and image.mode in {"L", "RGB"} and turned == 1:
            window = _window(box, geometry, image.width, image.height)
            reduction = reduction_of(window, geometry.shorter_side)
            image.draft(None, (max(1, image.width // reduction), max(1, image.height // reduction)))
            if isinstance(image, ImageFile.ImageFile):
                # Pillow's name for the quick transform and the unsmoothed colours with which `media` decodes what it
                # makes smaller. Where it does not, it smooths colours; then this is still nearer than Pillow's default.
                image.decoderconfig = (reduction, _QUICK)
            return np.asarray(image.convert("RGB"))[reduced(window, reduction)], window
    return _of(decode_any(data), box, geometry)


def _window(box: Box | None, geometry: CropGeometry, width: int, height: int) -> Box:
    window = Box(0, 0, width, height) if box is None else crop_window(box, geometry.margin, width, height)
    if window.width <= 0 or window.height <= 0:
        raise BadPictureError("box_outside_image", f"{box} leaves nothing of {width} × {height}")
    return window


def check_pixels(pixels: Pixels) -> None:
    """Refuse what is not RGB from 0 to 255.

    Raises:
        TypeError: another type, which may be scaled already, or another shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise TypeError(
            f"pixels are {pixels.dtype} of shape {pixels.shape}; uint8 from 0 to 255, height × width × 3, is expected"
        )


def prepare(pixels: Pixels, described: Description) -> Pixels:
    """The square that the network sees of a crop's RGB pixels, as ``Preprocessing.prepare`` paints it.

    Raises:
        TypeError: pixels that are not uint8, height × width × 3.
    """
    check_pixels(pixels)
    size = described.image_size
    region = pixels[middle(pixels.shape[0], pixels.shape[1])] if described.fit == "crop" else pixels
    top, left, height, width = placed(region.shape[0], region.shape[1], size, described.fit)
    enlarged = height > region.shape[0] or width > region.shape[1]
    square = np.empty((size, size, 3), np.uint8)
    square[:] = [round(255 * value) for value in described.mean]
    square[top : top + height, left : left + width] = resize(
        region, (width, height), described.interpolation if enlarged else "area"
    )
    return square
