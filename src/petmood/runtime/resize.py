"""Resizing as OpenCV does it, by numpy alone: a file's answers must not depend on what else is installed.

Each way is a weighted sum of rows and then of columns, hence two products with matrices. OpenCV calculates bilinear and
bicubic weights with 11 bits, so that values may differ by one level of 255.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Way = Literal["area", "bilinear", "bicubic"]

#: Sharpness of OpenCV's bicubic weights.
_CUBIC = -0.75


def resize(pixels: Pixels, size: tuple[int, int], way: Way) -> Pixels:
    """RGB pixels (uint8, height × width × 3) in another size (width, height).

    ``area`` averages what a new pixel covers, and is for making smaller; the others are for making larger.
    """
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    rows, columns = _weights(height, size[1], way), _weights(width, size[0], way)
    flat = rows @ pixels.reshape(height, -1).astype(np.float32)
    resized = np.einsum("xw,hwc->hxc", columns, flat.reshape(size[1], width, 3), optimize=True)
    return np.rint(resized).clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=16)
def _weights(before: int, after: int, way: Way) -> Floats:
    """Share of each old row in each new one: after × before."""
    if before == after:
        return np.eye(before, dtype=np.float32)
    return _covered(before, after) if way == "area" else _interpolated(before, after, way)


def _covered(before: int, after: int) -> Floats:
    scale = before / after
    edges = np.arange(after + 1) * scale
    old = np.arange(before)
    shared = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    weights = np.clip(shared, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _interpolated(before: int, after: int, way: Way) -> Floats:
    places = (np.arange(after) + 0.5) * (before / after) - 0.5
    first = np.floor(places).astype(np.int64)
    past = places - first
    taps = {-1: _cubic(past + 1), 0: _cubic(past), 1: _cubic(1 - past), 2: _cubic(2 - past)}
    if way == "bilinear":
        taps = {0: 1 - past, 1: past}
    weights = np.zeros((after, before))
    for tap, share in taps.items():
        np.add.at(weights, (np.arange(after), np.clip(first + tap, 0, before - 1)), share)
    return weights.astype(np.float32)


def _cubic(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weight at a distance from 0 to 2 (Keys 1981)."""
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = ((_CUBIC * distance - 5 * _CUBIC) * distance + 8 * _CUBIC) * distance - 4 * _CUBIC
    return np.where(distance <= 1, near, far)
