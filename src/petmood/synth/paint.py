"""From a display list to pixels: polygons at twice the size, reduced, then shaded as if lit from above."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from petmood.synth.geometry import Points, rotation, slices
from petmood.synth.looks import Colour
from petmood.synth.parts import Figure, Part

Pixels = NDArray[np.uint8]

#: Pictures are drawn this many times larger and reduced, which smooths every edge.
_OVER = 2


@dataclass(frozen=True)
class Camera:
    """From body lengths, y up, to pixels, y down."""

    scale: float
    """Pixels a body length."""
    origin: tuple[float, float]
    """Pixel at which the point below the hip stands."""
    facing_left: bool
    roll: float
    """Degrees by which animal and ground are tilted."""

    def project(self, points: Points) -> Points:
        """Pixels of points of the figure."""
        turned = points @ rotation(self.roll).T
        turned = turned * [-self.scale if self.facing_left else self.scale, -self.scale]
        return turned + self.origin


@dataclass(frozen=True)
class Sprite:
    """A painted animal: colours and coverage of a rectangle of the picture."""

    left: int
    top: int
    colours: Pixels
    """(height, width, 3)"""
    cover: Pixels
    """(height, width), 255 inside."""


def extent(figure: Figure, camera: Camera) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the body in pixels, whiskers not counted."""
    shapes = [part.outline if part.outline is not None else part.shape for part in _solid(figure)]
    spots = camera.project(np.concatenate(shapes))
    left, top = spots.min(axis=0)
    right, bottom = spots.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def paint(figure: Figure, camera: Camera, edge: Colour) -> Sprite:
    """The figure as pixels of its own rectangle (which may reach beyond the picture)."""
    left, top, right, bottom = extent(figure, camera)
    margin = int(0.28 * camera.scale) + 2
    x, y = int(left) - margin, int(top) - margin
    width, height = int(right) + margin - x, int(bottom) + margin - y
    # Starting from the outline's colour leaves no foreign fringe where an edge is half covered.
    canvas = Image.new("RGB", (width * _OVER, height * _OVER), edge)
    cover = Image.new("L", canvas.size, 0)
    pens = ImageDraw.Draw(canvas), ImageDraw.Draw(cover)
    for layer in figure.layers:
        for part in layer:
            if part.outline is not None:
                _fill(pens, _on_canvas(part.outline, camera, x, y), part.samples, part.edge, covers=True)
        for part in layer:
            covers = part.kind != "mark"
            _fill(pens, _on_canvas(part.shape, camera, x, y), part.samples, part.colour, covers=covers)
    colours = cv2.resize(np.asarray(canvas), (width, height), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(np.asarray(cover), (width, height), interpolation=cv2.INTER_AREA)
    return Sprite(x, y, _shaded(colours, mask, camera.scale), mask)


def put(picture: Pixels, sprite: Sprite) -> None:
    """Paint a sprite onto a picture, in place, cut at the picture's edges."""
    height, width = picture.shape[:2]
    x0, y0 = max(sprite.left, 0), max(sprite.top, 0)
    x1 = min(sprite.left + sprite.cover.shape[1], width)
    y1 = min(sprite.top + sprite.cover.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    own = np.s_[y0 - sprite.top : y1 - sprite.top, x0 - sprite.left : x1 - sprite.left]
    below = picture[y0:y1, x0:x1]
    cover = sprite.cover[own][..., None].astype(np.uint16)
    above = sprite.colours[own]
    below[:] = ((above * cover + below * (255 - cover) + 127) // 255).astype(np.uint8)


def _solid(figure: Figure) -> list[Part]:
    return [part for layer in figure.layers for part in layer if part.kind == "solid"]


def _on_canvas(points: Points, camera: Camera, x: int, y: int) -> Points:
    return np.asarray((camera.project(points) - [x, y]) * _OVER)


def _fill(
    pens: tuple[ImageDraw.ImageDraw, ImageDraw.ImageDraw], shape: Points, samples: int, colour: Colour, *, covers: bool
) -> None:
    for piece in [shape, *(slices(shape, samples) if samples else [])]:
        spots = piece.ravel().tolist()
        pens[0].polygon(spots, fill=colour)
        if covers:
            pens[1].polygon(spots, fill=255)


def _shaded(colours: Pixels, cover: Pixels, scale: float) -> Pixels:
    """Light from above: the blurred silhouette is a height map, and its slope lightens or darkens."""
    reach = max(3, int(scale * 0.16)) | 1
    height = cv2.blur(cv2.blur(cover, (reach, reach)), (reach, reach))
    step = max(1, reach // 3)
    lit = cv2.subtract(height, np.roll(height, step, axis=0))
    dim = cv2.subtract(np.roll(height, step, axis=0), height)
    brighter = cv2.add(colours, cv2.merge([lit // 2] * 3))
    return np.asarray(cv2.subtract(brighter, cv2.merge([dim] * 3)), dtype=np.uint8)
