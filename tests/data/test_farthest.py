from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petmood.data import farthest
from petmood.data.farthest import Looks, farthest_first
from petmood.sources.rows import NO_POINT

times = st.lists(st.integers(0, 40_000), min_size=1, max_size=40).map(sorted)
counts = st.integers(1, 12)


def by_time(moments, count):
    """Positions chosen in one clip by time alone."""
    axis = np.array(moments, np.float64)
    shares = (axis - axis.min()) / max(1.0, float(np.ptp(axis)))
    chosen = farthest_first(Looks(shares.astype(np.float32)), np.array([len(moments)]), count)
    return np.flatnonzero(chosen).tolist()


def closest(moments):
    """Shortest time between any two."""
    return min(b - a for a, b in itertools.pairwise(sorted(moments)))


# --- by time alone ----------------------------------------------------------------------------------------------------


@given(times, counts)
def test_as_many_frames_as_asked_for_or_all(moments, count):
    assert len(by_time(moments, count)) == min(count, len(moments))


@given(times, counts)
def test_the_earliest_frame_and_from_two_on_the_latest_are_chosen(moments, count):
    chosen = {moments[position] for position in by_time(moments, count)}
    assert min(moments) in chosen
    assert count == 1 or max(moments) in chosen


@given(times, st.integers(2, 9))
def test_the_chosen_lie_half_as_far_apart_as_possible_or_farther(moments, count):
    """What farthest point first guarantees (Gonzalez 1985), here against all choices of few frames."""
    moments = moments[:9]
    chosen = [moments[position] for position in by_time(moments, count)]
    best = max((closest(some) for some in itertools.combinations(moments, len(chosen)) if len(some) > 1), default=0)
    if len(chosen) > 1:
        assert 2 * closest(chosen) >= best


@given(times, counts)
def test_the_choice_does_not_depend_on_where_time_begins_nor_on_its_unit(moments, count):
    assert by_time(moments, count) == by_time([5000 + 2 * moment for moment in moments], count)


def test_even_times_are_chosen_evenly():
    assert by_time([0, 200, 400, 600, 800], 3) == [0, 2, 4]


def test_a_clip_cut_short_in_string_order_still_gives_all_frames_asked_for():
    # frames 0, 102, 108 … 138, 12, 120 of a 30 fps clip: 0 s, 0.4 s, then 3.4 s and later
    moments = [0, 400, *range(3400, 5600, 200)]
    chosen = by_time(moments, 8)
    assert len(chosen) == 8
    assert chosen[:2] == [0, 1]


# --- many clips at a time ---------------------------------------------------------------------------------------------

BOX = np.array([100, 50, 200, 150], np.float32)


def looks_of(generator, lengths, *, hidden=0.0):
    """Random looks of clips of the given lengths; some keypoints hidden."""
    total = int(np.sum(lengths))
    points = generator.integers(100, 300, (total, 15, 2)).astype(np.int16)
    points[generator.random((total, 15)) < hidden] = NO_POINT
    shares = [np.linspace(0, 1, length) for length in lengths]
    return Looks(
        np.concatenate(shares).astype(np.float32),
        generator.random((total, 4)).astype(np.float32),
        points.reshape(total, 30),
        np.tile(BOX, (total, 1)),
    )


def part(looks, start, stop):
    return Looks(looks.times[start:stop], looks.boxes[start:stop], looks.points[start:stop], looks.origins[start:stop])


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=12), counts, st.sampled_from([0.0, 0.4, 1.0]), st.integers(0, 99)
)
def test_clips_chosen_from_together_are_chosen_from_as_each_alone(lengths, count, hidden, seed):
    looks = looks_of(np.random.default_rng(seed), lengths, hidden=hidden)
    together = farthest_first(looks, np.array(lengths), count)
    starts = np.cumsum([0, *lengths])
    for start, length in zip(starts, lengths, strict=False):
        alone = farthest_first(part(looks, start, start + length), np.array([length]), count)
        assert together[start : start + length].tolist() == alone.tolist()
        assert alone.sum() == min(count, length)


def test_identical_frames_of_one_moment_are_not_taken_twice():
    lengths = np.array([3, 5, 2, 4])
    alike = Looks(np.zeros(14, np.float32), np.full((14, 4), 0.5, np.float32))
    keep = farthest_first(alike, lengths, 2)
    assert [int(part.sum()) for part in np.split(keep, np.cumsum(lengths)[:-1])] == [2, 2, 2, 2]


@pytest.mark.parametrize("batch", [1, 30, 100_000])
def test_the_choice_does_not_depend_on_how_many_clips_are_looked_at_together(monkeypatch, batch):
    lengths = np.random.default_rng(3).integers(1, 30, 60)
    looks = looks_of(np.random.default_rng(4), lengths, hidden=0.2)
    usual = farthest_first(looks, lengths, 5)
    monkeypatch.setattr(farthest, "_BATCH", batch)
    assert farthest_first(looks, lengths, 5).tolist() == usual.tolist()


# --- by pose ----------------------------------------------------------------------------------------------------------


def posed(points, *, boxes=None):
    """Looks of one clip with keypoints given as shares of its box, (frames, 15, 2); nan where not known."""
    shares = np.asarray(points, np.float32)
    pixels = np.where(np.isnan(shares), NO_POINT, BOX[:2] + shares * BOX[2:])
    count = len(shares)
    times = np.linspace(0, 1, count, dtype=np.float32)
    return Looks(times, boxes, pixels.astype(np.int16).reshape(count, 30), np.tile(BOX, (count, 1)))


def chosen(looks, count):
    return np.flatnonzero(farthest_first(looks, np.array([len(looks.times)]), count)).tolist()


def still(count, tremble=0.01, seed=0):
    """An animal that keeps its pose, keypoints trembling."""
    generator = np.random.default_rng(seed)
    pose = generator.uniform(0.2, 0.8, (15, 2))
    return pose + generator.normal(0, tremble, (count, 15, 2))


def test_distinct_poses_are_found_that_even_times_miss():
    points = still(60)
    planted = [5, 11, 27, 41]
    for number, frame in enumerate(planted):
        points[frame] = np.random.default_rng(90 + number).uniform(0, 1, (15, 2))
    looks = posed(points)
    assert set(planted) <= set(chosen(looks, 6))
    assert not set(planted) & set(chosen(Looks(looks.times), 6))


@pytest.mark.parametrize("tremble", [0.0, 0.01])
def test_where_nothing_moves_the_chosen_are_spread_over_time(tremble):
    frames = chosen(posed(still(64, tremble)), 8)
    assert len(frames) == 8
    assert max(b - a for a, b in itertools.pairwise([*frames, 64])) <= 18


def test_a_single_wild_keypoint_does_not_pass_for_another_pose():
    points = still(40)
    wild, turned = 30, 31
    points[wild, 3] = (90, -90)
    points[turned] += 0.05
    assert chosen(posed(points), 2) == [0, turned]


def test_points_known_in_one_of_two_frames_alone_say_nothing():
    points = still(30, tremble=0.0)
    hidden = points.copy()
    hidden[::2, :7] = np.nan
    assert chosen(posed(hidden), 6) == chosen(posed(points), 6)


def test_frames_without_any_keypoint_are_chosen_by_time():
    points = np.full((30, 15, 2), np.nan)
    assert chosen(posed(points), 4) == chosen(Looks(posed(points).times), 4)


def test_poses_are_measured_by_the_box_not_by_the_picture():
    points = still(20, tremble=0.0)
    looks = posed(points)
    moved = looks.origins + np.linspace(0, 500, 20)[:, None].astype(np.int16) * [1, 1, 0, 0]
    walking = looks.points + (moved - looks.origins)[:, :2].repeat(15, axis=0).reshape(20, 30).astype(np.int16)
    same = Looks(looks.times, None, walking.astype(np.int16), moved.astype(np.float32))
    assert chosen(same, 5) == chosen(Looks(looks.times), 5)


def test_without_keypoints_a_change_of_the_box_counts():
    boxes = np.tile(np.float32([0.5, 0.5, 0.2, 0.2]), (30, 1))
    boxes[7] = [0.1, 0.5, 0.2, 0.2]
    boxes[24] = [0.5, 0.5, 0.6, 0.6]
    times = np.linspace(0, 1, 30, dtype=np.float32)
    assert {7, 24} <= set(chosen(Looks(times, boxes), 4))
    assert not {7, 24} & set(chosen(Looks(times), 4))
