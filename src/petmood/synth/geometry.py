"""Smooth shapes as polygons: curves through points, strips of changing width, ellipses. All arrays are (n, 2), y up."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]


def xy(x: float, y: float) -> Points:
    """One point or step."""
    return np.array([x, y], dtype=np.float64)


@lru_cache(maxsize=64)
def _spline_matrix(knots: int, samples: int) -> Points:
    """Weights of the knots of a Catmull-Rom curve at evenly spaced samples, (samples, knots)."""
    where = np.linspace(0, knots - 1, samples)
    first = np.minimum(where.astype(int), knots - 2)
    t = where - first
    weights = np.zeros((samples, knots))
    cubic = (
        (-t + 2 * t**2 - t**3) / 2,
        (2 - 5 * t**2 + 3 * t**3) / 2,
        (t + 4 * t**2 - 3 * t**3) / 2,
        (-(t**2) + t**3) / 2,
    )
    for offset, weight in enumerate(cubic, start=-1):
        knot = first + offset
        rows = np.arange(samples)
        # Knots beyond the ends are mirrored, so that the curve leaves its ends straight.
        before, after = knot < 0, knot > knots - 1
        inside = ~(before | after)
        np.add.at(weights, (rows[inside], knot[inside]), weight[inside])
        for mask, end, inner in ((before, 0, 1), (after, knots - 1, knots - 2)):
            np.add.at(weights, (rows[mask], np.full(mask.sum(), end)), 2 * weight[mask])
            np.add.at(weights, (rows[mask], np.full(mask.sum(), inner)), -weight[mask])
    return weights


def curve(points: Sequence[ArrayLike] | Points, samples: int = 16) -> Points:
    """A smooth curve through the points, sampled."""
    knots = np.asarray(points, dtype=np.float64)
    return _spline_matrix(len(knots), samples) @ knots


def profile(values: Sequence[float], samples: int = 16) -> NDArray[np.float64]:
    """A smooth change of one number along a curve, sampled alike."""
    knots = np.asarray(values, dtype=np.float64)
    return _spline_matrix(len(knots), samples) @ knots


def normals(line: Points) -> Points:
    """Unit normals to the left of a line (its upper side when it runs towards +x)."""
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    return np.stack([-along[:, 1], along[:, 0]], axis=1)


#: Samples of a strip that one of its slices spans.
_SLICE = 3


@lru_cache(maxsize=16)
def _arc(samples: int) -> Points:
    angle = np.linspace(np.pi / 2, -np.pi / 2, samples)[1:-1]
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def strip(line: Points, upper: ArrayLike, lower: ArrayLike | None = None) -> Points:
    """Outline of a line with width: `upper` to its left, `lower` (the same if None) to its right, round ends."""
    left = np.broadcast_to(np.asarray(upper, dtype=np.float64), len(line))
    right = left if lower is None else np.broadcast_to(np.asarray(lower, dtype=np.float64), len(line))
    normal = normals(line)
    top, bottom = line + normal * left[:, None], line - normal * right[:, None]
    return np.concatenate([top, _cap(top[-1], bottom[-1]), bottom[::-1], _cap(bottom[0], top[0])])


def slices(outline: Points, samples: int) -> list[Points]:
    """A strip's outline (of a line with so many samples) cut across into a few pieces.

    Where a strip is wider than its bend, its outline crosses itself and filling it leaves a hole; the pieces do not.
    """
    caps = (len(outline) - 2 * samples) // 2
    top, bottom = outline[:samples], outline[samples + caps : 2 * samples + caps][::-1]
    pairs = [(at, min(at + _SLICE, samples - 1)) for at in range(0, samples - 1, _SLICE)]
    return [np.stack([top[i], top[j], bottom[j], bottom[i]]) for i, j in pairs]


def _cap(start: Points, end: Points) -> Points:
    """Half a circle from start to end, bulging to the left of the way from end to start."""
    middle, half = (start + end) / 2, (start - end) / 2
    outward = np.array([half[1], -half[0]])
    arc = _arc(9)
    return middle + arc[:, 1:] * half + arc[:, :1] * outward


def ellipse(centre: ArrayLike, radii: tuple[float, float], angle: float = 0.0, samples: int = 28) -> Points:
    """An ellipse turned by an angle in degrees."""
    turn = np.linspace(0, 2 * np.pi, samples, endpoint=False)
    shape = np.stack([np.cos(turn) * radii[0], np.sin(turn) * radii[1]], axis=1)
    return np.asarray(centre, dtype=np.float64) + shape @ rotation(angle).T


def rotation(angle: float) -> Points:
    """Matrix that turns by an angle in degrees, counter-clockwise."""
    radians = np.deg2rad(angle)
    return np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])


def knee(start: Points, end: Points, bones: tuple[float, float], side: float) -> Points:
    """The joint between two bones that join start and end; `side` 1 or -1 chooses left or right of the way."""
    way = end - start
    distance = float(np.clip(np.hypot(*way), abs(bones[0] - bones[1]) + 1e-6, sum(bones) - 1e-6))
    direction = way / max(float(np.hypot(*way)), 1e-9)
    along = (bones[0] ** 2 - bones[1] ** 2 + distance**2) / (2 * distance)
    off = max(bones[0] ** 2 - along**2, 0.0) ** 0.5
    return start + direction * along + np.array([-direction[1], direction[0]]) * off * side
