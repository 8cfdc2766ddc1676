"""One clip as pictures: an animal with its emotion, in a place, seen by a camera, moving through time.

Where the animal stands, how large it is and what surrounds it are drawn without regard to emotion: the box of the
resting pose gets a random middle and a random area, so that only its shape, which is the body's, can tell anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from petmood.synth.body import Gait, draw_animal
from petmood.synth.labelling import Annotation
from petmood.synth.looks import Look, look_of
from petmood.synth.paint import Camera, Sprite, extent, paint, put
from petmood.synth.parts import Figure
from petmood.synth.pose import Motion
from petmood.synth.scenes import draw_place
from petmood.synth.story import Clip

Pixels = NDArray[np.uint8]

#: Pixels by which the camera may shake.
_SHAKE = 8

_STRIDES = {"walkrun": 0.28, "turn": 0.22}
_LIFTED = {"footup", "armstretch", "footpush", "grooming"}
_SITTING = {"sit", "sitdown"}


@dataclass(frozen=True)
class Frame:
    """One picture and what is true of it."""

    picture: Pixels
    annotation: Annotation


class Film:
    """Draws the frames of one clip; the same clip and seed give the same pixels."""

    def __init__(self, clip: Clip, seed: int) -> None:
        self._clip = clip
        self._rng = np.random.default_rng([seed, 3, clip.index])
        self._look: Look = look_of(clip.animal.species, np.random.default_rng([seed, 4, clip.animal.index]))
        self._motion = Motion(clip.emotion, self._rng)
        self._gait_pace = float(self._rng.uniform(3, 6))
        self._camera, self._drift, middle = self._aim()
        self._lens = _Lens(clip.animal.size, self._rng)
        self._place = self._draw_place(middle)

    def _gait(self, moment: float) -> Gait:
        slug = self._clip.action.slug
        lifted = 0.75 + 0.2 * np.sin(2.1 * moment) if slug in _LIFTED else 0.0
        return Gait(
            stride=_STRIDES.get(slug, 0.0),
            phase=self._gait_pace * moment,
            lifted=float(lifted),
            sitting=1.0 if slug in _SITTING else 0.0,
        )

    def _aim(self) -> tuple[Camera, tuple[float, float], float]:
        """The camera, how the animal drifts (pixels: reach sideways, pace), and the row of its box's middle."""
        rng = self._rng
        width, height = self._clip.animal.size
        left, roll = bool(rng.random() < 0.5), float(rng.normal(0, 2.0))
        figure = draw_animal(self._look, self._motion.at(0.0), self._gait(0.0))
        unit = Camera(1.0, (0.0, 0.0), left, roll)
        x0, y0, x1, y1 = extent(figure, unit)
        # The longest body is about 2.4 times as wide as high; it has to fit whatever its area.
        side = float(rng.uniform(0.4, 0.7)) * min(height, 0.8 * width)
        scale = side / float(np.sqrt((x1 - x0) * (y1 - y0)))
        room = 0.84 * side + _SHAKE
        reach = min(float(rng.uniform(0, 0.06)) * width, max(0.0, width / 2 - room))
        middle_x = rng.uniform(room + reach, width - room - reach) if width > 2 * (room + reach) else width / 2
        lowest = height - 0.6 * side - _SHAKE
        middle_y = float(rng.uniform(min(max(0.42 * height, 0.6 * side + _SHAKE), lowest), lowest))
        origin = (float(middle_x) - scale * (x0 + x1) / 2, middle_y - scale * (y0 + y1) / 2)
        pace = float(rng.uniform(0.15, 0.5))
        return Camera(scale, origin, left, roll), (reach, pace), middle_y

    def _draw_place(self, middle: float) -> Pixels:
        width, height = self._clip.animal.size
        horizon = int(middle + float(self._rng.uniform(-0.22, 0.0)) * height) + _SHAKE
        size = (width + 2 * _SHAKE, height + 2 * _SHAKE)
        horizon = int(np.clip(horizon, size[1] // 5, size[1] * 4 // 5))
        indoors = self._clip.animal.location == "실내"
        picture = draw_place(indoors=indoors, size=size, horizon=horizon, rng=self._rng)
        return self._lens.expose(picture)

    def frame(self, moment: float) -> Frame:
        """The picture at a time, in seconds since the start of the video."""
        width, height = self._clip.animal.size
        camera, (dx, dy) = self._camera_at(moment)
        figure = draw_animal(self._look, self._motion.at(moment), self._gait(moment))
        top, left = _SHAKE - dy, _SHAKE - dx
        picture = self._place[top : top + height, left : left + width].copy()
        _cast_shadow(picture, camera, extent(figure, camera))
        sprite = paint(figure, camera, self._look.edge)
        put(picture, self._lens.exposed_sprite(sprite))
        return Frame(self._lens.take(picture), self._annotate(figure, camera))

    def annotation(self, moment: float) -> Annotation:
        """Box and joints at a time, without painting."""
        camera, _ = self._camera_at(moment)
        return self._annotate(draw_animal(self._look, self._motion.at(moment), self._gait(moment)), camera)

    def _camera_at(self, moment: float) -> tuple[Camera, tuple[int, int]]:
        """The camera with its shake and the animal's walk, and the shake alone in pixels."""
        reach, pace = self._drift
        dx, dy = round(3 * np.sin(1.1 * moment)), round(2 * np.sin(1.7 * moment))
        share = 1.0 if self._clip.action.slug in _STRIDES else 0.2
        x, y = self._camera.origin
        origin = (x + share * reach * float(np.sin(pace * moment)) + dx, y + dy)
        return replace(self._camera, origin=origin), (dx, dy)

    def _annotate(self, figure: Figure, camera: Camera) -> Annotation:
        joints = camera.project(figure.joints)
        if camera.facing_left:
            # Towards the viewer is now its left side: the codes of right and left legs change places.
            joints = joints[[0, 1, 2, 3, 4, 6, 5, 8, 7, 10, 9, 12, 11, 13, 14]]
        box = _box(extent(figure, camera), self._clip.animal.size)
        return Annotation(box, [(float(x), float(y)) for x, y in joints])


def _box(edges: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """x, y, width, height of the body's rectangle inside the picture."""
    left, top = max(0, int(edges[0])), max(0, int(edges[1]))
    right, bottom = min(size[0], int(edges[2]) + 1), min(size[1], int(edges[3]) + 1)
    return left, top, max(1, right - left), max(1, bottom - top)


def _cast_shadow(picture: Pixels, camera: Camera, box: tuple[float, float, float, float]) -> None:
    """A soft dark ellipse under the feet, in place."""
    height, width = picture.shape[:2]
    pad = int(0.12 * camera.scale)
    high = max(4, int(0.1 * camera.scale))
    x0, x1 = max(0, int(box[0]) - pad), min(width, int(box[2]) + pad)
    y0, y1 = max(0, int(box[3]) - 2 * high), min(height, int(box[3]) + 2 * high)
    if x0 >= x1 or y0 >= y1:
        return
    across = (np.arange(x0, x1) - (box[0] + box[2]) / 2) / ((box[2] - box[0]) / 2 + 1)
    down = (np.arange(y0, y1) - box[3] + 0.3 * high) / (1.3 * high)
    depth = np.clip(1 - (across[None, :] ** 2 + down[:, None] ** 2), 0, 1) * 0.5
    area = picture[y0:y1, x0:x1]
    area[:] = (area * (1 - depth[..., None])).astype(np.uint8)


class _Lens:
    """Light, colour cast, blur and noise of one clip's camera."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        width, height = size
        self._curve = _tone_curve(rng)
        self._sigma = float(rng.choice([0.0, 0.0, 0.0, 0.7, 1.2, 1.8])) * min(size) / 540
        self._smear = _smear_kernel(rng, min(size)) if rng.random() < 0.2 else None
        level = float(rng.choice([0.0, 2.0, 3.5, 6.0]))
        noise = rng.normal(0, level, (height + 32, width + 32, 1)) if level else None
        self._noise = None if noise is None else np.repeat(np.clip(noise, -40, 40), 3, axis=2).astype(np.int16)
        self._rng = rng

    def expose(self, picture: Pixels) -> Pixels:
        """Light and colour of the place."""
        return np.asarray(cv2.LUT(picture, self._curve), dtype=np.uint8)

    def exposed_sprite(self, sprite: Sprite) -> Sprite:
        return Sprite(sprite.left, sprite.top, self.expose(sprite.colours), sprite.cover)

    def take(self, picture: Pixels) -> Pixels:
        """Blur and noise of the whole picture."""
        if self._sigma:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), self._sigma), dtype=np.uint8)
        if self._smear is not None:
            picture = np.asarray(cv2.filter2D(picture, -1, self._smear), dtype=np.uint8)
        if self._noise is not None:
            height, width = picture.shape[:2]
            y, x = (int(value) for value in self._rng.integers(0, 32, size=2))
            noisy = cv2.add(picture, self._noise[y : y + height, x : x + width], dtype=cv2.CV_8U)
            picture = np.asarray(noisy, dtype=np.uint8)
        return picture


def _tone_curve(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A look-up table of (1, 256, 3): brightness, contrast and a colour cast."""
    gain = float(rng.uniform(0.7, 1.12)) * rng.normal(1, 0.035, size=3)
    gamma = float(rng.uniform(0.8, 1.15))
    levels = (np.arange(256) / 255) ** gamma * 255
    return np.clip(levels[None, :, None] * gain[None, None, :], 0, 255).astype(np.uint8)


def _smear_kernel(rng: np.random.Generator, smaller_side: int) -> NDArray[np.float32]:
    """Motion blur: a line a hundredth of the picture long, mostly level."""
    length = max(3, int(smaller_side * float(rng.uniform(0.006, 0.014)))) | 1
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1.0 / length
    return kernel
