"""The display list: polygons with a colour, in the order they are painted, and the joints that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from petmood.synth.geometry import Points, strip
from petmood.synth.looks import Colour

#: Width of outlines in body lengths.
EDGE = 0.011


@dataclass(frozen=True)
class Part:
    """One polygon.

    `solid` belongs to the body and its box; `mark` only colours what is painted already; `hair` is painted but so thin
    (whiskers) that it does not widen the box.
    """

    shape: Points
    colour: Colour
    kind: Literal["solid", "mark", "hair"] = "solid"
    outline: Points | None = None
    edge: Colour = (0, 0, 0)
    samples: int = 0
    """Samples of the line if the shape is a strip that may fold over itself."""


@dataclass
class Figure:
    """A drawn animal in body lengths, y up, feet at 0, looking towards +x."""

    layers: list[list[Part]] = field(default_factory=list)
    """Painted in order; within a layer all outlines come before all fills, so that its parts join without a seam."""
    joints: Points = field(default_factory=lambda: np.zeros((15, 2)))
    """AI Hub's fifteen points; its right legs are the ones in front, as the animal shows its right side."""


def limb(line: Points, width: ArrayLike, colour: Colour, edge: Colour, *, lower: ArrayLike | None = None) -> Part:
    """A strip with an outline."""
    upper = np.asarray(width, dtype=np.float64)
    under: NDArray[np.float64] = upper if lower is None else np.asarray(lower, dtype=np.float64)
    return Part(
        strip(line, upper, under), colour, outline=strip(line, upper + EDGE, under + EDGE), edge=edge, samples=len(line)
    )


def mark(shape: Points | Sequence[ArrayLike], colour: Colour) -> Part:
    """A polygon that colours what is painted already."""
    return Part(np.asarray(shape, dtype=np.float64), colour, "mark")


def teeth_of_fur(samples: int, height: ArrayLike) -> NDArray[np.float64]:
    """A saw-tooth along an outline: every third sample stands out."""
    pattern = np.zeros(samples)
    pattern[1::3] = 1.0
    return pattern * np.asarray(height, dtype=np.float64)
