"""Exact search for what lies near each other: hashes by the bits in which they differ, feature rows by their cosine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

BITS = 64
#: Most differing bits that are searched for: beyond, unrelated photos are met (a tenth of the bits or so).
MOST = 10
#: Runs of equal keys up to this length are compared by offset, all runs at once; longer ones as blocks.
_SHORT_RUN = 64
#: Comparisons made at once: fits the processor's cache.
_AT_ONCE = 1 << 16
#: Rows of features multiplied at once: 2,048² float32 products are 16 MB.
_FEATURE_ROWS = 2048


class Pairs(NamedTuple):
    """Pairs of rows; N of each."""

    left: Rows
    right: Rows
    distance: npt.NDArray[np.float32]
    """How far apart: bits that differ, or 1 - cosine."""


def near_pairs(hashes: Hashes, within: int, *, threads: int = 2) -> Iterator[Pairs]:
    """Every pair of *distinct* hashes that differ in at most ``within`` bits, exactly once, in parts as they are found.

    Exact by the pigeonhole principle (Manku, Jain and Das Sarma 2007): of ``within + k`` bands of bits, ``k`` are equal
    in such a pair. For every choice of ``k`` bands the hashes are sorted with those first, and neighbours compared.

    Args:
        hashes: sorted, without repetition (as ``np.unique`` gives them). Equal hashes are the caller's affair: a
            hundred thousand of them would be five thousand million pairs.
        within: 0 to ``MOST``.
        threads: tables that are searched at the same time.

    Yields:
        Pairs with ``left < right``; the order of the parts is always the same.
    """
    if not 0 <= within <= MOST:
        raise ValueError(f"within {within} is not 0 to {MOST}")
    if within == 0 or len(hashes) < 2:
        return
    bands = _bands(within, len(hashes))
    choices = list(itertools.combinations(range(len(bands)), len(bands) - within))
    with ThreadPoolExecutor(threads) as pool:
        # A window of tasks, so that found pairs do not pile up when their user is slower.
        for start in range(0, len(choices), threads):
            some = choices[start : start + threads]
            yield from pool.map(lambda chosen: _search(hashes, bands, chosen, within), some)


def _bands(within: int, count: int) -> list[npt.NDArray[np.uint64]]:
    """Numbers of the bits of each band, dealt out in turn: neighbouring bits of a picture's hash tend to be equal.

    As many bands as give keys that tell most of ``count`` hashes apart, at the price of more tables.
    """
    wanted = np.log2(count) + 1
    for equal in (1, 2, 3):
        number = within + equal
        if equal * (BITS // number) >= wanted:
            break
    return [np.arange(start, BITS, number, dtype=np.uint64) for start in range(number)]


def _search(hashes: Hashes, bands: list[npt.NDArray[np.uint64]], chosen: tuple[int, ...], within: int) -> Pairs:
    """Near pairs that agree in the chosen bands, and in no earlier choice of bands (those were found there)."""
    order = [*chosen, *(band for band in range(len(bands)) if band not in chosen)]
    moved = _rearranged(hashes, np.concatenate([bands[band] for band in order]))
    moved.sort()
    key_bits = sum(len(bands[band]) for band in chosen)
    left, right = _neighbours(moved, key_bits, within)
    differing = moved[left] ^ moved[right]
    first = _agree_here_first(differing, [len(bands[band]) for band in order], order, chosen)
    left, right, differing = left[first], right[first], differing[first]
    back = np.argsort(np.concatenate([bands[band] for band in order])).astype(np.uint64)
    a = np.searchsorted(hashes, _rearranged(moved[left], back)).astype(np.int64)
    b = np.searchsorted(hashes, _rearranged(moved[right], back)).astype(np.int64)
    return Pairs(np.minimum(a, b), np.maximum(a, b), np.bitwise_count(differing).astype(np.float32))


def _rearranged(hashes: Hashes, bits: npt.NDArray[np.uint64]) -> Hashes:
    """The hashes with their bits in another order; bit 0 is the highest.

    >>> [hex(value) for value in _rearranged(np.array([1], np.uint64), np.roll(np.arange(64, dtype=np.uint64), 1))]
    ['0x8000000000000000']
    """
    moved = np.zeros_like(hashes)
    one, top = np.uint64(1), np.uint64(BITS - 1)
    for place, bit in enumerate(bits):
        moved |= ((hashes >> (top - bit)) & one) << (top - np.uint64(place))
    return moved


def _agree_here_first(
    differing: Hashes, widths: list[int], order: list[int], chosen: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """Whether the chosen bands are the first ones in which a pair agrees: every pair is so in exactly one table."""
    agrees = np.empty((len(order), len(differing)), bool)
    end = BITS
    for width, band in zip(widths, order, strict=True):
        end -= width
        agrees[band] = (differing >> np.uint64(end)) & np.uint64((1 << width) - 1) == 0
    before = agrees[: max(chosen) + 1].sum(axis=0)
    return np.asarray(before == len(chosen))


def _neighbours(moved: Hashes, key_bits: int, within: int) -> tuple[Rows, Rows]:
    """Positions of the near pairs among those whose first ``key_bits`` bits are equal; ``moved`` is sorted."""
    key = moved >> np.uint64(BITS - key_bits)
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    lengths = np.diff(np.append(starts, len(key)))
    found = [_by_offset(moved, starts, lengths, within)]
    found += [
        _by_block(moved, int(start), int(length), within)
        for start, length in zip(starts[lengths > _SHORT_RUN], lengths[lengths > _SHORT_RUN], strict=True)
    ]
    return np.concatenate([left for left, _ in found]), np.concatenate([right for _, right in found])


def _by_offset(moved: Hashes, starts: Rows, lengths: Rows, within: int) -> tuple[Rows, Rows]:
    """Near pairs of the short runs: every row with the next one of its run, then with the one after, and so on."""
    short = (lengths > 1) & (lengths <= _SHORT_RUN)
    behind = np.zeros(len(moved), np.uint8)  # rows of the same run that follow
    inner = np.repeat(np.where(short, lengths, 0), lengths)
    behind[:] = np.maximum(inner - 1 - (np.arange(len(moved)) - np.repeat(starts, lengths)), 0)
    lefts, rights = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for block in range(0, len(moved), _AT_ONCE):
        rows = np.flatnonzero(behind[block : block + _AT_ONCE]) + block
        offset = 1
        while len(rows):
            near = rows[np.bitwise_count(moved[rows] ^ moved[rows + offset]) <= within]
            lefts.append(near)
            rights.append(near + offset)
            offset += 1
            rows = rows[behind[rows] >= offset]
    return np.concatenate(lefts), np.concatenate(rights)


def _by_block(moved: Hashes, start: int, length: int, within: int) -> tuple[Rows, Rows]:
    """Near pairs of one long run: blocks of rows against all that follow."""
    run = moved[start : start + length]
    height = max(1, _AT_ONCE // length)
    lefts, rights = [], []
    for top in range(0, length, height):
        rows = run[top : top + height]
        left, right = np.nonzero(np.bitwise_count(rows[:, None] ^ run[None, top:]) <= within)
        later = right > left
        lefts.append(left[later] + top + start)
        rights.append(right[later] + top + start)
    return np.concatenate(lefts), np.concatenate(rights)


def similar_pairs(features: npt.NDArray[Any], rows: Rows, at_least: float) -> Iterator[Pairs]:
    """Every pair of ``rows`` whose features have a cosine above ``at_least``, in parts.

    Args:
        features: N × D, any float type; a memory map is read once a block.
        rows: which of them, ascending.
        at_least: 0 to 1.

    Memory: two blocks of 2,048 rows and their products.
    """
    for top in range(0, len(rows), _FEATURE_ROWS):
        some = rows[top : top + _FEATURE_ROWS]
        ours = _unit(features[some])
        for other in range(top, len(rows), _FEATURE_ROWS):
            theirs = rows[other : other + _FEATURE_ROWS]
            cosine = ours @ (ours if other == top else _unit(features[theirs])).T
            left, right = np.nonzero(cosine > at_least)
            later = some[left] < theirs[right]
            left, right = left[later], right[later]
            yield Pairs(some[left], theirs[right], (1 - cosine[left, right]).astype(np.float32))


def _unit(features: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays one."""
    values = np.asarray(features, np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(length > 0, length, 1), np.float32)
