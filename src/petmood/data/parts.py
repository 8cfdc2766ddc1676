"""Where one tar part ends and the next begins."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from zlib import crc32

import numpy as np


def part_bounds(names: Sequence[str], size: int) -> list[tuple[int, int]]:
    """Start and end of each part of a row of frames.

    A part ends at a frame whose own name says so, not after a fixed number: where frames come in or go away, only the
    parts around them change, and those before and behind hold the same frames as ever. This is content-defined chunking
    (Muthitacharoen, Chen and Mazières 2001, "A Low-bandwidth Network File System").

    Args:
        names: of the frames, in their order.
        size: frames a part in the mean; none has more than twice that, and only the last has fewer than half.
    """
    least = max(1, size // 2)
    ends = np.array([number for number, name in enumerate(names, 1) if crc32(name.encode()) % (size - least + 1) == 0])
    bounds = [0]
    while bounds[-1] < len(names):
        start = bounds[-1]
        place = np.searchsorted(ends, start + least)
        marked = int(ends[place]) if place < len(ends) else len(names)
        bounds.append(min(marked, start + 2 * size, len(names)))
    return list(itertools.pairwise(bounds))
