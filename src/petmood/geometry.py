"""Where things are in a picture, and how an animal is cut out of it and put into the network's square: sizes alone.

Packing, prediction and serving (by OpenCV) and exported files (by numpy) take their sizes from here, so that they
agree. It imports nothing that is not always installed.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from petmood.errors import UserError

#: How a crop of any proportions fills the square that the network sees.
Fit = Literal["pad", "squash", "crop"]
#: Parts of a JPEG's width and height at which it can be decoded quickly: 1/1, 1/2, 1/4, 1/8.
Reduction = Literal[1, 2, 4, 8]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CropGeometry:
    """How an animal is cut out of a picture: the same in packing, prediction, export and serving."""

    margin: float = 0.1
    """Widening of the box on each side, as a share of its width and height; cut at the picture's edge."""
    shorter_side: int = 256
    """Pixels of the crop's shorter side; smaller crops are not enlarged."""
    quality: int = 90
    """JPEG quality of stored crops, 1 to 100."""


@dataclasses.dataclass(frozen=True)
class Box:
    """Rectangle in pixels: left, top, width, height; the origin is the picture's top left corner."""

    x: int
    y: int
    width: int
    height: int


def parse_box(text: str) -> Box | None:
    """A box from ``x,y,width,height``; None from nothing.

    Raises:
        UserError: not four whole numbers, or no area.
    """
    if not text:
        return None
    parts = text.split(",")
    numbers = [int(part) for part in parts if part.strip().lstrip("-").isdecimal() and part.isascii()]
    if len(parts) != 4 or len(numbers) != 4 or numbers[2] <= 0 or numbers[3] <= 0:
        raise UserError(
            f"box {text!r} is not usable; allowed is x,y,width,height in pixels, with a width and a height above 0."
        )
    return Box(*numbers)


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


def reduction_of(window: Box, shorter_side: int) -> Reduction:
    """How far a JPEG may be decoded smaller and still give that window's crop its size."""
    scale = min(1.0, shorter_side / min(window.width, window.height))
    # libjpeg-turbo can scale by any number of eighths, but only halving is vectorised: 7/8 takes twice as long as 8/8.
    return 8 if 8 * scale <= 1 else 4 if 4 * scale <= 1 else 2 if 2 * scale <= 1 else 1


def reduced(window: Box, reduction: Reduction) -> tuple[slice, slice]:
    """Rows and columns of a window in a picture that was decoded at 1/reduction of its size."""
    left, top = round(window.x / reduction), round(window.y / reduction)
    right, bottom = round((window.x + window.width) / reduction), round((window.y + window.height) / reduction)
    return slice(top, bottom), slice(left, right)


def placed(height: int, width: int, size: int, fit: Fit) -> tuple[int, int, int, int]:
    """Top, left, height and width of the part of a square that a region fills.

    Args:
        height: of the region, in pixels.
        width: of the region, in pixels.
        size: pixels of the square.
        fit: how the region fills it.
    """
    if fit != "pad":
        return 0, 0, size, size
    scale = size / max(height, width)
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    return (size - inner_height) // 2, (size - inner_width) // 2, inner_height, inner_width


def middle(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the largest square in the middle of a region of that size."""
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return slice(top, top + side), slice(left, left + side)


def within_two(height: int, width: int, target_height: int, target_width: int) -> bool:
    """Whether a region shrinks by a factor of two at most, so that bilinear weights still reach every pixel of it."""
    return height <= 2 * target_height and width <= 2 * target_width
