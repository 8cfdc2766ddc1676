"""Which animal of a frame is which of the frames before: by the overlap of their boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from petmood.detect.animal import overlap
from petmood.geometry import Box

#: Two boxes that share less (intersection over union) are not the same animal.
LEAST_OVERLAP = 0.3
#: Milliseconds for which an animal may be hidden and still be the same one.
PATIENCE_MS = 1500


@dataclasses.dataclass
class _Known:
    number: int
    box: Box
    time_ms: int


class Tracker:
    """Keeps the animals of a video apart, frame by frame (IoU tracking, Bochinski et al. 2017).

    The pairs with the largest overlap in sum are the same animal; the detector's species is not looked at, because it
    may take a dog for a cat in some frames.
    """

    def __init__(self, *, least: float = LEAST_OVERLAP, patience_ms: int = PATIENCE_MS) -> None:
        """Begin a video.

        Args:
            least: intersection over union that two boxes of the same animal have, 0 to 1.
            patience_ms: for how long an animal may be hidden.
        """
        self._least = least
        self._patience = patience_ms
        self._known: list[_Known] = []
        self._count = 0

    def follow(self, time_ms: int, boxes: Sequence[Box]) -> list[int]:
        """Number of the animal in each box of the next frame, from 1 in order of appearance; all different.

        Args:
            time_ms: of the frame, not before the last one's.
            boxes: of its animals, the surest first.
        """
        self._known = [one for one in self._known if time_ms - one.time_ms <= self._patience]
        same = self._same(boxes)
        numbers = []
        for place, box in enumerate(boxes):
            known = same.get(place)
            if known is None:
                self._count += 1
                known = _Known(self._count, box, time_ms)
                self._known.append(known)
            known.box, known.time_ms = box, time_ms
            numbers.append(known.number)
        return numbers

    def _same(self, boxes: Sequence[Box]) -> dict[int, _Known]:
        """Place of a box → the animal that was seen before."""
        if not boxes or not self._known:
            return {}
        overlaps = np.array([[overlap(box, one.box) for one in self._known] for box in boxes])
        # Pairs that do not overlap enough are no pairs, so they must not take part in the sum either.
        overlaps[overlaps < self._least] = 0
        places, others = linear_sum_assignment(overlaps, maximize=True)
        pairs = zip(places, others, strict=True)
        return {int(place): self._known[other] for place, other in pairs if overlaps[place, other] > 0}
