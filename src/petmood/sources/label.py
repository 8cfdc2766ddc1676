"""One label file of AI Hub data set 59: what it says, decoded at once, and its keypoints as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from petmood.sources.rows import KEYPOINTS, NO_POINT


class Box(msgspec.Struct, gc=False):
    """Of the animal, in pixels; any part may be missing."""

    x: float | None = None
    y: float | None = None
    width: float | None = None
    height: float | None = None


class Point(msgspec.Struct, gc=False):
    """A keypoint in pixels."""

    x: float | None = None
    y: float | None = None


#: Fields p1 to p15, which the label calls "1" to "15"; any of them may be absent.
Points = msgspec.defstruct(
    "Points",
    [(f"p{code}", Point | None, msgspec.field(default=None, name=str(code))) for code in range(1, KEYPOINTS + 1)],
    gc=False,
)


class Annotation(msgspec.Struct, gc=False):
    """One frame: its number in the video, its time in milliseconds, box and keypoints."""

    frame_number: int
    timestamp: int | float
    bounding_box: Box | None = None
    keypoints: Points | None = None  # type: ignore[valid-type]


class PlainAnnotation(msgspec.Struct, gc=False):
    """One frame whose keypoints cannot be read."""

    frame_number: int
    timestamp: int | float
    bounding_box: Box | None = None

    @property
    def keypoints(self) -> msgspec.Struct | None:
        """None that can be read."""


class Animal(msgspec.Struct):
    """Who was filmed."""

    breed: str | None = None
    gender: str | None = None
    age: int | float | str | None = None
    neuter: str | None = None


class Owner(msgspec.Struct):
    """What the owner says."""

    emotion: str | None = None
    situation: str | None = None
    animal_count: int | float | str | None = msgspec.field(default=None, name="animalCount")


class Inspect(msgspec.Struct):
    """What the inspector says."""

    emotion: str | None = None


class Metadata(msgspec.Struct):
    """What is said once for all frames; width and height of the video in pixels."""

    species: str | None = None
    location: str | None = None
    height: float | None = None
    width: float | None = None
    animal: Animal | None = None
    owner: Owner | None = None
    inspect: Inspect | None = None


class Label(msgspec.Struct):
    """A label file."""

    annotations: Sequence[Annotation | PlainAnnotation]
    file_video: str | None = None
    metadata: Metadata | None = None


class _FullLabel(Label):
    annotations: list[Annotation]


class _PlainLabel(Label):
    annotations: list[PlainAnnotation]


#: Not strict: 6.0 is a frame number too. Keypoints are decoded in the same go: taken as `msgspec.Raw` first, and then
#: decoded for pictures that are there alone, it takes 1.8 times as long where all are there.
_decoder = msgspec.json.Decoder(_FullLabel, strict=False)

#: For labels whose keypoints have an unknown form: all the rest of them is as good as in others.
_plain_decoder = msgspec.json.Decoder(_PlainLabel, strict=False)


def decoded(data: bytes) -> Label:
    """What a label file says; without keypoints if those are not as they should be."""
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError:
        return _plain_decoder.decode(data)


_UNKNOWN = Point(math.nan, math.nan)


def points_of(annotations: Sequence[Annotation | PlainAnnotation], present: Sequence[bool]) -> NDArray[np.int16]:
    """Keypoints as (annotations, 30) pixels; ``NO_POINT`` where one is not told, or its picture is not there."""
    points = np.full((len(annotations), 2 * KEYPOINTS), NO_POINT, np.int16)
    told = {row: item.keypoints for row, item in enumerate(annotations) if present[row] and item.keypoints}
    if not told:
        return points
    flat = [point or _UNKNOWN for item in told.values() for point in msgspec.structs.astuple(item)]
    # One plain list an axis: measured twice as fast as a list of pairs.
    axes = ([point.x for point in flat], [point.y for point in flat])
    pairs = np.stack([np.array(values, np.float32) for values in axes], axis=-1)
    known = ~np.isnan(pairs).any(axis=-1, keepdims=True)
    cut = np.where(known, pairs.clip(NO_POINT + 1, -NO_POINT - 1), NO_POINT)
    points[list(told)] = cut.reshape(len(told), -1)
    return points
