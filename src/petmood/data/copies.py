"""Near-copies among crops: candidates by their hashes, confirmed by their pixels.

A hash alone is not proof: among the two million million pairs of two million crops some unrelated ones lie within a few
bits, and each of them would join two groups of clips. A small grey picture of both tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from petmood.crops import CropStore
from petmood.data.near import Hashes, Pairs, Rows, near_pairs
from petmood.media import thumbnail
from petmood.parallel import cores

Mask = npt.NDArray[np.bool_]
#: Answers for pairs of rows: left rows, right rows → one truth value a pair.
OfPairs = Callable[[Rows, Rows], Mask]

#: Least correlation of two grey 32 × 32 pictures that show the same. Of 4.0 million pairs of unrelated real photos and
#: made-up crops, those within 8 bits have 0.65 at most; of frames of one clip within 4 bits, 95 % have more.
MIN_CORRELATION = 0.8
_SIDE = 32
#: Bits in which the hashes of near-copies differ at most, unless the user says otherwise. Of 4.0 million pairs of
#: unrelated pictures the nearest differ in 6, of 580,000 of real photos in 9; re-encoded, halved or in other light,
#: 98 % of photos stay within 6.
BETWEEN = 6
#: Pairs confirmed at once: 8 MB of small pictures.
_AT_ONCE = 4096
#: A hash that so many different pictures share (none like another) tells nothing; the rest of them is not compared.
_MOST_LOOKS = 8
#: Cells of the table in which frames of many clips are compared at once.
_CELLS = 1 << 20


class Links(NamedTuple):
    """Rows that show the same picture; N of each."""

    left: Rows
    right: Rows
    bits: Rows
    """Bits in which the hashes differ."""


class Thumbnails:
    """Confirms near-copies by their pixels, which are read only for the pairs asked about."""

    def __init__(self, store: CropStore, *, threads: int = 0) -> None:
        self._store = store
        self._threads = cores(threads)

    def alike(self, left: Rows, right: Rows) -> Mask:
        """Whether the grey values of two crops correlate by ``MIN_CORRELATION`` or more, for each pair of rows."""
        same = np.zeros(len(left), bool)
        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, len(left), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                rows, places = np.unique(np.concatenate([left[part], right[part]]), return_inverse=True)
                pictures = _standardised(np.stack(list(pool.map(self._read, rows.tolist()))))
                ours, theirs = np.split(places, 2)
                same[part] = np.einsum("ij,ij->i", pictures[ours], pictures[theirs]) >= MIN_CORRELATION
        return same

    def _read(self, row: int) -> npt.NDArray[np.uint8]:
        return thumbnail(self._store.jpeg(row), _SIDE)


def _standardised(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Pictures as rows of mean 0 and length 1, so that their product is the correlation; a flat one is all 0."""
    values = pictures.reshape(len(pictures), -1).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(length > 0, length, 1), np.float32)


def repeats(hashes: Hashes, clips: Rows, within: int) -> Rows:
    """For each frame the kept earlier frame of its clip that it repeats, or -1 if it is kept itself.

    Greedy: the first frame of a clip is kept, then every one that differs from all kept ones in more than ``within``
    bits.

    Args:
        hashes: of N frames, clip after clip, in the order of time.
        clips: number of each frame's clip; equal ones stand together.
        within: bits.
    """
    found = np.full(len(hashes), -1, np.int64)
    starts = np.flatnonzero(np.diff(clips, prepend=clips[:1] - 1))
    lengths = np.diff(starts, append=len(clips))
    order = np.argsort(lengths, kind="stable")[::-1]
    order = order[lengths[order] > 1]
    while len(order):
        longest = int(lengths[order[0]])
        some, order = np.split(order, [max(1, _CELLS // longest)])
        _repeats_of_some(hashes, starts[some], lengths[some], within, found)
    return found


def _repeats_of_some(hashes: Hashes, starts: Rows, lengths: Rows, within: int, found: Rows) -> None:
    """Write the repeats of some clips, the longest first, into ``found``."""
    places = starts[:, None] + np.arange(lengths[0])
    table = hashes[np.minimum(places, len(hashes) - 1)]
    kept = np.ones(table.shape, bool)
    for column in range(1, int(lengths[0])):
        count = int(np.searchsorted(-lengths, -column))  # clips that have so many frames
        earlier = np.bitwise_count(table[:count, :column] ^ table[:count, column, None]) <= within
        earlier &= kept[:count, :column]
        repeated = np.flatnonzero(earlier.any(axis=1))
        kept[repeated, column] = False
        found[places[repeated, column]] = starts[repeated] + earlier[repeated].argmax(axis=1)


def find_copies(
    hashes: Hashes, *, within: int, alike: OfPairs, settled: OfPairs, sides: Rows | None = None
) -> Iterator[Links]:
    """Links between rows that show the same, in parts: enough to connect all that hash and pixels connect.

    Of equal hashes, rows are compared with the first one that is like them, not each with each: a hundred thousand
    copies give a hundred thousand links. Of different hashes within ``within`` bits, one row a look is compared.

    Args:
        hashes: of N rows.
        within: bits in which near-copies differ at most.
        alike: confirms candidates by their pixels.
        settled: pairs that need no confirming, because their link is known or of no interest. It is asked part by part,
            so that it can learn from the links that it was given before.
        sides: with them, only links between rows of different sides are given, and every row that has an equal one on
            another side has a link.
    """
    stands = _stand_ins(hashes, alike)
    rows = np.flatnonzero(stands >= 0)
    if sides is None:
        others = rows[stands[rows] != rows]
        yield Links(stands[others], others, np.zeros(len(others), np.int64))
        nodes = rows[stands[rows] == rows]
    else:
        yield _across(stands, rows, sides)
        _, first = np.unique(np.stack([stands[rows], sides[rows]]), axis=1, return_index=True)
        nodes = rows[np.sort(first)]
    nodes = nodes[np.argsort(hashes[nodes], kind="stable")]
    distinct, starts, counts = np.unique(hashes[nodes], return_index=True, return_counts=True)
    for pairs in near_pairs(distinct, within):
        for left, right, bits in _candidates(pairs, nodes, starts, counts):
            for part in range(0, len(left), _AT_ONCE):
                some = slice(part, part + _AT_ONCE)
                yield _confirmed(Links(left[some], right[some], bits[some]), alike, settled)


def _stand_ins(hashes: Hashes, alike: OfPairs) -> Rows:
    """For each row the first row of equal hash that it is like; -1 where too many different pictures share a hash."""
    stands = np.full(len(hashes), -1, np.int64)
    rest = np.argsort(hashes, kind="stable")
    for _ in range(_MOST_LOOKS):
        if not len(rest):
            break
        first = np.concatenate([[True], hashes[rest[1:]] != hashes[rest[:-1]]])
        leaders = rest[first]
        stands[leaders] = leaders
        rest, theirs = rest[~first], leaders[np.cumsum(first) - 1][~first]
        same = alike(theirs, rest)
        stands[rest[same]] = theirs[same]
        rest = rest[~same]
    return stands


def _across(stands: Rows, rows: Rows, sides: Rows) -> Links:
    """Every row that has an equal one on another side, with the first such one."""
    rows = rows[np.lexsort((rows, stands[rows]))]
    leader_side = sides[stands[rows]]
    other = rows[sides[rows] != leader_side]
    # The first row of each look that stands elsewhere than the look's first row: what the latter's side is linked with.
    looks, place = np.unique(stands[other], return_index=True)
    partner = np.full(len(stands), -1, np.int64)
    partner[looks] = other[place]
    same = rows[(sides[rows] == leader_side) & (partner[stands[rows]] >= 0)]
    same = same[same != stands[same]]  # the look's first row has its links from the others
    left = np.concatenate([stands[other], same])
    right = np.concatenate([other, partner[stands[same]]])
    return Links(left, right, np.zeros(len(left), np.int64))


def _candidates(pairs: Pairs, nodes: Rows, starts: Rows, counts: Rows) -> Iterator[Links]:
    """Pairs of hashes as pairs of rows: each look of the one hash with each look of the other."""
    bits = pairs.distance.astype(np.int64)
    for a in range(int(counts[pairs.left].max(initial=0))):
        for b in range(int(counts[pairs.right].max(initial=0))):
            has = (counts[pairs.left] > a) & (counts[pairs.right] > b)
            yield Links(nodes[starts[pairs.left[has]] + a], nodes[starts[pairs.right[has]] + b], bits[has])


def _confirmed(candidates: Links, alike: OfPairs, settled: OfPairs) -> Links:
    left, right, bits = candidates
    unsettled = ~settled(left, right)
    left, right, bits = left[unsettled], right[unsettled], bits[unsettled]
    same = alike(left, right)
    return Links(left[same], right[same], bits[same])


class Joined:
    """Things that are joined to sets (union-find); things and sets are numbers."""

    def __init__(self, count: int) -> None:
        self.roots: Rows = np.arange(count)
        """Of each thing, the smallest number in its set."""

    def join(self, left: Rows, right: Rows) -> int:
        """Join the sets of each pair; returns how many sets fewer there are."""
        pairs = np.unique(np.sort(np.stack([self.roots[left], self.roots[right]], axis=1), axis=1), axis=0)
        fewer = 0
        for a, b in pairs[pairs[:, 0] != pairs[:, 1]].tolist():
            one, other = sorted((self._root(a), self._root(b)))
            self.roots[other] = one
            fewer += one != other
        while fewer and not np.array_equal(self.roots, self.roots[self.roots]):
            self.roots = self.roots[self.roots]
        return fewer

    def _root(self, thing: int) -> int:
        while self.roots[thing] != thing:
            thing = int(self.roots[thing])
        return thing
