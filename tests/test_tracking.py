"""Which animal of a frame is which of the frames before."""

from hypothesis import given
from hypothesis import strategies as st

from petmood.geometry import Box
from petmood.tracking import Tracker

LEFT, RIGHT = Box(0, 0, 100, 100), Box(300, 0, 100, 100)


def moved(box, by):
    return Box(box.x + by, box.y, box.width, box.height)


def test_an_animal_keeps_its_number_whatever_the_order_of_the_boxes():
    tracker = Tracker()
    assert tracker.follow(0, [LEFT, RIGHT]) == [1, 2]
    assert tracker.follow(200, [moved(RIGHT, -20), moved(LEFT, 20)]) == [2, 1]
    assert tracker.follow(400, [moved(LEFT, 40)]) == [1]


def test_a_new_animal_gets_a_new_number():
    tracker = Tracker()
    tracker.follow(0, [LEFT])
    assert tracker.follow(200, [RIGHT, LEFT]) == [2, 1]


def test_a_hidden_animal_is_known_again_for_a_while():
    tracker = Tracker(patience_ms=1000)
    tracker.follow(0, [LEFT])
    assert tracker.follow(600, []) == []
    assert tracker.follow(1000, [moved(LEFT, 10)]) == [1]
    assert tracker.follow(2001, [moved(LEFT, 10)]) == [2]


def test_a_box_that_hardly_overlaps_is_another_animal():
    tracker = Tracker(least=0.3)
    tracker.follow(0, [LEFT])
    assert tracker.follow(200, [moved(LEFT, 60)]) == [2]  # 40 of 160


def test_the_pairs_with_most_overlap_in_sum_are_the_same():
    # The middle box overlaps both; taking the best pair first would leave the other box without an animal.
    tracker = Tracker(least=0.2)
    tracker.follow(0, [Box(0, 0, 100, 100), Box(60, 0, 100, 100)])
    assert tracker.follow(200, [Box(35, 0, 100, 100), Box(110, 0, 100, 100)]) == [1, 2]


boxes = st.builds(Box, st.integers(0, 90), st.integers(0, 90), st.integers(1, 60), st.integers(1, 60))


@given(st.lists(st.lists(boxes, max_size=4), max_size=6))
def test_numbers_differ_within_a_frame_and_grow_by_one(frames):
    tracker, highest = Tracker(), 0
    for number, found in enumerate(frames):
        numbers = tracker.follow(200 * number, found)
        assert len(set(numbers)) == len(found)
        new = sorted(one for one in numbers if one > highest)
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest += len(new)
