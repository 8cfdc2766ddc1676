"""Where tar parts end: sizes, and how little new frames change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petmood.data.parts import part_bounds

NAMES = st.lists(st.text(max_size=5), max_size=80)


@given(NAMES, st.integers(1, 12))
def test_parts_follow_one_upon_the_other_and_none_is_too_large_or_too_small(names, size):
    bounds = part_bounds(names, size)
    assert [number for start, end in bounds for number in range(start, end)] == list(range(len(names)))
    lengths = [end - start for start, end in bounds]
    assert all(1 <= length <= 2 * size for length in lengths)
    assert all(length >= size // 2 for length in lengths[:-1])


@given(NAMES, NAMES, NAMES, st.integers(1, 12))
def test_a_part_depends_on_nothing_before_its_start(before, other, names, size):
    ends = {end - len(before) for _, end in part_bounds(before + names, size)}
    moved = {end - len(other) for _, end in part_bounds(other + names, size)}
    shared = sorted(end for end in ends & moved if end >= 0)
    if shared:  # from the first common end on, all are common
        assert {end for end in ends if end >= shared[0]} == {end for end in moved if end >= shared[0]}


def test_new_frames_change_the_parts_around_them_alone():
    def held(numbers):
        names = [f"clip-{number // 8:05d}/{number % 8}" for number in numbers]
        return {tuple(names[start:end]) for start, end in part_bounds(names, 512)}

    parts = held(range(100_000))
    assert len(parts) == pytest.approx(100_000 / 512, rel=0.1)
    for start, end in ((0, 8), (50_000, 50_080), (99_992, 100_000)):
        assert len(parts - held([*range(start), *range(end, 100_000)])) <= 4
