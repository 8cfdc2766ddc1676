"""How mixed batches are: chance is 1, one class a batch is 0, and small data are not called unmixed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from petmood.doctor.mixing import judge_mixing, mixing


def two_classes(each=400):
    return np.repeat(np.arange(2), each)


def test_one_class_a_batch_has_no_entropy():
    found = mixing(two_classes(), batch_size=20)
    assert found.bits == 0
    assert 0.9 < found.random_bits < 1
    assert found.below(0.8)


def test_a_random_order_is_as_mixed_as_chance():
    shuffled = np.random.default_rng(3).permutation(two_classes())
    found = mixing(shuffled, batch_size=20)
    assert 0.9 < found.share < 1.1
    assert not found.below(0.8)


def test_rows_of_the_whole_epoch_are_what_is_compared_with():
    # The first batches alone hold one class, however they are shuffled.
    assert mixing(two_classes(), batch_size=20, batches=5).random_bits > 0.9


@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), st.integers(2, 64))
def test_entropy_is_never_more_than_all_classes_evenly(numbers, batch_size):
    found = mixing(np.array(numbers), batch_size=batch_size)
    limit = np.log2(min(len(set(numbers)), batch_size)) + 1e-9
    assert 0 <= found.bits <= limit
    assert found.least_random_bits <= found.random_bits + 1e-9 <= limit + 1e-9


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_an_epoch_of_one_batch_is_mixed(numbers):
    found = mixing(np.array(numbers), batch_size=64)
    assert not found.below(0.95)


@settings(max_examples=15)
@given(st.integers(0, 2**31))
def test_a_shuffled_epoch_fails_hardly_ever(seed):
    generator = np.random.default_rng(seed)
    labels = generator.choice(6, 3000, p=[0.62, 0.2, 0.1, 0.05, 0.02, 0.01])
    clips = generator.permutation(3000) // 10
    check = judge_mixing(mixing(labels, batch_size=64), mixing(clips, batch_size=64))
    assert check.verdict in {"ok", "warn"}


def test_clips_that_stand_together_are_told_too():
    clips = mixing(np.arange(2000) // 10, batch_size=64)
    labels = mixing(np.random.default_rng(0).integers(0, 4, 2000), batch_size=64)
    check = judge_mixing(labels, clips)
    assert check.verdict == "fail"
    assert check.numbers["clips"]["bits"] < check.numbers["clips"]["random_bits"]
