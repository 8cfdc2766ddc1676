"""Progressive resizing: which epoch sees which square, and what it cannot do."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petmood.errors import UserError
from petmood.recipes import TrainSettings
from petmood.train.squares import check_small_size, square_sizes
from petmood.weights import create_backbone

SMALL = TrainSettings(small_size=160, small_epochs=0.6, epochs=5)


@pytest.mark.parametrize(
    ("epochs", "share", "small"), [(5, 0.6, 3), (10, 0.7, 7), (3, 0.5, 2), (1, 0.6, 1), (15, 0.6, 9)]
)
def test_the_first_epochs_see_the_small_square(epochs, share, small):
    sizes = square_sizes(replace(SMALL, epochs=epochs, small_epochs=share), 224)
    assert [sizes(epoch) for epoch in range(epochs)] == [160] * small + [224] * (epochs - small)


@given(st.integers(1, 300), st.floats(0.01, 0.99))
def test_the_last_square_is_the_full_one_in_every_longer_training(epochs, share):
    sizes = square_sizes(replace(SMALL, epochs=epochs, small_epochs=share), 224)
    seen = [sizes(epoch) for epoch in range(epochs + 100)]
    assert seen == sorted(seen)
    assert seen[-1] == 224


def test_without_a_small_size_all_epochs_see_the_full_square():
    assert {square_sizes(TrainSettings(epochs=5), 224)(epoch) for epoch in range(5)} == {224}


def test_a_small_size_that_is_not_smaller_is_an_error():
    backbone = create_backbone("test_efficientnet")
    check_small_size(replace(SMALL, small_size=223), 224, backbone)
    for size in (224, 300):
        with pytest.raises(UserError, match=rf"small size {size} is not smaller .* less than 224") as caught:
            check_small_size(replace(SMALL, small_size=size), 224, backbone)
        assert "--small-size" in caught.value.hint


def test_a_network_of_one_size_is_an_error():
    settings = replace(SMALL, model="test_vit", small_size=96)
    with pytest.raises(UserError, match=r"model test_vit takes pictures of one size only \(160 pixels\)"):
        check_small_size(settings, 160, create_backbone("test_vit"))
    check_small_size(replace(settings, small_size=0), 160, create_backbone("test_vit"))
