"""Resizing by numpy gives what OpenCV gives, to one level of 255."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petmood.runtime.resize import resize

WAYS = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
SIDES = st.integers(1, 90)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def difference(pixels, size, way):
    expected = cv2.resize(pixels, size, interpolation=WAYS[way])
    return int(np.abs(resize(pixels, size, way).astype(int) - expected).max())


@given(SIDES, SIDES, st.floats(0.02, 1), st.floats(0.02, 1))
def test_shrinking_averages_areas_as_opencv(height, width, down, across):
    size = (max(1, round(width * across)), max(1, round(height * down)))
    assert difference(noise(height, width), size, "area") <= 1


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["bilinear", "bicubic"]))
def test_weights_between_pixels_are_those_of_opencv(height, width, new_height, new_width, way):
    assert difference(noise(height, width), (new_width, new_height), way) <= 1


@pytest.mark.parametrize(("height", "width"), [(1, 300), (300, 1), (3, 2)])
def test_thin_pictures(height, width):
    for way in ("bilinear", "bicubic"):
        assert difference(noise(height, width), (37, 41), way) <= 1


def test_a_picture_of_the_right_size_stays_as_it_is():
    pixels = noise(20, 30)
    assert resize(pixels, (30, 20), "area") is pixels


def test_a_very_long_picture_takes_little_memory():
    # Weights for all rows at once would be 2,500 × 40,000 numbers.
    assert resize(np.full((40_000, 2, 3), 7, np.uint8), (2, 2_500), "area").shape == (2_500, 2, 3)
