"""Animals in pictures: boxes in the picture's own pixels, one for each animal, and clear words without weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.detectors import CAT, DOG, HORSE, guess, plain, write_yolox
from petmood.detect import Animal, Yolox
from petmood.detect.animal import distinct, overlap, within
from petmood.errors import UserError
from petmood.geometry import Box


def detector(path, *guesses):
    return Yolox(write_yolox(path, *guesses))


def test_boxes_are_in_the_pixels_of_the_picture(tmp_path):
    yolox = detector(tmp_path / "y.onnx", guess(10, 8, 8, 16, 16, DOG))
    # 256 × 128 pixels become 64 × 32: a quarter.
    (animal,) = yolox.animals(plain(256, 128))
    assert (animal.species, animal.box) == ("dog", Box(32, 32, 64, 64))
    assert animal.score == pytest.approx(0.9)


def test_a_box_beyond_the_picture_is_cut_at_its_edge_and_one_outside_is_none(tmp_path):
    yolox = detector(tmp_path / "y.onnx", guess(0, -8, -8, 24, 24, CAT), guess(60, 30, 50, 8, 8, DOG))
    # In a wide picture the square's lower half is filling.
    (animal,) = yolox.animals(plain(128, 64))
    assert (animal.species, animal.box) == ("cat", Box(0, 0, 32, 32))


def test_of_overlapping_boxes_the_surest_stays_and_other_animals_are_kept(tmp_path):
    yolox = detector(
        tmp_path / "y.onnx",
        guess(9, 0, 0, 20, 20, DOG, 0.6),
        guess(10, 2, 2, 20, 20, DOG, 0.8),
        guess(30, 40, 40, 16, 16, DOG, 0.5),
        guess(11, 8, 2, 20, 20, CAT, 0.4),
        guess(12, 2, 2, 20, 20, HORSE, 0.95),
    )
    found = yolox.animals(plain(64, 64))
    assert [(animal.species, animal.score) for animal in found] == [
        ("dog", pytest.approx(0.8)),
        ("dog", pytest.approx(0.5)),
        ("cat", pytest.approx(0.4)),
    ]
    assert [animal.species for animal in yolox.animals(plain(64, 64), least=0.7)] == ["dog"]


def test_one_animal_that_looks_like_both_is_told_once(tmp_path):
    cells = guess(9, 2, 2, 20, 20, CAT, 0.5), guess(10, 2, 3, 20, 20, DOG, 0.6)
    (animal,) = detector(tmp_path / "y.onnx", *cells).animals(plain(64, 64))
    assert animal.species == "dog"


def test_the_network_sees_blue_first(tmp_path):
    yolox = detector(tmp_path / "y.onnx", guess(9, 0, 0, 20, 20, DOG))
    assert not yolox.animals(plain(64, 64, (255, 255, 0)))
    assert yolox.animals(plain(64, 64, (0, 0, 255)))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2)])
def test_tiny_and_thin_pictures_are_looked_at(tmp_path, size):
    yolox = detector(tmp_path / "y.onnx", guess(9, 0, 0, 64, 64, DOG))
    (animal,) = yolox.animals(plain(*size))
    assert animal.box == Box(0, 0, *size)


def test_what_is_no_detector_is_said(tmp_path):
    with pytest.raises(UserError, match="do not exist") as caught:
        Yolox(tmp_path / "none.onnx")
    assert "petmood detector fetch" in caught.value.hint
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    with pytest.raises(UserError, match="cannot be read"):
        Yolox(tmp_path / "broken.onnx")


# --- rules ------------------------------------------------------------------------------------------------------------

BOXES = st.builds(Box, st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20))
ANIMALS = st.builds(Animal, BOXES, st.sampled_from(["cat", "dog"]), st.floats(0, 1))


@given(st.lists(ANIMALS, max_size=12))
def test_what_is_left_is_sorted_apart_and_holds_the_surest(candidates):
    kept = distinct(candidates)
    assert [animal.score for animal in kept] == sorted((animal.score for animal in kept), reverse=True)
    assert not candidates or kept[0].score == max(animal.score for animal in candidates)
    for number, one in enumerate(kept):
        for other in kept[:number]:
            assert overlap(one.box, other.box) <= (0.45 if one.species == other.species else 0.7)
    assert distinct(kept) == kept


@given(BOXES, BOXES)
def test_overlap_is_that_of_the_pixels(one, other):
    canvas = np.zeros((2, 40, 40), bool)
    for plane, box in zip(canvas, (one, other), strict=True):
        plane[box.y : box.y + box.height, box.x : box.x + box.width] = True
    assert overlap(one, other) == pytest.approx((canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum())


@given(*[st.floats(-50, 50)] * 4)
def test_a_box_lies_within_its_picture_or_is_none(left, top, right, bottom):
    box = within(left, top, right, bottom, width=30, height=20)
    if box is not None:
        assert box.x >= 0
        assert box.y >= 0
        assert min(box.width, box.height) > 0
        assert box.x + box.width <= 30
        assert box.y + box.height <= 20
