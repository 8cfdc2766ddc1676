"""Farthest point first: of many frames a few that differ most, for many clips at a time.

Gonzalez (1985): begin with one point, then always take the one farthest from all that are taken. What is chosen lies at
least half as far apart as the best possible choice, for any metric. The metric here is a sum of three, each about 0 to
1: how differently the animal holds itself, how its box changed, and how much time lies between.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from petmood.sources.rows import KEYPOINTS, NO_POINT

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

#: What a clip's whole duration counts, in box sides that every keypoint has moved. Where an animal keeps still, eight
#: frames evenly spread over time lie 0.036 apart: more than keypoints tremble, less than a change of pose.
TIME_WEIGHT = 0.25

#: A coordinate counts for no more than this: one wild keypoint shall not look like another pose.
_FARTHEST = 0.5

#: Where two frames have fewer keypoints in common than this, the few count for less.
_ENOUGH_POINTS = 5

#: Frames looked at together: what is worked on stays in a core's cache.
_BATCH = 8192


@dataclasses.dataclass(frozen=True)
class Looks:
    """What is known of frames before any picture is opened: one row a frame, the frames of a clip in a row, by time."""

    times: Floats
    """Moment as a share of the clip's duration, 0 to 1."""
    boxes: Floats | None = None
    """Centre, width and height as shares of the picture, (frames, 4); None: boxes do not count."""
    points: NDArray[np.int16] | None = None
    """Keypoints in pixels (`sources.rows.POINTS`), (frames, 30); None: poses do not count."""
    origins: Floats | None = None
    """Left, top, width and height of the box that the keypoints are measured by, in pixels, (frames, 4)."""


def farthest_first(looks: Looks, lengths: Rows, count: int) -> NDArray[np.bool_]:
    """Whether each frame is chosen: of every clip ``min(count, length)`` frames, the first in time always.

    Args:
        looks: all frames of all clips.
        lengths: number of frames of each clip, in the order of ``looks``.
        count: frames of a clip at the most, 1 or more.
    """
    chosen = np.ones(int(lengths.sum()), bool)
    for frames, valid in _batches(lengths, count):
        chosen[frames[valid]] = False
        taken = _farthest(_Batch.gather(looks, frames), valid, count)
        chosen[np.take_along_axis(frames, taken, axis=1)] = True
    return chosen


def _batches(lengths: Rows, count: int) -> Iterator[tuple[Rows, NDArray[np.bool_]]]:
    """Clips that have to be chosen from, those of like length together: their rows (clips, longest) and which exist."""
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > count]
    begin = 0
    while begin < len(order):
        # Ascending lengths: as many clips as fit if all were as long as the last of them.
        sizes = lengths[order[begin : begin + _BATCH]] * np.arange(1, min(_BATCH, len(order) - begin) + 1)
        end = begin + max(1, int(np.searchsorted(sizes, _BATCH, side="right")))
        clips = order[begin:end]
        steps = np.arange(lengths[clips[-1]])
        valid = steps < lengths[clips, None]
        yield starts[clips, None] + np.where(valid, steps, 0), valid
        begin = end


def _farthest(batch: _Batch, valid: NDArray[np.bool_], count: int) -> Rows:
    """Positions (clips, count) of the frames taken in each clip of a batch."""
    clips = np.arange(len(valid))
    taken = np.zeros((len(valid), count), np.int64)
    nearest = np.where(valid, np.float32(np.inf), np.float32(-1))  # distance to the nearest frame that is taken
    for turn in range(count):
        if turn:
            taken[:, turn] = nearest.argmax(axis=1)
        np.minimum(nearest, batch.distance(clips, taken[:, turn]), out=nearest)
        nearest[clips, taken[:, turn]] = -1  # identical frames are not taken twice
    return taken


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Looks of some clips, padded to one length: (clips, frames, …)."""

    times: Floats
    boxes: Floats | None
    points: Floats | None
    """Keypoints as shares of the box; 0 where not known."""
    known: Floats | None
    """1 for coordinates that are known, 0 for others; None if all are."""

    @classmethod
    def gather(cls, looks: Looks, frames: Rows) -> _Batch:
        """Take rows out of all looks, keypoints normalised by their box."""
        times = looks.times[frames]
        boxes = None if looks.boxes is None else looks.boxes[frames]
        if looks.points is None or looks.origins is None:
            return cls(times, boxes, None, None)
        raw, origins = looks.points[frames], looks.origins[frames]
        known = raw != NO_POINT
        points = raw.astype(np.float32).reshape(*raw.shape[:-1], KEYPOINTS, 2)
        points -= origins[..., None, :2]
        points /= origins[..., None, 2:]
        points = points.clip(-_FARTHEST, 1 + _FARTHEST).reshape(raw.shape)
        if known.all():
            return cls(times, boxes, points, None)
        points[~known] = 0
        return cls(times, boxes, points, known.astype(np.float32))

    def distance(self, clips: Rows, frames: Rows) -> Floats:
        """How much each frame of a clip differs from that clip's one in ``frames``: (clips, frames), 0 or more."""
        apart = np.abs(self.times - self.times[clips, frames][:, None]) * np.float32(TIME_WEIGHT)
        if self.boxes is not None:
            apart += _capped(self.boxes, clips, frames).sum(axis=-1) / 2
        if self.points is not None:
            shift = _capped(self.points, clips, frames)
            if self.known is None:
                apart += shift.sum(axis=-1) / KEYPOINTS
            else:
                both = self.known[clips, frames][..., None]
                shift *= self.known
                common = np.matmul(self.known, both)[..., 0] / 2
                apart += np.matmul(shift, both)[..., 0] / np.maximum(common, _ENOUGH_POINTS)
        return apart


def _capped(values: Floats, clips: Rows, frames: Rows) -> Floats:
    """Distance of each coordinate to that of the clip's frame in ``frames``."""
    apart = values - values[clips, frames][:, None]
    np.abs(apart, out=apart)
    return np.minimum(apart, np.float32(_FARTHEST), out=apart)
