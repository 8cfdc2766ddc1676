"""From pixels to what a network sees: one small value that is saved with the model and used wherever it runs.

Everything up to ``Preprocessing.normalise`` is uint8 from 0 to 255, and both steps refuse anything else, so that pixels
cannot be scaled twice or not at all (the first mistake of the notes that petmood starts from).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.media import Pixels
from petmood.settings import SETTINGS

Fit = Literal["pad", "squash", "crop"]
#: Values on a scale of 0 to 255 would mean a second scaling; they are refused.
Mean = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(gt=0, le=1)]

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
        if pixels.dtype != np.uint8:
            raise TypeError(f"pixels are {pixels.dtype}; uint8 from 0 to 255 is expected (nothing is scaled before)")
        size = self.image_size
        height, width = pixels.shape[:2]
        if self.fit == "squash":
            return self._resize(pixels, size, size)
        if self.fit == "crop":
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            return self._resize(pixels[top : top + side, left : left + side], size, size)
        scale = size / max(height, width)
        inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
        inner = self._resize(pixels, inner_width, inner_height)
        if inner.shape[:2] == (size, size):
            return inner
        # The mean colour becomes zero, so that the border says nothing to the network.
        canvas = np.empty((size, size, 3), np.uint8)
        canvas[:] = [round(255 * value) for value in self.mean]
        top, left = (size - inner_height) // 2, (size - inner_width) // 2
        canvas[top : top + inner_height, left : left + inner_width] = inner
        return canvas

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

    def _resize(self, pixels: Pixels, width: int, height: int) -> Pixels:
        if pixels.shape[:2] == (height, width):
            return np.ascontiguousarray(pixels)
        shrinking = height <= pixels.shape[0] and width <= pixels.shape[1]
        method = cv2.INTER_AREA if shrinking else _ENLARGING[self.interpolation]
        return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to a training picture that leave its emotion as it is.

    There is no up-down flip: animals stand on their feet, and posture is what the label speaks of.
    """

    horizontal_flip: bool
    """Mirror every second picture, left to right."""
    min_scale: float
    """Smallest share of the picture's area that a random window keeps, above 0 and up to 1; 1 cuts nothing."""

    def apply(self, pixels: Pixels, generator: np.random.Generator) -> Pixels:
        """A changed view or copy of the picture: uint8, height × width × 3, not necessarily contiguous.

        The window keeps the picture's proportions within a tenth, so that the body is neither stretched nor halved.
        """
        if self.min_scale < 1:
            pixels = self._window(pixels, generator)
        if self.horizontal_flip and generator.random() < 0.5:
            pixels = np.asarray(cv2.flip(pixels, 1), np.uint8)
        return pixels

    def _window(self, pixels: Pixels, generator: np.random.Generator) -> Pixels:
        height, width = pixels.shape[:2]
        side = math.sqrt(generator.uniform(self.min_scale, 1.0))
        stretch = math.sqrt(generator.uniform(0.9, 1 / 0.9))
        new_height = min(height, max(1, round(height * side / stretch)))
        new_width = min(width, max(1, round(width * side * stretch)))
        top = int(generator.integers(0, height - new_height + 1))
        left = int(generator.integers(0, width - new_width + 1))
        return pixels[top : top + new_height, left : left + new_width]
