"""Groups are counted and drawn again: ranges for the scores of clips."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.answers import NAMES, made_up, one_hot
from petmood import metrics
from petmood.bootstrap import drawn_counts, f1_of, group_counts, recall_of, score_of
from petmood.metrics.ranges import DRAWS, range_of_mean


def judged(count=120, groups=30, seed=0, **options):
    labels, probabilities = made_up(np.random.default_rng(seed), count)
    return metrics.judge(labels, probabilities, NAMES, 1, groups=[str(i % groups) for i in range(count)], **options)


def test_groups_of_all_and_of_each_class_are_counted():
    labels, groups = np.array([0, 0, 1, 1, 1]), ["x", "x", "x", "y", "z"]
    found = metrics.judge(labels, one_hot(labels), NAMES, 0, groups=groups, draw=False)
    assert found.groups == 3
    assert [one.groups for one in found.classes] == [1, 3, 0, 0]
    assert not found.ranges
    assert not any(one.recall_range or one.f1_range for one in found.classes)


def test_without_groups_nothing_is_counted_or_drawn():
    found = metrics.judge(np.array([0, 1]), np.eye(4)[:2], NAMES, 0)
    assert (found.groups, found.ranges, found.classes[0].groups) == (0, {}, 0)


def test_ranges_are_the_middle_of_the_draws():
    labels, probabilities = made_up(np.random.default_rng(0), 120)
    groups = [str(i % 30) for i in range(120)]
    found = metrics.judge(labels, probabilities, NAMES, 1, groups=groups)
    drawn = drawn_counts(group_counts(labels, probabilities.argmax(axis=1), groups, 4)[None], draws=DRAWS)[0]
    assert set(found.ranges) == {"accuracy", "balanced_accuracy", "macro_f1"}
    for score, told in found.ranges.items():
        assert dataclasses.astuple(told) == pytest.approx(np.quantile(score_of(drawn, score), (0.025, 0.975)))
    for number, one in enumerate(found.classes):
        for told, of in ((one.recall_range, recall_of), (one.f1_range, f1_of)):
            expected = np.nanquantile(of(drawn)[:, number], (0.025, 0.975))
            assert dataclasses.astuple(told) == pytest.approx(expected)


@given(st.integers(0, 2**31), st.integers(2, 40))
@settings(max_examples=25)
def test_ranges_are_shares_and_only_classes_of_several_groups_have_them(seed, groups):
    found = judged(60, groups, seed)
    for score, told in found.ranges.items():
        assert 0 <= told.low <= told.high <= 1, score
    for one in found.classes:
        assert (one.recall_range is None) == (one.f1_range is None) == (one.groups < 2)


def test_copies_within_a_group_do_not_make_a_score_surer():
    labels, probabilities = made_up(np.random.default_rng(0), 600)
    alone = metrics.judge(labels, probabilities, NAMES, 1, groups=[str(i) for i in range(600)]).ranges["accuracy"]
    rows = np.repeat(np.arange(20), 30)
    groups = [str(i) for i in rows]
    copied = metrics.judge(labels[rows], probabilities[rows], NAMES, 1, groups=groups).ranges["accuracy"]
    assert copied.high - copied.low > 3 * (alone.high - alone.low)


def test_a_class_of_one_group_has_no_range():
    labels, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 0, 1, 1])
    found = metrics.judge(labels, one_hot(predicted), NAMES, 0, groups=["x", "y", "z", "z", "z"])
    assert found.ranges
    assert found.classes[0].recall_range is not None
    assert found.classes[1].recall == 1.0
    assert found.classes[1].recall_range is None


def test_one_group_has_no_ranges():
    found = metrics.judge(np.array([0, 1]), np.eye(4)[:2], NAMES, 0, groups=["x", "x"])
    assert (found.groups, found.ranges) == (1, {})


def test_range_of_a_mean_of_groups():
    values = np.random.default_rng(0).random(100)
    found, error = range_of_mean(values), values.std() / 10
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert range_of_mean(values[:1]) is None
