from __future__ import annotations

import itertools

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.trees import Clip, Tree
from petmood.data.curate import CurateSettings, choose, curate, spread_over_time
from petmood.data.index import index
from petmood.errors import UserError
from petmood.workspace import Workspace

times = st.lists(st.integers(0, 40_000), min_size=1, max_size=40)


@given(times, st.integers(1, 12))
def test_as_many_frames_as_asked_for_or_all_sorted_and_no_frame_twice(moments, count):
    chosen = spread_over_time(moments, count)
    assert len(chosen) == min(count, len(moments))
    assert chosen == sorted(set(chosen))
    assert all(0 <= position < len(moments) for position in chosen)


@given(times, st.integers(1, 12))
def test_the_earliest_frame_and_from_two_on_the_latest_are_chosen(moments, count):
    chosen = {moments[position] for position in spread_over_time(moments, count)}
    assert min(moments) in chosen
    assert count == 1 or max(moments) in chosen


def closest(moments):
    """Shortest time between any two."""
    return min(b - a for a, b in itertools.pairwise(sorted(moments)))


@given(times, st.integers(2, 12))
def test_the_chosen_lie_at_least_as_far_apart_as_the_first_ones(moments, count):
    chosen = [moments[position] for position in spread_over_time(moments, count)]
    if len(chosen) > 1:
        assert closest(chosen) >= closest(sorted(moments)[: len(chosen)])


@given(times, st.integers(2, 9))
def test_the_chosen_lie_half_as_far_apart_as_possible_or_farther(moments, count):
    """What farthest-point choice guarantees (Gonzalez 1985), here against all choices of few frames."""
    moments = moments[:9]
    chosen = [moments[position] for position in spread_over_time(moments, count)]
    best = max((closest(some) for some in itertools.combinations(moments, len(chosen)) if len(some) > 1), default=0)
    if len(chosen) > 1:
        assert 2 * closest(chosen) >= best


@given(times, st.integers(1, 12))
def test_the_choice_does_not_depend_on_where_time_begins(moments, count):
    assert spread_over_time(moments, count) == spread_over_time([moment + 5000 for moment in moments], count)


def test_a_clip_cut_short_in_string_order_still_gives_all_frames_asked_for():
    # frames 0, 102, 108 … 138, 12, 120 of a 30 fps clip: 0 s, 0.4 s, then 3.4 s and later (aihub.md §3.2)
    moments = [0, 400, *range(3400, 5600, 200)]
    chosen = [moments[position] for position in spread_over_time(moments, 8)]
    assert len(chosen) == 8
    assert chosen[:2] == [0, 400]


def table(*clips):
    return pl.DataFrame(
        [(name, moment) for name, moments in clips for moment in moments],
        schema={"clip": pl.String, "timestamp_ms": pl.Int64},
        orient="row",
    )


def test_every_clip_is_chosen_from_on_its_own():
    frames = table(("a", [0, 200, 400, 600]), ("b", [100]), ("c", [900, 0, 300]))
    assert choose(frames, 2).to_list() == [True, False, False, True, True, True, True, False]


def test_frames_of_two_clips_may_stand_mixed():
    frames = table(("a", [0]), ("b", [0]), ("a", [200]), ("b", [900]), ("a", [900]))
    assert choose(frames, 2).to_list() == [True, True, False, True, True]


def test_photos_without_time_are_taken_in_their_order():
    assert choose(table(("a", [None] * 5)), 3).to_list() == [True, False, True, False, True]


def test_zero_keeps_all():
    assert choose(table(("a", range(30))), 0).all()


# --- the stage --------------------------------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path):
    tree = Tree(tmp_path / "source")
    for number in range(3):
        tree.add(Clip(number=number, frames=12))
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    return tmp_path / "work"


def test_the_stage_keeps_eight_frames_a_clip_and_changes_nothing_else(work):
    before = Workspace.open(work).read_frames()
    summary = curate(work)
    after = Workspace.open(work).read_frames()
    assert summary.counts == {"frames": 36, "chosen": 24, "clips": 3}
    assert summary.lines == ("chose 24 of 36 frames (67%) of 3 clips",)
    assert after["keep"].sum() == 24
    assert after.drop("keep").equals(before.drop("keep"))


def test_the_stage_is_skipped_until_something_changes(work):
    assert not curate(work).skipped
    assert curate(work).skipped
    assert curate(work).counts["chosen"] == 24
    assert not curate(work, CurateSettings(per_clip=2)).skipped
    assert not curate(work, CurateSettings(per_clip=2), force=True).skipped
    assert Workspace.open(work).read_frames()["keep"].sum() == 6


def test_the_stage_needs_an_index(tmp_path):
    Workspace.create(tmp_path / "work")
    with pytest.raises(UserError, match="has no completed stage `index`"):
        curate(tmp_path / "work")
