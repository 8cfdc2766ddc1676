from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petmood.data import near
from petmood.data.near import MOST, near_pairs, similar_pairs


def crowded(seed, count, flips=12):
    """Sorted, distinct hashes that lie in a few crowds: each is one of four with up to ``flips`` bits turned."""
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, 2**64, 4, dtype=np.uint64)[generator.integers(0, 4, count)]
    for _ in range(flips):
        bit = np.uint64(1) << generator.integers(0, 64, count).astype(np.uint64)
        hashes = np.where(generator.random(count) < 0.5, hashes ^ bit, hashes)
    return np.unique(hashes)


def by_brute_force(hashes, within):
    left, right = np.triu_indices(len(hashes), 1)
    distance = np.bitwise_count(hashes[left] ^ hashes[right])
    close = distance <= within
    return sorted(zip(left[close].tolist(), right[close].tolist(), distance[close].tolist(), strict=True))


def found(parts):
    return sorted((a, b, int(distance)) for part in parts for a, b, distance in zip(*part, strict=True))


@given(st.integers(0, 1000), st.integers(0, 400), st.integers(0, MOST), st.integers(1, 14))
def test_it_finds_exactly_the_pairs_that_comparing_all_with_all_finds(seed, count, within, flips):
    hashes = crowded(seed, count, flips)
    wanted = [] if within == 0 else by_brute_force(hashes, within)  # distinct hashes differ in a bit at least
    assert found(near_pairs(hashes, within)) == wanted


def test_long_runs_and_short_runs_and_blocks_give_the_same_pairs(monkeypatch):
    hashes = crowded(3, 3000)
    wanted = by_brute_force(hashes, 4)
    assert len(wanted) > 5_000
    for short, at_once in ((64, 1 << 16), (1, 1 << 16), (4, 100), (100_000, 64)):
        monkeypatch.setattr(near, "_SHORT_RUN", short)
        monkeypatch.setattr(near, "_AT_ONCE", at_once)
        assert found(near_pairs(hashes, 4)) == wanted


def test_the_number_of_threads_changes_nothing_not_even_the_order():
    hashes = crowded(5, 2000)
    one, two = ([part.left.tolist() for part in near_pairs(hashes, 5, threads=threads)] for threads in (1, 3))
    assert one == two


@pytest.mark.parametrize("within", [-1, MOST + 1])
def test_a_distance_out_of_reach_is_refused(within):
    with pytest.raises(ValueError, match=f"within {within} is not 0 to {MOST}"):
        list(near_pairs(np.arange(3, dtype=np.uint64), within))


@pytest.mark.parametrize("block", [2048, 7])
def test_similar_rows_are_those_that_the_whole_table_of_cosines_shows(block, monkeypatch):
    monkeypatch.setattr(near, "_FEATURE_ROWS", block)
    features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float16)
    features[9] = 0
    rows = np.arange(0, 60, 2)
    unit = features[rows].astype(np.float32)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)
    left, right = np.nonzero(np.triu(unit @ unit.T > 0.6, 1))
    wanted = sorted(zip(rows[left].tolist(), rows[right].tolist(), strict=True))
    got = [(a, b) for part in similar_pairs(features, rows, 0.6) for a, b, _ in zip(*part, strict=True)]
    assert sorted(got) == wanted != []
