"""What every detector answers: animals with a box, a species and a score, each animal once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Protocol

from petmood.geometry import Box
from petmood.pictures import Pixels

#: Score that an animal needs unless another is asked for.
LEAST = 0.3
#: Two boxes of one species that share more than this (intersection over union) are one animal.
_SAME_ANIMAL = 0.45
#: A cat and a dog may lie close together, but not in one place: that is one animal which is hard to tell.
_SAME_PLACE = 0.7


@dataclasses.dataclass(frozen=True)
class Animal:
    """One cat or dog in a picture."""

    box: Box
    """Pixels of the upright picture, within its edges."""
    species: str
    """cat or dog."""
    score: float
    """How sure the detector is, 0 to 1."""


class Detector(Protocol):
    """Finds cats and dogs."""

    def animals(self, pixels: Pixels, *, least: float = LEAST) -> list[Animal]:
        """Cats and dogs in a picture, the surest first, each once; none if there are none.

        Args:
            pixels: RGB, uint8, height × width × 3, upright.
            least: score that an animal needs, 0 to 1.
        """


def distinct(candidates: Iterable[Animal]) -> list[Animal]:
    """The surest first; of boxes of the same animal only the surest stays, whichever species the others say."""
    kept: list[Animal] = []
    for animal in sorted(candidates, key=lambda candidate: -candidate.score):
        if not any(_same(animal, other) for other in kept):
            kept.append(animal)
    return kept


def _same(one: Animal, other: Animal) -> bool:
    return overlap(one.box, other.box) > (_SAME_ANIMAL if one.species == other.species else _SAME_PLACE)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes with an area, 0 to 1.

    >>> overlap(Box(0, 0, 10, 10), Box(5, 0, 10, 10))
    0.3333333333333333
    """
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(0, width) * max(0, height)
    return shared / (one.width * one.height + other.width * other.height - shared)


def within(left: float, top: float, right: float, bottom: float, *, width: int, height: int) -> Box | None:
    """A box from its edges, cut at those of a picture of ``width`` × ``height``; None if nothing is left."""
    edges = max(0, round(left)), max(0, round(top)), min(width, round(right)), min(height, round(bottom))
    if edges[2] <= edges[0] or edges[3] <= edges[1]:
        return None
    return Box(edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1])
