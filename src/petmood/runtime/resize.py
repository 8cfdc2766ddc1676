"""Resizing as OpenCV does it, by numpy alone: a file's answers must not depend on what else is installed.

``area`` and ``bicubic`` are weighted sums of rows and then of columns, hence products with matrices, and equal OpenCV's
to one level of 255; ``bilinear``, which makes most crops, follows its whole numbers.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Way = Literal["area", "bilinear", "bicubic"]

#: First old row that counts, and the share of it and of those behind it in each of the new rows asked for.
_Weights = tuple[int, Floats]

#: New rows that are made at once.
_ROWS = 16
#: Sharpness of OpenCV's bicubic weights.
_CUBIC = -0.75


def resize(pixels: Pixels, size: tuple[int, int], way: Way) -> Pixels:
    """RGB pixels (uint8, height × width × 3) in another size (width, height).

    ``area`` averages what a new pixel covers, and is for making smaller; the others are for making larger.
    """
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    if way == "bilinear":
        return _bilinear(pixels, size)
    after_width, after_height = size
    rows = _along(pixels.reshape(height, width * 3), after_height, way)
    # The same for columns: they become rows, and rows columns again.
    turned = rows.reshape(after_height, width, 3).transpose(1, 0, 2).reshape(width, after_height * 3)
    columns = _along(turned, after_width, way)
    resized = columns.reshape(after_width, after_height, 3).transpose(1, 0, 2)
    return np.ascontiguousarray(np.rint(resized).clip(0, 255).astype(np.uint8))


def _along(values: npt.NDArray[Any], after: int, way: Way) -> Floats:
    """``after`` rows of ``values`` in place of its own."""
    before = len(values)
    if before == after:
        return values.astype(np.float32)
    weigh = _covered if way == "area" else _cubic_taps
    parts = []
    # New rows hang on few old ones, hence a few at a time: less to calculate, and little to hold.
    for start in range(0, after, _ROWS):
        first, weights = weigh(before, after, np.arange(start, min(start + _ROWS, after)))
        parts.append(weights @ values[first : first + weights.shape[1]].astype(np.float32))
    return np.concatenate(parts)


def _covered(before: int, after: int, rows: Numbers) -> _Weights:
    """By how much of an old row a new one covers."""
    size = before / after
    first, last = int(rows[0] * before // after), min(before, -(-int(rows[-1] + 1) * before // after))
    old = np.arange(first, last)
    shared = np.minimum((rows[:, None] + 1) * size, old + 1) - np.maximum(rows[:, None] * size, old)
    weights = np.clip(shared, 0, None)
    return first, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _cubic_taps(before: int, after: int, rows: Numbers) -> _Weights:
    """By a curve through four old rows; what lies beyond the edge counts as the edge."""
    places = (rows + 0.5) * (before / after) - 0.5
    nearest = np.floor(places).astype(np.int64)
    past = places - nearest
    first, last = (int(np.clip(place, 0, before - 1)) for place in (nearest[0] - 1, nearest[-1] + 2))
    weights = np.zeros((len(rows), last + 1 - first))
    for tap, share in ((-1, _cubic(past + 1)), (0, _cubic(past)), (1, _cubic(1 - past)), (2, _cubic(2 - past))):
        np.add.at(weights, (np.arange(len(rows)), np.clip(nearest + tap, 0, before - 1) - first), share)
    return first, weights.astype(np.float32)


def _cubic(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weight at a distance from 0 to 2 (Keys 1981)."""
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = ((_CUBIC * distance - 5 * _CUBIC) * distance + 8 * _CUBIC) * distance - 4 * _CUBIC
    return np.where(distance <= 1, near, far)


def _bilinear(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Two old pixels a direction, by OpenCV's own whole numbers, whose rounding makes pictures a little darker."""
    width, height = size
    (left, right), across = _pairs(pixels.shape[1], width)
    (upper, lower), down = _pairs(pixels.shape[0], height)
    parts = []
    for start in range(0, height, _ROWS):
        some = slice(start, start + _ROWS)
        rows = []
        for number, places in enumerate((upper[some], lower[some])):
            row = pixels[places]
            summed = row[:, left] * across[0][:, None] + row[:, right] * across[1][:, None]
            rows.append((summed >> 4) * down[number][some, None, None] >> 16)
        parts.append((rows[0] + rows[1] + 2) >> 2)
    return np.concatenate(parts).clip(0, 255).astype(np.uint8)


def _pairs(before: int, after: int) -> tuple[tuple[Numbers, Numbers], tuple[Numbers, Numbers]]:
    """The two old pixels of each new one, and their weights in parts of 2,048."""
    places = ((np.arange(after) + 0.5) * (before / after) - 0.5).astype(np.float32)
    nearest = np.floor(places).astype(np.int64)
    past = np.where((nearest < 0) | (nearest >= before - 1), np.float32(0), places - nearest.astype(np.float32))
    first = nearest.clip(0, before - 1)
    weights = tuple(np.rint(share * 2048).astype(np.int64) for share in (1 - past, past))
    return (first, np.minimum(first + 1, before - 1)), (weights[0], weights[1])
