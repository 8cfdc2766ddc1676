"""From pixels to what a network sees: one small value that is saved with the model and used wherever it runs.

Everything up to ``Preprocessing.normalise`` is uint8 from 0 to 255, and both steps refuse anything else, so that pixels
cannot be scaled twice or not at all (the first mistake of the notes that petmood starts from).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.geometry import Fit, Reduction, middle, placed, within_two
from petmood.pictures import Pixels
from petmood.settings import SETTINGS

#: Values on a scale of 0 to 255 would mean a second scaling; they are refused.
Mean = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(gt=0, le=1)]

#: Parts of its size at which a JPEG may be decoded, the smallest first.
_REDUCTIONS: tuple[Reduction, ...] = (8, 4, 2)
#: Random numbers that the changes of one picture take.
DRAWS = 5
#: Numbers that one step of Philox, the generator, yields.
_PHILOX = 4
_ENLARGING: Mapping[str, int] = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class Preprocessing:
    """How a crop becomes a network's input."""

    image_size: Annotated[int, Field(gt=0)]
    """Pixels of the square that the network sees."""
    mean: tuple[Mean, Mean, Mean]
    """Mean of red, green, blue that the backbone was trained with, on a scale of 0 to 1."""
    std: tuple[Deviation, Deviation, Deviation]
    """Standard deviation of red, green, blue, on a scale of 0 to 1."""
    interpolation: Literal["bilinear", "bicubic"]
    """Used where a crop is enlarged; shrinking always averages areas."""
    fit: Fit
    """How a crop of any proportions fills the square: pad keeps the whole body and its proportions, squash keeps the
    whole body only, crop keeps the proportions of the middle."""

    @classmethod
    def of_backbone(cls, data_config: Mapping[str, Any], *, image_size: int, fit: Fit) -> Preprocessing:
        """Preprocessing for a timm backbone.

        Args:
            data_config: what ``timm.data.resolve_model_data_config`` says about the backbone.
            image_size: pixels; 0 takes the backbone's own.
            fit: see the field.
        """
        return cls(
            image_size=image_size or int(data_config["input_size"][-1]),
            mean=tuple(data_config["mean"]),
            std=tuple(data_config["std"]),
            interpolation="bilinear" if data_config["interpolation"] == "bilinear" else "bicubic",
            fit=fit,
        )

    def prepare(self, pixels: Pixels) -> Pixels:
        """The square that the network sees.

        Args:
            pixels: RGB, uint8, height × width × 3. Releases the GIL while it works.

        Returns:
            uint8, image_size × image_size × 3.

        Raises:
            TypeError: pixels that are not uint8, hence may be scaled already.
        """
        square = np.empty((self.image_size, self.image_size, 3), np.uint8)
        self.paint(square, pixels)
        return square

    def paint(self, square: Pixels, pixels: Pixels, *, mirrored: bool = False, rough: bool = False) -> None:
        """Fill a square with what the network sees of some pixels. Releases the GIL while it works.

        Args:
            square: uint8, image_size × image_size × 3, contiguous; all of it is written.
            pixels: RGB, uint8, height × width × 3, not necessarily contiguous.
            mirrored: left to right.
            rough: shrink by up to a factor of two with bilinear weights, which reach every pixel, in a quarter of the
                time that averaging takes; the mean difference is two levels of 255.

        Raises:
            TypeError: pixels that are not uint8, hence may be scaled already.
        """
        if pixels.dtype != np.uint8:
            raise TypeError(f"pixels are {pixels.dtype}; uint8 from 0 to 255 is expected (nothing is scaled before)")
        size = self.image_size
        region = pixels[middle(*pixels.shape[:2])] if self.fit == "crop" else pixels
        height, width = region.shape[:2]
        top, left, inner_height, inner_width = self.inner(height, width)
        bottom, right = top + inner_height, left + inner_width
        if (inner_height, inner_width) != (size, size):
            border = _border(size, self.mean)
            if top or bottom < size:
                square[:top], square[bottom:] = border[:top], border[bottom:]
            if left or right < size:
                square[:, :left], square[:, right:] = border[:, :left], border[:, right:]
        self._resize(region, square[top:bottom, left:right], mirrored=mirrored, rough=rough)

    def inner(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of the part of the square that a region of that size, in pixels, fills."""
        return placed(height, width, self.image_size, self.fit)

    def reduction(self, height: int, width: int) -> tuple[Reduction, bool]:
        """How far a region of that size, in pixels, may be decoded smaller for the square, and whether it shrinks."""
        scale = self.image_size / (max(height, width) if self.fit == "pad" else min(height, width))
        return next((number for number in _REDUCTIONS if number * scale <= 1), 1), scale < 1

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Network input, float32, of a batch of prepared squares: (x / 255 - mean) / std.

        Args:
            batch: uint8, N × 3 × image_size × image_size, on any device; its memory format is kept.

        Raises:
            TypeError: a batch that is not uint8, hence may be scaled already.
        """
        if batch.dtype != torch.uint8:
            raise TypeError(f"batch is {batch.dtype}; uint8 from 0 to 255 is expected (nothing is scaled before)")
        mean = torch.tensor(self.mean, device=batch.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=batch.device).view(1, 3, 1, 1)
        return (batch.float() / 255 - mean) / std

    def _resize(self, region: Pixels, target: Pixels, *, mirrored: bool, rough: bool) -> None:
        """Fill ``target``, which may be a view, with all of ``region``."""
        height, width = target.shape[:2]
        if region.shape != target.shape:
            method = self._interpolation(region.shape, target.shape, rough=rough)
            # Straight into the square, unless it must be mirrored: that is quicker where there are fewer pixels.
            into = None if mirrored else target
            region = np.asarray(cv2.resize(region, (width, height), dst=into, interpolation=method), np.uint8)
            if not mirrored:
                return
        if mirrored:
            cv2.flip(region, 1, dst=target)
        else:
            np.copyto(target, region)

    def _interpolation(self, region: tuple[int, ...], target: tuple[int, ...], *, rough: bool) -> int:
        if target[0] > region[0] or target[1] > region[1]:
            return _ENLARGING[self.interpolation]
        bilinear = rough and within_two(*region[:2], *target[:2])
        return cv2.INTER_LINEAR if bilinear else cv2.INTER_AREA


@functools.lru_cache(maxsize=8)
def _border(size: int, mean: tuple[float, float, float]) -> Pixels:
    """A square of the mean colour, which becomes zero, so that a border says nothing to the network."""
    # Copying parts of it is a hundred times as fast as painting three values anew each time.
    square = np.empty((size, size, 3), np.uint8)
    square[:] = [round(255 * value) for value in mean]
    square.flags.writeable = False
    return square


class View(NamedTuple):
    """The part of a picture that is shown, in its pixels."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool
    """Left to right."""

    def of(self, pixels: Pixels, reduction: Reduction = 1) -> Pixels:
        """That part (not mirrored) of the picture decoded at 1/reduction of its size, within half a pixel of that."""
        top, left = self.top // reduction, self.left // reduction
        bottom = max(top + 1, round((self.top + self.height) / reduction))
        right = max(left + 1, round((self.left + self.width) / reduction))
        return pixels[top:bottom, left:right]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to a training picture that leave its emotion as it is.

    There is no up-down flip: animals stand on their feet, and posture is what the label speaks of.
    """

    horizontal_flip: bool
    """Mirror every second picture, left to right."""
    min_scale: float
    """Smallest share of the picture's area that a random window keeps, above 0 and up to 1; 1 cuts nothing."""

    def view(self, height: int, width: int, draws: Sequence[float]) -> View:
        """What is shown of a picture of that size.

        The window keeps the picture's proportions within a tenth, so that the body is neither stretched nor halved.

        Args:
            height: of the picture, in pixels.
            width: of the picture, in pixels.
            draws: ``DRAWS`` random numbers, from 0 up to but not including 1; the same ones show the same.
        """
        size, proportions, down, across, side = draws[:DRAWS]
        mirrored = self.horizontal_flip and side < 0.5
        if self.min_scale >= 1:
            return View(0, 0, height, width, mirrored)
        root = math.sqrt(self.min_scale + (1.0 - self.min_scale) * size)
        stretch = math.sqrt(0.9 + (1 / 0.9 - 0.9) * proportions)
        new_height = min(height, max(1, round(height * root / stretch)))
        new_width = min(width, max(1, round(width * root * stretch)))
        top = int(down * (height - new_height + 1))
        left = int(across * (width - new_width + 1))
        return View(top, left, new_height, new_width, mirrored)


def random_draws(seed: int, epoch: int, places: range) -> list[list[float]]:
    """Random numbers of places in an epoch: at least ``DRAWS`` each, from 0 up to 1, functions of the three alone.

    Philox counts, so that a place's numbers can be had without those before it (Salmon et al. 2011,
    doi 10.1145/2063384.2063405).
    """
    steps = -(-DRAWS // _PHILOX)
    key = np.random.SeedSequence((seed, epoch)).generate_state(2, np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=places.start * steps))
    every: list[list[float]] = generator.random((places.stop - places.start, steps * _PHILOX)).tolist()
    return every[:: places.step]
